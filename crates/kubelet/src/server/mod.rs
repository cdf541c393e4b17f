//! The kubelet's HTTPS server: logs, exec, attach, port-forward, pods, statistics, metrics.
//!
//! A request's way: TLS ([`component_base::Listener`]) → [`Authentication`] (client certificate, or token by TokenReview) → [`authz`]
//! (SubjectAccessReview on `nodes`) → [`router`] → its handler, which asks the [`Host`]. Paths, permissions and wording follow upstream's kubelet, so that any API server
//! and any metrics collector find here what they look for.
//!
//! Bounds: those of the listener; streams that carry nothing for [`ServerConfig::streaming_connection_idle_timeout`] are closed.

mod authz;
mod body;
mod configz;
mod files;
mod host;
mod idle;
mod logs;
mod pods;
mod query;
mod router;
mod stats;
mod streams;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base::{
    Clock, TaskGroup,
    tls::{ServingCertificate, TlsError, TlsVersion},
};
use component_base::{
    Authentication, Handler, Identity, ListenError, Listener, Peer, Unauthorized,
};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

pub use host::Host;

use authz::NodeAuthorization;
use body::Refusal;
use router::Router;

/// `authentication.webhook.cacheTTL`.
const TOKEN_TTL: Duration = Duration::from_secs(120);

/// What the server is told, in the words of `KubeletConfiguration`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `address` and `port`.
    pub address: SocketAddr,
    /// `tlsCertFile` and `tlsPrivateKeyFile`.
    pub certificate: Arc<ServingCertificate>,
    /// `authentication.x509.clientCAFile`, read; without it nobody is known by certificate.
    pub client_ca_pem: Option<Vec<u8>>,
    /// `authentication.anonymous.enabled`.
    pub anonymous: bool,
    /// `authorization.mode`.
    pub authorization: AuthorizationMode,
    /// `streamingConnectionIdleTimeout`.
    pub streaming_connection_idle_timeout: Duration,
    /// The oldest version of TLS that is spoken.
    pub tls_min_version: TlsVersion,
    /// Who this is, for `/statusz` and `/flagz`; without it there are none.
    pub identity: Option<Identity>,
}

/// `authorization.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationMode {
    /// Everybody who is known may do everything.
    AlwaysAllow,
    /// The API server is asked.
    Webhook,
}

impl ServerConfig {
    /// Upstream's defaults with this certificate: no anonymous requests, the API server is asked.
    pub fn new(address: SocketAddr, certificate: Arc<ServingCertificate>) -> Self {
        Self {
            address,
            certificate,
            client_ca_pem: None,
            anonymous: false,
            authorization: AuthorizationMode::Webhook,
            streaming_connection_idle_timeout: Duration::from_secs(4 * 3600),
            tls_min_version: TlsVersion::default(),
            identity: None,
        }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not ours.
    #[error("the kubelet {0}")]
    Listen(#[from] ListenError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Asking needs somebody to ask.
    #[error("no client provided, cannot use webhook authorization")]
    NoClient,
}

/// A server that listens but does not serve yet, so that a taken port is known before anything else starts.
pub struct Server {
    listener: Listener,
    authentication: Authentication,
    authorization: NodeAuthorization,
    idle_timeout: Duration,
    identity: Option<Identity>,
}

impl Server {
    /// Binds. Tokens and permissions are checked with `client`.
    pub async fn bind(
        config: ServerConfig,
        client: Option<client::Client>,
        node_name: &str,
        clock: Clock,
    ) -> Result<Self, ServerError> {
        if config.authorization == AuthorizationMode::Webhook && client.is_none() {
            return Err(ServerError::NoClient);
        }
        let authentication =
            Authentication::new(client.clone(), config.anonymous, TOKEN_TTL, clock.clone());
        if let Some(bundle) = &config.client_ca_pem {
            authentication.trust(bundle)?;
        }
        let reviewer = client.filter(|_| config.authorization == AuthorizationMode::Webhook);
        Ok(Self {
            listener: Listener::tls(config.address, &config.certificate, config.tls_min_version)
                .await?,
            authentication,
            authorization: NodeAuthorization::new(reviewer, node_name, clock),
            idle_timeout: config.streaming_connection_idle_timeout,
            identity: config.identity,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Serves until cancelled; returns when all connections and streams have ended.
    pub async fn run(self, host: Arc<dyn Host>, cancel: CancellationToken) {
        let tasks = TaskGroup::new(&cancel);
        let router = Arc::new(Router::new(
            host,
            tasks.clone(),
            self.idle_timeout,
            self.identity,
        ));
        let service = Arc::new(Service {
            authentication: self.authentication,
            authorization: self.authorization,
            router,
        });
        self.listener.serve(service, &tasks).await;
        tasks.shutdown().await;
    }
}

/// What stands behind every connection.
struct Service {
    authentication: Authentication,
    authorization: NodeAuthorization,
    router: Arc<Router>,
}

impl Handler for Service {
    async fn handle(&self, request: Request<Incoming>, peer: &Peer) -> http::Response<body::Body> {
        let allowed = async {
            let user = self
                .authentication
                .authenticate(request.headers(), peer)
                .await
                .map_err(|Unauthorized| Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized"))?;
            self.authorization
                .authorize(&user, request.method(), request.uri().path())
                .await
        };
        match allowed.await {
            Ok(()) => self.router.serve(request).await,
            Err(refusal) => refusal.into_response(),
        }
    }
}

#[cfg(test)]
mod tests;
