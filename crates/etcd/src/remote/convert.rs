//! Between [`Kv`](crate::Kv)'s words and the wire's.

use bytes::Bytes;
use tonic::{Code, Status};

use crate::{
    Compare, KvError, LeaseId, Op, OpResponse, RangeRequest, RangeResponse, Revision, Txn,
    TxnResponse,
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
            response_op::Response,
        },
        range_end,
    },
};

/// etcd's default `--max-request-bytes`: a cluster does not say what it takes.
const USUAL_MAX_REQUEST: usize = 3 << 19;

pub(super) fn range_request(request: &RangeRequest) -> pb::RangeRequest {
    pb::RangeRequest {
        key: request.range.start.clone(),
        range_end: range_end(&request.range),
        limit: i64::try_from(request.limit).unwrap_or(0),
        revision: request.revision.map_or(0, |revision| revision.0),
        keys_only: request.keys_only,
        count_only: request.count_only,
        ..pb::RangeRequest::default()
    }
}

/// The cheapest linearizable read there is: only its header matters.
pub(super) fn revision_request() -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        count_only: true,
        ..pb::RangeRequest::default()
    }
}

/// `revision` is that of the transaction around it, if it was read in one.
pub(super) fn range_response(response: pb::RangeResponse, revision: Revision) -> RangeResponse {
    let own = response.header.map_or(0, |header| header.revision);
    RangeResponse {
        revision: Revision(own).max(revision),
        kvs: response.kvs.into_iter().map(Into::into).collect(),
        more: response.more,
        count: response.count.unsigned_abs(),
    }
}

pub(super) fn txn_request(txn: Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compare.into_iter().map(compare).collect(),
        success: txn.success.into_iter().map(op).collect(),
        failure: txn.failure.into_iter().map(op).collect(),
    }
}

fn compare(compare: Compare) -> pb::Compare {
    let (key, target, union) = match compare {
        Compare::ModRevision(key, revision) => (
            key,
            CompareTarget::Mod,
            TargetUnion::ModRevision(revision.0),
        ),
        Compare::CreateRevision(key, revision) => (
            key,
            CompareTarget::Create,
            TargetUnion::CreateRevision(revision.0),
        ),
        Compare::Version(key, version) => {
            (key, CompareTarget::Version, TargetUnion::Version(version))
        }
        Compare::Value(key, value) => (key, CompareTarget::Value, TargetUnion::Value(value)),
    };
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key,
        target_union: Some(union),
        range_end: Bytes::new(),
    }
}

fn op(op: Op) -> pb::RequestOp {
    let request = match op {
        Op::Put { key, value, lease } => Request::RequestPut(pb::PutRequest {
            key,
            value,
            lease: lease.0,
            prev_kv: true,
            ..pb::PutRequest::default()
        }),
        Op::Delete(range) => Request::RequestDeleteRange(pb::DeleteRangeRequest {
            range_end: range_end(&range),
            key: range.start,
            prev_kv: true,
        }),
        Op::Range(request) => Request::RequestRange(range_request(&request)),
    };
    pb::RequestOp {
        request: Some(request),
    }
}

pub(super) fn txn_response(response: pb::TxnResponse) -> TxnResponse {
    let revision = Revision(response.header.unwrap_or_default().revision);
    let responses = response.responses.into_iter().filter_map(|op| {
        Some(match op.response? {
            Response::ResponsePut(put) => OpResponse::Put(put.prev_kv.map(Into::into)),
            Response::ResponseDeleteRange(delete) => {
                OpResponse::Delete(delete.prev_kvs.into_iter().map(Into::into).collect())
            }
            Response::ResponseRange(range) => OpResponse::Range(range_response(range, revision)),
            // Never sent, so never answered.
            Response::ResponseTxn(_) => return None,
        })
    });
    TxnResponse {
        revision,
        succeeded: response.succeeded,
        responses: responses.collect(),
    }
}

/// The revision that a transaction's reads ask for.
pub(super) fn asked_revision(txn: &Txn) -> Option<Revision> {
    txn.success
        .iter()
        .chain(&txn.failure)
        .find_map(|op| match op {
            Op::Range(request) => request.revision,
            _ => None,
        })
}

/// The lease that a refusal is about, as far as one can tell.
pub(super) fn first_lease(txn: &pb::TxnRequest) -> LeaseId {
    let lease = txn
        .success
        .iter()
        .chain(&txn.failure)
        .find_map(|op| match &op.request {
            Some(Request::RequestPut(put)) if put.lease != 0 => Some(LeaseId(put.lease)),
            _ => None,
        });
    lease.unwrap_or_default()
}

/// Puts in the revision that was asked for; what etcd has instead, its refusal does not say, and is left at 0.
pub(super) fn at_revision(error: KvError, asked: Option<Revision>) -> KvError {
    let requested = asked.unwrap_or_default();
    match error {
        KvError::Compacted { compacted, .. } => KvError::Compacted {
            requested,
            compacted,
        },
        KvError::FutureRevision { current, .. } => KvError::FutureRevision { requested, current },
        error => error,
    }
}

/// etcd's refusals are told apart by their messages; codes are shared by many.
pub(super) fn error(status: &Status) -> KvError {
    let message = status.message();
    let says = |text: &str| message.contains(text);
    match status.code() {
        Code::OutOfRange if says("has been compacted") => KvError::Compacted {
            requested: Revision(0),
            compacted: Revision(0),
        },
        Code::OutOfRange if says("future revision") => KvError::FutureRevision {
            requested: Revision(0),
            current: Revision(0),
        },
        Code::NotFound if says("lease not found") => KvError::LeaseNotFound(LeaseId::default()),
        Code::InvalidArgument | Code::ResourceExhausted | Code::OutOfRange
            if says("too large") || says("larger than max") =>
        {
            KvError::TooLarge {
                size: 0,
                limit: USUAL_MAX_REQUEST,
            }
        }
        Code::ResourceExhausted if says("space exceeded") => KvError::Failed {
            operation: "writing to etcd",
            message: message.to_owned(),
        },
        Code::Internal if says("store failed") => KvError::Failed {
            operation: "writing to etcd",
            message: message.to_owned(),
        },
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::NotFound
        | Code::Unimplemented
        | Code::PermissionDenied
        | Code::Unauthenticated => {
            KvError::Invalid(message.trim_start_matches("etcdserver: ").to_owned())
        }
        _ => KvError::Unavailable(describe(status)),
    }
}

/// The message with its innermost cause, which says what the network said.
fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let said = error.to_string();
        if error.source().is_none() && !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
