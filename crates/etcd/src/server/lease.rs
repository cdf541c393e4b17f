//! The Lease service.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Service, status};
use crate::{
    Kv as _, LeaseId,
    proto::etcdserverpb::{
        LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
        LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
        LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server::Lease,
    },
};

#[async_trait]
impl Lease for Service {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let request = request.into_inner();
        let id = (request.id != 0).then_some(LeaseId(request.id));
        let id = self
            .store
            .lease_grant_as(id, request.ttl)
            .await
            .map_err(status)?;
        let header = self.header_now();
        let (id, ttl) = (id.0, request.ttl.max(1));
        Ok(Response::new(LeaseGrantResponse {
            header,
            id,
            ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        self.store
            .lease_revoke(LeaseId(request.into_inner().id))
            .await
            .map_err(status)?;
        Ok(Response::new(LeaseRevokeResponse {
            header: self.header_now(),
        }))
    }

    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let service = self.clone();
        let stopping = self.tasks.token().clone().cancelled_owned();
        let answers = request.into_inner().then(move |request| {
            let service = service.clone();
            async move {
                let id = request?.id;
                // As in etcd, a lease that is gone is answered with no time to live.
                let ttl = service
                    .store
                    .lease_keep_alive(LeaseId(id))
                    .await
                    .unwrap_or(0);
                Ok(LeaseKeepAliveResponse {
                    header: service.header_now(),
                    id,
                    ttl,
                })
            }
        });
        Ok(Response::new(Box::pin(answers.take_until(stopping))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        let (header, id) = (self.header_now(), request.id);
        let Some((granted_ttl, ttl, keys)) = self.store.lease_time_to_live(LeaseId(id)) else {
            let gone = LeaseTimeToLiveResponse {
                header,
                id,
                ttl: -1,
                ..Default::default()
            };
            return Ok(Response::new(gone));
        };
        let keys = if request.keys { keys } else { Vec::new() };
        Ok(Response::new(LeaseTimeToLiveResponse {
            header,
            id,
            ttl,
            granted_ttl,
            keys,
        }))
    }

    async fn lease_leases(
        &self,
        _request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let leases = self
            .store
            .leases()
            .into_iter()
            .map(|id| LeaseStatus { id: id.0 });
        let leases = leases.collect();
        Ok(Response::new(LeaseLeasesResponse {
            header: self.header_now(),
            leases,
        }))
    }
}
