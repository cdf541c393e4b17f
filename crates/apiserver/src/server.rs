//! A server, put together: caches, registry, authentication, authorization, admission, pipeline, listener.
//!
//! Start: the listener is bound first (a taken port is said before anything else happens), the caches are filled, then requests are
//! served; what the server itself keeps in the API (namespaces, roles, …) is made behind `/readyz`.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use base::{Clock, TaskGroup};
use etcd::Kv;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{self, Chain, UnknownPlugin},
    authn::{
        self, Anonymous, Authenticator, BearerTokens, BootstrapTokens, ClientCaError,
        ClientCertificates, Peer, SelfSubjectReview, ServiceAccountTokens, TokenAuthenticator,
        TokenFile, TokenFileError, TokenReview,
    },
    authz::{
        self, Authorizer,
        rbac::RuleResolver,
        reviews::{AccessReview, Scope as ReviewScope, SelfSubjectRulesReview},
    },
    body::Body,
    bootstrap::{self, Bootstrap},
    cacher::Hub,
    config::Config,
    discovery::{Discovery, Version},
    health::{self, Health},
    listener,
    metrics::Metrics,
    pipeline::{FlowControl, Pipeline},
    reader::{ObjectReader, ObjectWriter},
    registry::{Connector, Registry, ServerWriter},
    router::Router,
    tls::TlsError,
    tokens::{self, Issuer, KeyError, OpenIdDiscovery, TokenRequest},
};

/// What a server stands on.
pub struct Dependencies {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The time.
    pub clock: Clock,
    /// Who serves exec, attach, port-forward, logs and proxies; `None`: nobody.
    pub connector: Option<Arc<dyn Connector>>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the configuration.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The serving certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `--client-ca-file`
    #[error(transparent)]
    ClientCa(#[from] ClientCaError),
    /// `--token-auth-file`
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    /// A service account key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// `--enable-admission-plugins`
    #[error(transparent)]
    Admission(#[from] UnknownPlugin),
}

/// A running server. Dropping it stops nothing: cancel the token it was started with, then [`Server::wait`].
#[derive(Debug)]
pub struct Server {
    pipeline: Arc<Pipeline>,
    registry: Arc<Registry>,
    address: SocketAddr,
    ready: health::Done,
    tasks: TaskGroup,
}

/// Runs a server until cancelled; returns when all of it has stopped.
pub async fn run(config: Config, deps: Dependencies, cancel: CancellationToken) -> Result<(), Error> {
    Server::start(config, deps, &cancel).await?.wait().await;
    Ok(())
}

impl Server {
    /// Starts a server. It serves when this returns, and is ready when [`Server::ready`] says so.
    pub async fn start(
        config: Config,
        deps: Dependencies,
        cancel: &CancellationToken,
    ) -> Result<Self, Error> {
        let bind = SocketAddr::new(config.bind_address, config.secure_port);
        let bind_error = |source| Error::Bind { address: bind, source };
        let listener = TcpListener::bind(bind).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let tls = config.serving_certificate.server_config()?;

        let hub = Arc::new(Hub::new());
        let event_ttl = i64::try_from(config.event_ttl.as_secs()).unwrap_or(3600);
        let registry =
            Registry::new(Arc::clone(&deps.kv), Arc::clone(&hub), deps.clock.clone(), event_ttl);
        if let Some(connector) = deps.connector.clone() {
            registry.set_connector(connector);
        }
        let parts = Parts::new(&config, &deps, &registry)?;
        parts.plug_in(&config, &deps, &registry)?;

        let tasks = TaskGroup::new(cancel);
        let mut health = Health::new();
        health.add("ping", health::Scope::All, Arc::new(health::Ping));
        health.add("etcd", health::Scope::All, Arc::new(health::Store(Arc::clone(&deps.kv))));
        let synced = health.add_stage("poststarthook/storage-object-count-tracker-hook");
        let ready = health.add_stage("poststarthook/rbac/bootstrap-roles");
        let shutdown = health::Shutdown(cancel.clone());
        health.add("shutdown", health::Scope::Ready, Arc::new(shutdown));

        let router = Router {
            discovery: Discovery::new(api::kinds::TABLE, &server_address(&config, address)),
            registry: Arc::clone(&registry),
            health,
            metrics: Metrics::new(&Version::CURRENT.git_version()),
            openid: parts.openid,
        };
        let flow_control = FlowControl::new(
            config.max_requests_in_flight,
            config.max_mutating_requests_in_flight,
        );
        let pipeline = Arc::new(Pipeline::new(
            parts.authenticator,
            parts.authorizer,
            flow_control,
            Arc::new(router),
            config.request_timeout,
        ));

        let (feeding, kv) = (Arc::clone(&hub), Arc::clone(&deps.kv));
        let token = tasks.token().clone();
        tasks.spawn("watch-cache", async move { feeding.run(kv, token).await });
        let bootstrap = Bootstrap {
            reader: Arc::clone(&registry) as Arc<dyn ObjectReader>,
            writer: Arc::new(ServerWriter(Arc::clone(&registry))) as Arc<dyn ObjectWriter>,
            clock: deps.clock.clone(),
            config: bootstrap_config(&config)?,
        };
        let done = ready.clone();
        tasks.spawn_cancellable("bootstrap", async move {
            while hub.wait_for(etcd::Revision(1)).await.is_err() {}
            synced.set();
            while let Err(error) = bootstrap.run().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "bootstrap objects are not there yet");
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
            done.set();
        });
        let (serving, token) = (Arc::clone(&pipeline), tasks.token().clone());
        tasks.spawn("listener", listener::serve(listener, tls, serving, token));
        Ok(Self { pipeline, registry, address, ready, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether `/readyz` says so.
    pub async fn ready(&self) -> bool {
        use health::Check as _;
        self.ready.check().await.is_ok()
    }

    /// Its resources.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Answers a request from within the process, as if it had come over a connection of `peer`.
    pub async fn call(&self, request: Request<Body>, peer: Peer) -> Response<Body> {
        self.pipeline.serve(request, peer).await
    }

    /// A handle for calls from within the process.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        Arc::clone(&self.pipeline)
    }

    /// Waits until it has been cancelled and all of it has stopped.
    pub async fn wait(&self) {
        self.tasks.wait().await;
    }
}

/// What the configuration makes of authentication and authorization.
struct Parts {
    reader: Arc<dyn ObjectReader>,
    authenticator: Arc<dyn Authenticator>,
    authorizer: Arc<dyn Authorizer>,
    resolver: Arc<RuleResolver>,
    tokens: Arc<dyn TokenAuthenticator>,
    service_accounts: Option<Arc<ServiceAccountTokens>>,
    issuer: Option<Arc<Issuer>>,
    audiences: Vec<String>,
    openid: Option<OpenIdDiscovery>,
}

impl Parts {
    fn new(config: &Config, deps: &Dependencies, registry: &Arc<Registry>) -> Result<Self, Error> {
        let reader: Arc<dyn ObjectReader> = Arc::clone(registry) as Arc<dyn ObjectReader>;
        let audiences = match config.api_audiences.as_slice() {
            [] => config.service_account_issuers.clone(),
            audiences => audiences.to_vec(),
        };
        let mut keys = Vec::new();
        for path in &config.service_account_key_files {
            keys.extend(tokens::public_keys(&read(path)?)?);
        }
        let signing_key = match &config.service_account_signing_key_file {
            Some(path) => Some(tokens::private_key(&read(path)?)?),
            None => None,
        };
        if keys.is_empty()
            && let Some(key) = &signing_key
        {
            keys.push(key.public().clone());
        }
        let openid = config.service_account_issuers.first().map(|issuer| {
            let default_uri = format!("{issuer}{}", tokens::openid::JWKS_PATH);
            let uri = config.service_account_jwks_uri.clone().unwrap_or(default_uri);
            OpenIdDiscovery::new(issuer, &uri, &keys)
        });
        let service_accounts = (!keys.is_empty()).then(|| {
            Arc::new(ServiceAccountTokens {
                issuers: config.service_account_issuers.clone(),
                keys,
                audiences: audiences.clone(),
                reader: Arc::clone(&reader),
                clock: deps.clock.clone(),
            })
        });
        let issuer = signing_key.zip(config.service_account_issuers.first()).map(|(key, issuer)| {
            Arc::new(Issuer { issuer: issuer.clone(), key, clock: deps.clock.clone() })
        });

        let mut bearers: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
        if let Some(path) = &config.token_auth_file {
            bearers.push(Arc::new(TokenFile::read(path)?));
        }
        if let Some(accounts) = &service_accounts {
            bearers.push(Arc::clone(accounts) as Arc<dyn TokenAuthenticator>);
        }
        if config.enable_bootstrap_token_auth {
            bearers.push(Arc::new(BootstrapTokens {
                reader: Arc::clone(&reader),
                clock: deps.clock.clone(),
            }));
        }
        let bearer_tokens = Arc::new(BearerTokens::new(bearers));
        let mut authenticators: Vec<Arc<dyn Authenticator>> = Vec::new();
        if let Some(path) = &config.client_ca_file {
            authenticators.push(Arc::new(ClientCertificates::new(&read(path)?, deps.clock.clone())?));
        }
        authenticators.push(Arc::clone(&bearer_tokens) as Arc<dyn Authenticator>);
        let anonymous =
            config.anonymous_auth.then(|| Arc::new(Anonymous) as Arc<dyn Authenticator>);

        let resolver = Arc::new(RuleResolver::new(&reader));
        let authorizer: Arc<dyn Authorizer> =
            Arc::new(authz::Union::of_modes(&config.authorization_modes, &reader, &resolver));
        Ok(Self {
            reader,
            authenticator: Arc::new(authn::Union::new(authenticators, anonymous)),
            authorizer,
            resolver,
            tokens: bearer_tokens,
            service_accounts,
            issuer,
            audiences,
            openid,
        })
    }

    /// Gives the registry what reads through it.
    fn plug_in(
        &self,
        config: &Config,
        deps: &Dependencies,
        registry: &Arc<Registry>,
    ) -> Result<(), Error> {
        let dependencies = admission::Dependencies {
            reader: Arc::clone(&self.reader),
            authorizer: Arc::clone(&self.authorizer),
            rules: Arc::clone(&self.resolver),
            clock: deps.clock.clone(),
        };
        let plugins = admission::plugins(
            &config.enable_admission_plugins,
            &config.disable_admission_plugins,
            &dependencies,
        )?;
        registry.set_admission(Chain::new(plugins));

        registry.add_virtual_resource(Arc::new(TokenReview {
            tokens: Arc::clone(&self.tokens),
            service_accounts: self.service_accounts.clone(),
            audiences: self.audiences.clone(),
        }));
        registry.add_virtual_resource(Arc::new(SelfSubjectReview { clock: deps.clock.clone() }));
        for scope in [ReviewScope::Subject, ReviewScope::SelfSubject, ReviewScope::LocalSubject] {
            let authorizer = Arc::clone(&self.authorizer);
            registry.add_virtual_resource(Arc::new(AccessReview { scope, authorizer }));
        }
        registry.add_virtual_resource(Arc::new(SelfSubjectRulesReview {
            resolver: Arc::clone(&self.resolver),
        }));
        if let Some(issuer) = &self.issuer {
            registry.add_virtual_resource(Arc::new(TokenRequest {
                issuer: Arc::clone(issuer),
                audiences: self.audiences.clone(),
                max_seconds: config
                    .service_account_max_token_expiration
                    .and_then(|max| i64::try_from(max.as_secs()).ok()),
                extend_expiration: config.service_account_extend_token_expiration,
                reader: Arc::clone(&self.reader),
            }));
        }
        Ok(())
    }
}

fn bootstrap_config(config: &Config) -> Result<bootstrap::Config, Error> {
    let client_ca_pem = match &config.client_ca_file {
        Some(path) => String::from_utf8_lossy(&read(path)?).into_owned(),
        None => String::new(),
    };
    Ok(bootstrap::Config {
        service_ranges: config.service_cluster_ip_ranges.clone(),
        client_ca_pem,
        request_header_ca_pem: String::new(),
    })
}

/// `IP:PORT` under which clients outside reach the server.
fn server_address(config: &Config, bound: SocketAddr) -> String {
    let ip: IpAddr = config.advertise_address.unwrap_or_else(|| bound.ip());
    SocketAddr::new(ip, bound.port()).to_string()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
