//! The KV service: every request is one of [`Kv`]'s.

use std::cmp::Reverse;

use tonic::{Request, Response, Status, async_trait};

use super::{Service, status};
use crate::{
    Compare, KeyValue, Kv as _, LeaseId, Op, OpResponse, RangeRequest, RangeResponse, Revision,
    Txn,
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, TargetUnion},
            kv_server::Kv,
            range_request::{SortOrder, SortTarget},
            request_op, response_op,
        },
        key_range,
    },
};

#[async_trait]
impl Kv for Service {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let request = request.into_inner();
        let answer = self
            .store
            .range(range_request(&request))
            .await
            .map_err(status)?;
        Ok(Response::new(self.range_response(answer, &request)))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        let op = request_op::Request::RequestPut(request.into_inner());
        match self.one(op).await? {
            response_op::Response::ResponsePut(put) => Ok(Response::new(put)),
            _ => Err(Status::internal("a put was answered by something else")),
        }
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let op = request_op::Request::RequestDeleteRange(request.into_inner());
        match self.one(op).await? {
            response_op::Response::ResponseDeleteRange(delete) => Ok(Response::new(delete)),
            _ => Err(Status::internal(
                "a deletion was answered by something else",
            )),
        }
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        let request = request.into_inner();
        let compare = request.compare.into_iter().map(compare);
        let txn = Txn {
            compare: compare.collect::<Result<_, _>>()?,
            success: request.success.iter().map(op).collect::<Result<_, _>>()?,
            failure: request.failure.iter().map(op).collect::<Result<_, _>>()?,
        };
        let answer = self.store.txn(txn).await.map_err(status)?;
        let asked = if answer.succeeded {
            &request.success
        } else {
            &request.failure
        };
        let header = self.header(answer.revision);
        let responses = asked.iter().zip(answer.responses);
        Ok(Response::new(pb::TxnResponse {
            header,
            succeeded: answer.succeeded,
            responses: responses
                .map(|(asked, response)| pb::ResponseOp {
                    response: Some(self.op_response(asked, response, answer.revision)),
                })
                .collect(),
        }))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let revision = Revision(request.into_inner().revision);
        self.store.compact(revision).await.map_err(status)?;
        Ok(Response::new(pb::CompactionResponse {
            header: self.header_now(),
        }))
    }
}

impl Service {
    /// Runs a single operation as a transaction.
    async fn one(&self, request: request_op::Request) -> Result<response_op::Response, Status> {
        let asked = pb::RequestOp {
            request: Some(request),
        };
        let txn = Txn {
            success: vec![op(&asked)?],
            ..Txn::default()
        };
        let answer = self.store.txn(txn).await.map_err(status)?;
        let response = answer.responses.into_iter().next();
        let response = response.ok_or_else(|| Status::internal("an operation has no answer"))?;
        Ok(self.op_response(&asked, response, answer.revision))
    }

    fn op_response(
        &self,
        asked: &pb::RequestOp,
        response: OpResponse,
        revision: Revision,
    ) -> response_op::Response {
        let header = self.header(revision);
        match (response, &asked.request) {
            (OpResponse::Put(old), Some(request_op::Request::RequestPut(put))) => {
                let prev_kv = old.filter(|_| put.prev_kv).map(Into::into);
                response_op::Response::ResponsePut(pb::PutResponse { header, prev_kv })
            }
            (OpResponse::Range(range), Some(request_op::Request::RequestRange(request))) => {
                response_op::Response::ResponseRange(self.range_response(range, request))
            }
            (OpResponse::Delete(removed), asked) => {
                let wanted = matches!(asked, Some(request_op::Request::RequestDeleteRange(it)) if it.prev_kv);
                let deleted = i64::try_from(removed.len()).unwrap_or(i64::MAX);
                let removed = removed.into_iter().filter(|_| wanted);
                let prev_kvs = removed.map(Into::into).collect();
                let response = pb::DeleteRangeResponse {
                    header,
                    deleted,
                    prev_kvs,
                };
                response_op::Response::ResponseDeleteRange(response)
            }
            // The store answers operations in their order, each with its own kind.
            (OpResponse::Put(_) | OpResponse::Range(_), _) => {
                unreachable!("an answer is of the kind of its operation")
            }
        }
    }

    fn range_response(
        &self,
        mut answer: RangeResponse,
        request: &pb::RangeRequest,
    ) -> pb::RangeResponse {
        if is_special(request) {
            answer.kvs.retain(|kv| is_within(kv, request));
            sort(&mut answer.kvs, request);
            let limit = usize::try_from(request.limit).unwrap_or(0);
            if limit > 0 && answer.kvs.len() > limit {
                answer.kvs.truncate(limit);
                answer.more = true;
            }
            if request.keys_only {
                answer.kvs.iter_mut().for_each(|kv| kv.value.clear());
            }
        }
        pb::RangeResponse {
            header: self.header(answer.revision),
            kvs: answer.kvs.into_iter().map(Into::into).collect(),
            more: answer.more,
            count: i64::try_from(answer.count).unwrap_or(i64::MAX),
        }
    }
}

/// Whether the store cannot cut the answer, because it is sorted or filtered first.
fn is_special(request: &pb::RangeRequest) -> bool {
    let sorted = request.sort_order() == SortOrder::Descend
        || (request.sort_order() == SortOrder::Ascend && request.sort_target() != SortTarget::Key)
        || (request.sort_order() == SortOrder::None && request.sort_target() != SortTarget::Key);
    let filtered = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    sorted || filtered.iter().any(|bound| *bound != 0)
}

fn is_within(kv: &KeyValue, request: &pb::RangeRequest) -> bool {
    let within = |revision: Revision, min: i64, max: i64| {
        (min == 0 || revision.0 >= min) && (max == 0 || revision.0 <= max)
    };
    within(
        kv.mod_revision,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        kv.create_revision,
        request.min_create_revision,
        request.max_create_revision,
    )
}

fn sort(kvs: &mut [KeyValue], request: &pb::RangeRequest) {
    match request.sort_target() {
        SortTarget::Key => {}
        SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
        SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
        SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
        SortTarget::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
    }
    if request.sort_order() == SortOrder::Descend {
        match request.sort_target() {
            SortTarget::Key => kvs.sort_by_key(|kv| Reverse(kv.key.clone())),
            _ => kvs.reverse(),
        }
    }
}

fn range_request(request: &pb::RangeRequest) -> RangeRequest {
    let special = is_special(request);
    RangeRequest {
        range: key_range(request.key.clone(), request.range_end.clone()),
        revision: (request.revision > 0).then_some(Revision(request.revision)),
        limit: if special {
            0
        } else {
            usize::try_from(request.limit).unwrap_or(0)
        },
        keys_only: request.keys_only && !special,
        count_only: request.count_only,
    }
}

fn op(op: &pb::RequestOp) -> Result<Op, Status> {
    match &op.request {
        Some(request_op::Request::RequestPut(put)) if put.ignore_value || put.ignore_lease => Err(
            Status::unimplemented("ignore_value and ignore_lease are not served"),
        ),
        Some(request_op::Request::RequestPut(put)) => Ok(Op::Put {
            key: put.key.clone(),
            // Copied out of the message, which is else kept in memory as long as the value.
            value: bytes::Bytes::copy_from_slice(&put.value),
            lease: LeaseId(put.lease),
        }),
        Some(request_op::Request::RequestDeleteRange(delete)) => Ok(Op::Delete(key_range(
            delete.key.clone(),
            delete.range_end.clone(),
        ))),
        Some(request_op::Request::RequestRange(request)) => Ok(Op::Range(range_request(request))),
        Some(request_op::Request::RequestTxn(_)) => {
            Err(Status::unimplemented("nested transactions are not served"))
        }
        None => Err(Status::invalid_argument("etcdserver: key is not provided")),
    }
}

fn compare(compare: pb::Compare) -> Result<Compare, Status> {
    if compare.result() != CompareResult::Equal || !compare.range_end.is_empty() {
        return Err(Status::unimplemented(
            "compares are served for equality of single keys",
        ));
    }
    let key = compare.key;
    Ok(match compare.target_union {
        Some(TargetUnion::ModRevision(revision)) => Compare::ModRevision(key, Revision(revision)),
        Some(TargetUnion::CreateRevision(revision)) => {
            Compare::CreateRevision(key, Revision(revision))
        }
        Some(TargetUnion::Version(version)) => Compare::Version(key, version),
        Some(TargetUnion::Value(value)) => Compare::Value(key, value),
        Some(TargetUnion::Lease(_)) => {
            return Err(Status::unimplemented("compares of leases are not served"));
        }
        // The zero that protobuf leaves out.
        None => match pb::compare::CompareTarget::try_from(compare.target) {
            Ok(pb::compare::CompareTarget::Mod) => Compare::ModRevision(key, Revision(0)),
            Ok(pb::compare::CompareTarget::Create) => Compare::CreateRevision(key, Revision(0)),
            Ok(pb::compare::CompareTarget::Version) => Compare::Version(key, 0),
            _ => {
                return Err(Status::invalid_argument(
                    "etcdserver: the compare has no value",
                ));
            }
        },
    })
}
