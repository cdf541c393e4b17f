//! A server, put together: caches, registry, authentication, authorization, admission, pipeline, listener.
//!
//! Start: the listener is bound first (a taken port is said before anything else happens), the caches are filled, then requests are
//! served; what the server itself keeps in the API (namespaces, roles, …) is made behind `/readyz`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::kinds::apiextensions::custom_resource_definition;
use apimachinery::gvk::GroupResource;
use base::{Clock, Reloader, TaskGroup, tls::TlsError};
use etcd::Kv;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::PluginError,
    advertise,
    aggregation::{self, Aggregator, Availability, Collector, ProxyIdentity, Reach, Registration},
    allocators::{
        self, CidrError, ClusterIpAllocator, NodePortAllocator, PortRange, Repair, ServiceAllocator,
    },
    apiextensions::CustomResources,
    audit::{self, Audit},
    authn::{Peer, TokenFileError},
    body::Body,
    bootstrap::{self, Bootstrap, ClusterAuthentication, KubernetesService},
    cacher::Hub,
    compactor::Compactor,
    config::Config,
    discovery::{Discovery, Version},
    encryption::{self, ConfigurationError, EncryptedKv, EncryptionConfiguration},
    flow_control::{self, FlowControl},
    health::{self, Check},
    lifecycle::Lifecycle,
    listener,
    metered_kv::MeteredKv,
    metrics::Metrics,
    openapi::OpenApi,
    pipeline::{self, Pipeline},
    proxy::ProxyConnector,
    reader::{ObjectReader, ObjectWriter},
    registry::{Connector, Registry, ServerWriter, hooks::Hook},
    router::Router,
    security::Security,
    startup::{self, Stages},
    tokens::KeyError,
    traces::{Tracer, TracingConfiguration},
    webhook_client::WebhookClients,
    zpages::Pages,
};

const SERVICES: GroupResource = GroupResource::new("", "services");
/// How long until what the server keeps in the API is tried again.
const BOOTSTRAP_RETRY: Duration = Duration::from_millis(500);

/// What a server stands on.
pub struct Dependencies {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The time.
    pub clock: Clock,
    /// Who serves exec, attach, port-forward, logs and proxies; `None`: [`ProxyConnector`], which goes to kubelets by `Config::kubelet`.
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
    /// A file of the configuration that says what cannot be.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Flags that say what cannot be.
    #[error("{0}")]
    Flags(String),
    /// The serving certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `--client-ca-file`
    #[error("client CA bundle: {0}")]
    ClientCa(#[source] TlsError),
    /// `--token-auth-file`
    #[error(transparent)]
    TokenFile(#[from] TokenFileError),
    /// A service account key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// `--enable-admission-plugins`
    #[error(transparent)]
    Admission(#[from] PluginError),
    /// `--encryption-provider-config`
    #[error(transparent)]
    Encryption(#[from] ConfigurationError),
    /// `--audit-…`
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// `--service-cluster-ip-range`
    #[error(transparent)]
    ServiceRange(#[from] CidrError),
}

impl Error {
    pub(crate) fn file(path: &Path, problem: String) -> Self {
        Self::File {
            path: path.to_owned(),
            problem,
        }
    }
}

/// A running server. Dropping it stops nothing: cancel the token it was started with, then [`Server::wait`].
#[derive(Debug)]
pub struct Server {
    pipeline: Arc<Pipeline>,
    registry: Arc<Registry>,
    address: SocketAddr,
    ready: Stages,
    tasks: TaskGroup,
}

/// Runs a server until cancelled; returns when all of it has stopped.
pub async fn run(
    config: Config,
    deps: Dependencies,
    cancel: CancellationToken,
) -> Result<(), Error> {
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
        let bind_error = |source| Error::Bind {
            address: bind,
            source,
        };
        let listener = base::listen(bind).await.map_err(bind_error)?;
        let port = listener.local_addr().map_err(bind_error)?.port();
        let address = SocketAddr::new(config.bind_address, port);
        let certificate = &config.serving_certificate;
        let tls = certificate.server_config_since(config.tls_min_version)?;

        let lifecycle = Lifecycle::new(config.shutdown, cancel.clone());
        let metrics = Metrics::new();
        let kv: Arc<dyn Kv> = Arc::new(MeteredKv::new(Arc::clone(&deps.kv), metrics.registry()));
        // What the server consists of outlives the order to stop, by the time that requests need to be answered.
        let tasks = TaskGroup::new(&CancellationToken::new());
        let encrypted = encrypted(&config, &kv, &deps.clock, &tasks, metrics.registry())?;
        let kv = match &encrypted {
            Some(encrypted) => Arc::new(encrypted.clone()) as Arc<dyn Kv>,
            None => kv,
        };
        let deps = Dependencies { kv, ..deps };
        let hub = Arc::new(Hub::new());
        let event_ttl = i64::try_from(config.event_ttl.as_secs()).unwrap_or(3600);
        let registry = Registry::new(
            Arc::clone(&deps.kv),
            Arc::clone(&hub),
            deps.clock.clone(),
            event_ttl,
            config.min_request_timeout,
            metrics.registry(),
        );
        let mut plugins = None;
        if let Some(encrypted) = encrypted {
            // Plugins may come with another configuration.
            if config.encryption_provider_config_automatic_reload || encrypted.has_plugins() {
                plugins = Some(Arc::new(encrypted.clone()) as Arc<dyn Check>);
            }
            registry.set_encryption(encrypted);
        }
        let counted = Arc::clone(&registry);
        metrics.serve_stored_objects(move || counted.object_counts());
        let served = Arc::clone(&registry);
        metrics.find_served(move |gvr| Some(Arc::clone(&served.endpoint(gvr)?.row)));
        metrics.serve_storage_size(Arc::clone(&deps.kv));
        let reader = Arc::clone(&registry) as Arc<dyn ObjectReader>;
        let webhooks = WebhookClients::new(reader, tasks.clone());
        let mut security = Security::new(&config, &deps, &registry, &webhooks, metrics.registry())?;
        security.plug_in(&config, &deps, &registry, &webhooks, &metrics)?;
        let connector = deps.connector.clone().unwrap_or_else(|| {
            let reader = Arc::clone(&registry) as Arc<dyn ObjectReader>;
            Arc::new(ProxyConnector::new(
                config.kubelet.clone(),
                reader,
                tasks.clone(),
            ))
        });
        registry.set_connector(connector);
        registry.set_stream_tasks(tasks.clone());
        let store = health::Store(Arc::clone(&deps.kv));
        let shutdown = health::Shutdown(lifecycle.initiated().clone());
        let (health, stages) = startup::checks(Arc::new(store), plugins, Arc::new(shutdown));

        let flow_control = flow_control(&config, &deps, &registry, &metrics);
        reload_serving_certificate(&config, &mut security.reloader);
        let authorities = bootstrap::Authorities {
            client_ca_file: config.client_ca_file.clone(),
            request_header_ca_file: config.request_header_client_ca_file.clone(),
        };
        let authorities_changed = Arc::new(tokio::sync::Notify::new());
        authorities.watch(&mut security.reloader, &authorities_changed);
        std::mem::take(&mut security.reloader).start(deps.clock.clone(), &tasks);
        let reach = Reach {
            reader: Arc::clone(&registry) as Arc<dyn ObjectReader>,
            identity: proxy_identity(&config)?,
            tasks: tasks.clone(),
        };
        let aggregator = Arc::new(Aggregator::new(reach.clone()));
        let (served, remote) = (Arc::clone(&registry), Arc::clone(&aggregator));
        let router = Router {
            discovery: Discovery::new(
                move || served.served(),
                move || remote.remote_versions(),
                &server_address(&config, address),
            ),
            aggregator: Arc::clone(&aggregator),
            openapi: openapi(&registry, &aggregator, http_date(deps.clock.now())),
            registry: Arc::clone(&registry),
            health,
            metrics: metrics.clone(),
            flow_control: Arc::clone(&flow_control),
            pages: Pages {
                started: deps.clock.now(),
                flags: config.flags.clone(),
            },
            clock: deps.clock.clone(),
            openid: security.openid,
        };
        let audit = Audit::start(
            &config.audit,
            &deps.clock,
            metrics.registry(),
            &webhooks,
            &tasks,
        )?;
        let pipeline = Arc::new(Pipeline::new(pipeline::Parts {
            authenticator: security.authenticator,
            authorizer: security.authorizer,
            flow_control: Arc::clone(&flow_control),
            metrics: metrics.clone(),
            handler: Arc::new(router),
            request_timeout: config.request_timeout,
            audit,
            lifecycle: lifecycle.clone(),
            tasks: tasks.clone(),
            tracer: tracer(&config, &deps.clock, &tasks)?,
        }));

        let (feeding, kv) = (Arc::clone(&hub), Arc::clone(&deps.kv));
        let token = tasks.token().clone();
        tasks.spawn("watch-cache", async move { feeding.run(kv, token).await });
        if !config.etcd_compaction_interval.is_zero() {
            let compactor = Compactor {
                kv: Arc::clone(&deps.kv),
                clock: deps.clock.clone(),
                interval: config.etcd_compaction_interval,
                horizon: registry.horizon().clone(),
            };
            tasks.spawn_cancellable("compactor", compactor.run());
        }
        let definitions = CustomResources::new(
            Arc::clone(&registry),
            Arc::clone(&deps.kv),
            deps.clock.clone(),
            webhooks.clone(),
        );
        let token = tasks.token().clone();
        tasks.spawn("custom-resources", definitions.run(token));
        Self::start_aggregation(&deps, &registry, aggregator, reach, &tasks);
        aggregation::metrics::serve(Arc::clone(&registry) as _, metrics.registry());
        Self::start_services(&config, &deps, &registry, address, &tasks, &metrics)?;
        let bootstrap = Bootstrap {
            reader: Arc::clone(&registry) as Arc<dyn ObjectReader>,
            writer: Arc::new(ServerWriter(Arc::clone(&registry))) as Arc<dyn ObjectWriter>,
            clock: deps.clock.clone(),
            config: bootstrap_config(&config)?,
        };
        let bootstrap = Arc::new(bootstrap);
        let published =
            ClusterAuthentication::new(Arc::clone(&bootstrap), authorities, authorities_changed);
        let token = tasks.token().clone();
        tasks.spawn("cluster-authentication", published.run(token));
        let controller = flow_control::Controller {
            flow_control,
            reader: Arc::clone(&registry) as Arc<dyn ObjectReader>,
            writer: ServerWriter(Arc::clone(&registry)),
            bootstrap: Arc::clone(&bootstrap),
            clock: deps.clock.clone(),
            following: stages.flow_control.clone(),
            revision: hub.subscribe(),
        };
        let token = tasks.token().clone();
        tasks.spawn("flow-control", controller.run(token));
        let (synced, done) = (stages.synced.clone(), stages.bootstrap.clone());
        let watched = Arc::clone(&hub);
        tasks.spawn_cancellable("bootstrap", async move {
            while hub.wait_for(etcd::Revision(1)).await.is_err() {}
            synced.set();
            while let Err(error) = bootstrap.run().await {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "bootstrap objects are not there yet");
                tokio::time::sleep(BOOTSTRAP_RETRY).await;
            }
            done.set();
        });
        let serving = listener::Serving {
            pipeline: Arc::clone(&pipeline),
            lifecycle: lifecycle.clone(),
            drain: config.request_timeout,
            goaway_chance: config.goaway_chance,
            handshake_errors: metrics.handshake_errors(),
        };
        let stopping = tasks.token().clone();
        tasks.spawn("lifecycle", async move {
            let ending_watches = async {
                lifecycle.not_accepting().cancelled().await;
                watched.end_watches(lifecycle.watch_grace());
            };
            // All end with the shutdown: the first begins it, the last has drained.
            tokio::join!(lifecycle.run(), ending_watches, serving.run(listener, tls));
            stopping.cancel();
        });
        Ok(Self {
            pipeline,
            registry,
            address,
            ready: stages,
            tasks,
        })
    }

    /// What keeps APIServices, and what is known of the servers behind them.
    fn start_aggregation(
        deps: &Dependencies,
        registry: &Arc<Registry>,
        aggregator: Arc<Aggregator>,
        reach: Reach,
        tasks: &TaskGroup,
    ) {
        let registration = Registration::new(Arc::clone(registry));
        let token = tasks.token().clone();
        tasks.spawn("api-service-registration", registration.run(token));
        let availability = Availability {
            reach: reach.clone(),
            writer: Arc::new(ServerWriter(Arc::clone(registry))) as Arc<dyn ObjectWriter>,
            clock: deps.clock.clone(),
            hub: Arc::clone(registry.hub()),
            discovered: aggregator.discovered(),
        };
        let token = tasks.token().clone();
        tasks.spawn("api-service-availability", availability.run(token));
        let collector = Collector { reach, aggregator };
        let token = tasks.token().clone();
        tasks.spawn("api-service-openapi", collector.run(token));
    }

    /// The allocators of Services, and the Service of the server itself.
    fn start_services(
        config: &Config,
        deps: &Dependencies,
        registry: &Arc<Registry>,
        address: SocketAddr,
        tasks: &TaskGroup,
        metrics: &Metrics,
    ) -> Result<(), Error> {
        let reader = Arc::clone(registry) as Arc<dyn ObjectReader>;
        let writer = Arc::new(ServerWriter(Arc::clone(registry))) as Arc<dyn ObjectWriter>;
        let ranges = config
            .service_cluster_ip_ranges
            .iter()
            .map(|range| range.parse())
            .collect::<Result<Vec<crate::allocators::Cidr>, _>>()?;
        let Some(first) = ranges.first().copied() else {
            return Ok(());
        };
        let addresses = ranges
            .into_iter()
            .map(|range| ClusterIpAllocator::new(range, Arc::clone(&reader), Arc::clone(&writer)))
            .collect();
        let (first_port, last_port) = config.service_node_port_range;
        let ports = PortRange {
            first: first_port,
            last: last_port,
        };
        let ports = NodePortAllocator::new(ports, Arc::clone(&deps.kv));
        let allocator = Arc::new(ServiceAllocator::new(addresses, ports));
        registry.set_hook(SERVICES, Arc::clone(&allocator) as Arc<dyn Hook>);
        allocators::metrics::serve(&allocator, &reader, metrics.registry());

        let repair = Repair {
            allocator: Arc::clone(&allocator),
            reader: Arc::clone(&reader),
            clock: deps.clock.clone(),
        };
        let token = tasks.token().clone();
        tasks.spawn(
            "service-allocator",
            async move { allocator.run(token).await },
        );
        let (hub, token) = (Arc::clone(registry.hub()), tasks.token().clone());
        tasks.spawn("service-allocator-repair", async move {
            wait_synced(&hub, &token).await;
            repair.run(token).await;
        });
        let service = KubernetesService {
            advertise_address: advertise::address(config.advertise_address, address.ip()),
            secure_port: address.port(),
            service_range: first,
            kv: Arc::clone(&deps.kv),
            reader,
            writer,
            clock: deps.clock.clone(),
        };
        let (hub, token) = (Arc::clone(registry.hub()), tasks.token().clone());
        tasks.spawn("kubernetes-service", async move {
            wait_synced(&hub, &token).await;
            service.run(token).await;
        });
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether `/readyz` says so.
    pub async fn ready(&self) -> bool {
        use health::Check as _;
        self.ready.bootstrap.check().await.is_ok() && self.ready.flow_control.check().await.is_ok()
    }

    /// Waits until `/readyz` says so.
    pub async fn wait_ready(&self) {
        self.ready.bootstrap.wait().await;
        self.ready.flow_control.wait().await;
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

/// The store with encryption in front, if that is configured.
fn encrypted(
    config: &Config,
    kv: &Arc<dyn Kv>,
    clock: &Clock,
    tasks: &TaskGroup,
    metrics: &base::metrics::Registry,
) -> Result<Option<EncryptedKv>, Error> {
    let Some(path) = &config.encryption_provider_config else {
        return Ok(None);
    };
    let configuration = EncryptionConfiguration::read(path)?;
    let store = EncryptedKv::new(
        Arc::clone(kv),
        &configuration,
        tasks.clone(),
        encryption::Metrics::new(metrics),
    )?;
    if config.encryption_provider_config_automatic_reload {
        let reload = encryption::Reload {
            path: path.clone(),
            store: store.clone(),
            clock: clock.clone(),
        };
        tasks.spawn("encryption-reload", reload.run(tasks.token().clone()));
    }
    Ok(Some(store))
}

/// Who is told of requests, if anybody is.
fn tracer(config: &Config, clock: &Clock, tasks: &TaskGroup) -> Result<Option<Tracer>, Error> {
    let Some(path) = &config.tracing_config_file else {
        return Ok(None);
    };
    let contents = String::from_utf8_lossy(&read(path)?).into_owned();
    TracingConfiguration::parse(&contents)
        .and_then(|configuration| Tracer::start(&configuration, clock.clone(), tasks))
        .map(Some)
        .map_err(|error| Error::file(path, error.to_string()))
}

/// OpenAPI of what is built in, of what users define (their definitions are read from the cache when a document is made), and of what other
/// servers serve.
fn openapi(
    registry: &Arc<Registry>,
    aggregator: &Arc<Aggregator>,
    now: http::HeaderValue,
) -> OpenApi {
    let (served, cached) = (Arc::clone(registry), Arc::clone(registry));
    let remote = Arc::clone(aggregator);
    let definition = move |name: &str| {
        let definitions = &custom_resource_definition::RESOURCE.gvr;
        let endpoint = cached.endpoint(definitions)?;
        let found = endpoint.cacher().ok()?.get("", name)?;
        Some(found.parse())
    };
    OpenApi::new(
        api::served::built_in(),
        &Version::CURRENT.git_version(),
        now,
    )
    .with_custom(move || served.served(), definition)
    .with_remote(move || remote.remote_documents())
}

fn flow_control(
    config: &Config,
    deps: &Dependencies,
    registry: &Arc<Registry>,
    metrics: &Metrics,
) -> Arc<FlowControl> {
    let settings = flow_control::Settings {
        enabled: config.enable_priority_and_fairness,
        max_in_flight: config.max_requests_in_flight,
        max_mutating_in_flight: config.max_mutating_requests_in_flight,
        patience: config.request_timeout / 4,
    };
    let measured = Arc::clone(registry);
    let dependencies = flow_control::Dependencies {
        reader: Arc::clone(registry) as Arc<dyn ObjectReader>,
        object_stats: Box::new(move |resource| measured.object_stats(resource)),
        clock: deps.clock.clone(),
        metrics: metrics.registry().clone(),
    };
    Arc::new(FlowControl::new(settings, dependencies))
}

/// How the server makes itself known to aggregated servers.
fn proxy_identity(config: &Config) -> Result<ProxyIdentity, Error> {
    let certificate = match &config.proxy_client_certificate {
        Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
        None => None,
    };
    Ok(ProxyIdentity { certificate })
}

/// Waits until the caches are filled, or it is over.
async fn wait_synced(hub: &Hub, cancel: &CancellationToken) {
    let filled = async { while hub.wait_for(etcd::Revision(1)).await.is_err() {} };
    let _ = cancel.run_until_cancelled(filled).await;
}

fn reload_serving_certificate(config: &Config, reloader: &mut Reloader) {
    let Some((certificate, key)) = config.serving_certificate_files.clone() else {
        return;
    };
    let serving = Arc::clone(&config.serving_certificate);
    let paths = [certificate.clone(), key.clone()];
    reloader.watch(paths.iter().map(PathBuf::as_path), move || {
        let read = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
        serving
            .replace(&read(&certificate)?, &read(&key)?)
            .map_err(|error| error.to_string())
    });
}

fn bootstrap_config(config: &Config) -> Result<bootstrap::Config, Error> {
    let pem = |path: &Option<PathBuf>| match path {
        Some(path) => Ok(String::from_utf8_lossy(&read(path)?).into_owned()),
        None => Ok::<_, Error>(String::new()),
    };
    Ok(bootstrap::Config {
        service_ranges: config.service_cluster_ip_ranges.clone(),
        client_ca_pem: pem(&config.client_ca_file)?,
        request_header_ca_pem: pem(&config.request_header_client_ca_file)?,
        request_header: config.request_header.clone(),
    })
}

/// As HTTP writes dates (RFC 9110).
fn http_date(time: jiff::Timestamp) -> http::HeaderValue {
    let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    http::HeaderValue::try_from(text).expect("a date is of visible characters")
}

/// `IP:PORT` under which clients outside reach the server.
fn server_address(config: &Config, bound: SocketAddr) -> String {
    let ip = advertise::address(config.advertise_address, bound.ip());
    SocketAddr::new(ip, bound.port()).to_string()
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
