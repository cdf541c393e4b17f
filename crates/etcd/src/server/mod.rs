//! The etcd v3 gRPC API over the embedded store, so that stock etcd clients (etcdctl, another API server) can talk to it.
//!
//! Served: KV, Watch, Lease, and of Maintenance and Cluster what clients ask of a single member. Not served, and said so with
//! `Unimplemented`: authentication, nested transactions, compares other than equality, `ignore_value` and `ignore_lease`.

mod kv;
mod lease;
mod maintenance;
mod watch;

use std::sync::Arc;

use base::TaskGroup;
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    Embedded, KvError, Revision,
    proto::etcdserverpb::{
        ResponseHeader, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer,
        watch_server::WatchServer,
    },
};

/// The level of the API, which clients infer abilities from: with this one, that progress may be asked for.
const API_VERSION: &str = "3.6.0+ironclad";
/// A store refuses requests by their size itself; this bounds what is read before it can.
const MAX_MESSAGE: usize = 4 << 20;

/// What every service answers from.
#[derive(Clone)]
struct Service {
    store: Arc<Embedded>,
    tasks: TaskGroup,
    member: u64,
    address: String,
}

/// Serves the API on `listener` until `tasks` is cancelled. Plain HTTP/2: bind it to loopback.
pub async fn serve(
    store: Arc<Embedded>,
    listener: TcpListener,
    tasks: &TaskGroup,
) -> std::io::Result<()> {
    let address = format!("http://{}", listener.local_addr()?);
    let member = u64::from(store.identity());
    let service = Service {
        store,
        tasks: tasks.clone(),
        member,
        address,
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .add_service(KvServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(WatchServer::new(service.clone()))
        .add_service(LeaseServer::new(service.clone()))
        .add_service(MaintenanceServer::new(service.clone()))
        .add_service(ClusterServer::new(service))
        .serve_with_incoming_shutdown(incoming, tasks.token().cancelled())
        .await
        .map_err(std::io::Error::other)
}

impl Service {
    fn header(&self, revision: Revision) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.member,
            member_id: self.member,
            revision: revision.0,
            raft_term: 1,
        })
    }

    /// A header with the current revision.
    fn header_now(&self) -> Option<ResponseHeader> {
        self.header(self.store.status().revision)
    }
}

/// Refusals in etcd's words, which its clients compare.
fn status(error: KvError) -> Status {
    let (code, message) = match error {
        KvError::Compacted { .. } => (
            Code::OutOfRange,
            "mvcc: required revision has been compacted".to_owned(),
        ),
        KvError::FutureRevision { .. } => (
            Code::OutOfRange,
            "mvcc: required revision is a future revision".to_owned(),
        ),
        KvError::LeaseNotFound(_) => (Code::NotFound, "requested lease not found".to_owned()),
        KvError::TooLarge { .. } => (Code::InvalidArgument, "request is too large".to_owned()),
        KvError::Invalid(reason) if reason == "lease already exists" => {
            (Code::FailedPrecondition, reason)
        }
        KvError::Invalid(reason) => (Code::InvalidArgument, reason),
        KvError::Failed { .. } => (Code::Internal, error.to_string()),
        KvError::Unavailable(reason) => (Code::Unavailable, reason),
    };
    Status::new(code, format!("etcdserver: {message}"))
}
