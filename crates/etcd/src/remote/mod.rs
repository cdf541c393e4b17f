//! A client of an external etcd v3 cluster, behind the same [`Kv`] as the embedded store.
//!
//! Requests go to one endpoint until it fails, then to the next. What only reads is tried at all of them; what writes is tried again
//! only when it is certain that it was not sent, and otherwise answers [`KvError::Unavailable`]: the caller's compares decide.
//! Watches resume by themselves after the last whole revision delivered.
//!
//! Progress notices on request are safe from etcd 3.4.31, 3.5.13 and 3.6 on (before, a notice could overtake events:
//! <https://github.com/etcd-io/etcd/issues/15220>); with an older one, quiet watches advance only by etcd's own notices
//! (`--experimental-watch-progress-notify-interval`), and [`Kv::tells_progress`] says so.

mod convert;
mod endpoints;
mod watch;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base::TaskGroup;
use endpoints::{Endpoints, Retry};
use tokio::sync::watch as signal;

use crate::{
    Kv, KvError, LeaseId, RangeRequest, RangeResponse, Revision, Txn, TxnResponse, WatchRequest,
    WatchStream,
    proto::etcdserverpb::{
        CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest,
        StatusRequest, StatusResponse, kv_client::KvClient, lease_client::LeaseClient,
        maintenance_client::MaintenanceClient,
    },
};

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// `http://` or `https://` addresses of its members, as in `--etcd-servers`.
    pub endpoints: Vec<String>,
    /// For `https://`.
    pub tls: Tls,
    /// The longest a connection may take.
    pub connect_timeout: Duration,
    /// The longest a request may take at one endpoint.
    pub request_timeout: Duration,
}

/// Certificates for the connection, PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Whom to trust (`--etcd-cafile`).
    pub ca: Option<Vec<u8>>,
    /// Who we are: certificate and key (`--etcd-certfile`, `--etcd-keyfile`).
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The usual settings for these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// An external etcd cluster.
pub struct Remote {
    endpoints: Arc<Endpoints>,
    /// The revision that somebody has been told of, and that watches are therefore asked to reach.
    wanted: signal::Sender<Revision>,
    progress_on_request: bool,
    tasks: TaskGroup,
}

impl Remote {
    /// Connects to the first member that answers. Watches live until `tasks` is cancelled.
    pub async fn connect(config: Config, tasks: &TaskGroup) -> Result<Arc<Self>, KvError> {
        let endpoints = Arc::new(Endpoints::new(&config)?);
        let status = status(&endpoints).await?;
        let progress_on_request = progress_is_safe(&status.version);
        if !progress_on_request {
            tracing::warn!(
                version = status.version,
                "this etcd gives no safe progress notices on request: consistent reads go to it, past the watch cache, until it is upgraded"
            );
        }
        let wanted = signal::Sender::new(Revision(0));
        Ok(Arc::new(Self {
            endpoints,
            wanted,
            progress_on_request,
            tasks: tasks.clone(),
        }))
    }

    /// Renews a lease; answers its time to live, which is 0 when there is no such lease.
    async fn keep_alive_once(&self, lease: LeaseId) -> Result<i64, KvError> {
        let request = LeaseKeepAliveRequest { id: lease.0 };
        let answer = self.endpoints.call(Retry::Always, |channel| async move {
            let once = futures_util::stream::iter([request]);
            let mut answers = LeaseClient::new(channel)
                .lease_keep_alive(once)
                .await?
                .into_inner();
            let answer = answers.message().await?;
            let answer = answer.ok_or_else(|| tonic::Status::unavailable("the stream ended"))?;
            Ok(tonic::Response::new(answer))
        });
        Ok(answer.await?.ttl)
    }
}

/// What a member says of itself.
async fn status(endpoints: &Endpoints) -> Result<StatusResponse, KvError> {
    let asked = endpoints.call(Retry::Always, |channel| async move {
        MaintenanceClient::new(channel)
            .status(StatusRequest {})
            .await
    });
    asked.await
}

/// Whether progress may be asked for; see the module's head.
fn progress_is_safe(version: &str) -> bool {
    let mut numbers = version
        .split(['.', '-'])
        .map(|number| number.parse().unwrap_or(0));
    let mut number = || -> u32 { numbers.next().unwrap_or(0) };
    match (number(), number(), number()) {
        (3, 4, patch) => patch >= 31,
        (3, 5, patch) => patch >= 13,
        version => version >= (3, 6, 0),
    }
}

#[async_trait]
impl Kv for Remote {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, KvError> {
        let wire = convert::range_request(&request);
        let answer = self.endpoints.call(Retry::Always, |channel| {
            let wire = wire.clone();
            async move { endpoints::kv_client(channel).range(wire).await }
        });
        let answer = answer
            .await
            .map_err(|error| convert::at_revision(error, request.revision))?;
        Ok(convert::range_response(answer, Revision(0)))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, KvError> {
        let asked = convert::asked_revision(&txn);
        let wire = convert::txn_request(txn);
        let answer = self.endpoints.call(Retry::IfNotSent, |channel| {
            let wire = wire.clone();
            async move { endpoints::kv_client(channel).txn(wire).await }
        });
        let answer = answer.await.map_err(|error| match error {
            KvError::TooLarge { limit, .. } => KvError::TooLarge {
                size: prost::Message::encoded_len(&wire),
                limit,
            },
            KvError::LeaseNotFound(_) => KvError::LeaseNotFound(convert::first_lease(&wire)),
            error => convert::at_revision(error, asked),
        })?;
        Ok(convert::txn_response(answer))
    }

    fn tells_progress(&self) -> bool {
        self.progress_on_request
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, KvError> {
        let settings = watch::Settings {
            endpoints: self.endpoints.clone(),
            range: request.range,
            wanted: self.wanted.subscribe(),
            progress_on_request: self.progress_on_request,
        };
        watch::open(settings, request.start, request.buffer, &self.tasks).await
    }

    async fn revision(&self) -> Result<Revision, KvError> {
        let wire = convert::revision_request();
        let answer = self.endpoints.call(Retry::Always, |channel| {
            let wire = wire.clone();
            async move { KvClient::new(channel).range(wire).await }
        });
        let revision = Revision(answer.await?.header.unwrap_or_default().revision);
        // Whoever asks is about to wait until watches have got there.
        self.wanted.send_if_modified(|wanted| {
            let higher = revision > *wanted;
            *wanted = revision.max(*wanted);
            higher
        });
        Ok(revision)
    }

    async fn size_bytes(&self) -> Result<Option<u64>, KvError> {
        let status = status(&self.endpoints).await?;
        Ok(u64::try_from(status.db_size).ok())
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        let wire = CompactionRequest {
            revision: revision.0,
            physical: false,
        };
        let answer = self.endpoints.call(Retry::IfNotSent, |channel| async move {
            KvClient::new(channel).compact(wire).await
        });
        answer
            .await
            .map_err(|error| convert::at_revision(error, Some(revision)))?;
        Ok(())
    }

    async fn lease_grant(&self, ttl_seconds: i64) -> Result<LeaseId, KvError> {
        let wire = LeaseGrantRequest {
            ttl: ttl_seconds.max(1),
            id: 0,
        };
        // Granted twice, one of the two expires unused.
        let answer = self.endpoints.call(Retry::Always, |channel| async move {
            LeaseClient::new(channel).lease_grant(wire).await
        });
        Ok(LeaseId(answer.await?.id))
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<i64, KvError> {
        match self.keep_alive_once(lease).await? {
            ttl if ttl > 0 => Ok(ttl),
            _ => Err(KvError::LeaseNotFound(lease)),
        }
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        let wire = LeaseRevokeRequest { id: lease.0 };
        let answer = self.endpoints.call(Retry::IfNotSent, |channel| async move {
            LeaseClient::new(channel).lease_revoke(wire).await
        });
        answer.await.map(drop).map_err(|error| match error {
            KvError::LeaseNotFound(_) => KvError::LeaseNotFound(lease),
            error => error,
        })
    }
}
