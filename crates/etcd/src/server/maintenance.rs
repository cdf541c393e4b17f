//! What clients ask of a member: the Maintenance and Cluster services of a cluster of one.

use tonic::{Request, Response, Status, async_trait};

use super::{API_VERSION, Service, status};
use crate::{
    KvError, Revision,
    proto::etcdserverpb::{
        AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, HashKvRequest,
        HashKvResponse, Member, MemberListRequest, MemberListResponse, StatusRequest,
        StatusResponse, cluster_server::Cluster, maintenance_server::Maintenance,
    },
};

#[async_trait]
impl Maintenance for Service {
    /// There are no alarms: a store that cannot write says so at every write.
    async fn alarm(
        &self,
        _request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        Ok(Response::new(AlarmResponse {
            header: self.header_now(),
            alarms: Vec::new(),
        }))
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let status = self.store.status();
        let index = status.revision.0.unsigned_abs();
        Ok(Response::new(StatusResponse {
            header: self.header(status.revision),
            version: API_VERSION.to_owned(),
            db_size: (status.log_bytes + status.checkpoint_bytes).cast_signed(),
            db_size_in_use: status.size.cast_signed(),
            leader: self.member,
            raft_index: index,
            raft_term: 1,
            raft_applied_index: index,
            errors: status.failure.iter().map(KvError::to_string).collect(),
            is_learner: false,
        }))
    }

    /// Space is given back as it becomes free: there is nothing to do.
    async fn defragment(
        &self,
        _request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        Ok(Response::new(DefragmentResponse {
            header: self.header_now(),
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let now = self.store.status();
        let asked = Some(Revision(request.into_inner().revision)).filter(|it| it.0 > 0);
        let requested = asked.unwrap_or(now.revision);
        if requested > now.revision {
            let current = now.revision;
            return Err(status(KvError::FutureRevision { requested, current }));
        }
        if requested < now.compacted {
            let compacted = now.compacted;
            return Err(status(KvError::Compacted {
                requested,
                compacted,
            }));
        }
        Ok(Response::new(HashKvResponse {
            header: self.header(now.revision),
            hash: self.store.hash(Some(requested)),
            compact_revision: now.compacted.0,
        }))
    }
}

#[async_trait]
impl Cluster for Service {
    async fn member_list(
        &self,
        _request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        let member = Member {
            id: self.member,
            name: "ironclad".to_owned(),
            client_ur_ls: vec![self.address.clone()],
            ..Member::default()
        };
        Ok(Response::new(MemberListResponse {
            header: self.header_now(),
            members: vec![member],
        }))
    }
}
