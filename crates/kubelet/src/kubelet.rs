//! The kubelet assembled: what runs beside what, and the handle that the HTTPS server asks.

mod sync_loop;

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use base::{Clock, TaskGroup, metrics::Registry};
use client::{Client, EventRecorder, InformerFactory, InformerScope};
use cri::{ImageService, RuntimeService, Streaming, v1};
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus, Service};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::sync_loop::{MirrorWork, SyncLoop, keep_mirrors};
use crate::{
    allocation::AllocationManager,
    config::KubeletConfig,
    container::parse_resolv_conf,
    events::PodEvents,
    gc::{EvictionManager, ImageGc, LogRotation},
    images::ImageManager,
    instrumented::Operations,
    node::{NodeReporter, Pressure, machine_facts},
    objects::ObjectCache,
    paths::Paths,
    pleg,
    pod::{self, uid},
    pod_worker::{HookRunner, NodeFacts, PodWorkers, WorkerContext},
    probes::ProbeManager,
    resources::{PodCgroups, amount},
    runtime_view::RuntimeView,
    sources::{MirrorPods, PodUpdate, Source, watch_manifests, watch_pods},
    status::StatusManager,
    userns::UserNamespaces,
    volumes::{ClaimManager, ClaimedDisk, TokenManager},
};

/// Changes of pods that wait to be taken in.
const UPDATES: usize = 256;

/// What the kubelet is built on.
#[derive(Clone)]
pub struct KubeletDeps {
    /// The API server; none for a kubelet that runs static pods alone.
    pub client: Option<Client>,
    /// The container runtime.
    pub runtime: Arc<dyn RuntimeService>,
    /// Its images.
    pub images: Arc<dyn ImageService>,
    /// Its streams.
    pub streaming: Arc<dyn Streaming>,
    /// Time.
    pub clock: Clock,
}

/// Why the kubelet cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its directories.
    #[error("cannot prepare {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine's cgroups.
    #[error("cannot prepare the cgroups of pods: {0}")]
    Cgroups(#[source] io::Error),
    /// The machine's facts.
    #[error("cannot read the machine's facts: {0}")]
    Facts(#[source] io::Error),
    /// The runtime.
    #[error("the container runtime does not answer: {0}")]
    Runtime(#[from] cri::CriError),
}

/// A running kubelet, for those who ask it. Cheap to clone.
#[derive(Clone)]
pub struct Kubelet {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<KubeletConfig>,
    deps: KubeletDeps,
    workers: PodWorkers,
    context: Arc<WorkerContext>,
    node: watch::Receiver<Option<Arc<Node>>>,
    metrics: Registry,
    probe_metrics: Registry,
}

impl Kubelet {
    /// Its configuration.
    pub fn config(&self) -> &KubeletConfig {
        &self.inner.config
    }

    /// Its directories.
    pub fn paths(&self) -> &Paths {
        &self.inner.context.paths
    }

    /// The runtime.
    pub fn runtime(&self) -> &Arc<dyn RuntimeService> {
        &self.inner.deps.runtime
    }

    /// The runtime's images.
    pub fn images(&self) -> &Arc<dyn ImageService> {
        &self.inner.deps.images
    }

    /// The runtime's streams: exec, attach, port-forward.
    pub fn streaming(&self) -> &Arc<dyn Streaming> {
        &self.inner.deps.streaming
    }

    /// The API server's client, for delegated authentication and authorization.
    pub fn client(&self) -> Option<&Client> {
        self.inner.deps.client.as_ref()
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Registry {
        &self.inner.metrics
    }

    /// The metrics of its probes, which are served apart from the others.
    pub fn probe_metrics(&self) -> &Registry {
        &self.inner.probe_metrics
    }

    /// The disks that pods of this node claim.
    pub fn claimed_disks(&self) -> Vec<ClaimedDisk> {
        self.inner.context.claims.disks(self.paths())
    }

    /// The Node object as it was last seen.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.inner.node.borrow().clone()
    }

    /// All pods with their newest statuses, as `/pods` shows them.
    pub fn pods(&self) -> Vec<Pod> {
        let mut pods: Vec<_> = self
            .inner
            .workers
            .pods()
            .iter()
            .map(|pod| self.with_status(pod))
            .collect();
        pods.sort_by(|a, b| {
            (pod::namespace(a), pod::name(a)).cmp(&(pod::namespace(b), pod::name(b)))
        });
        pods
    }

    /// One pod by uid.
    pub fn pod_by_uid(&self, pod_uid: &str) -> Option<Pod> {
        self.inner
            .workers
            .pod(pod_uid)
            .map(|pod| self.with_status(&pod))
    }

    /// One pod by namespace and name.
    pub fn pod_by_name(&self, namespace: &str, name: &str) -> Option<Pod> {
        let pods = self.inner.workers.pods();
        let found = pods
            .iter()
            .find(|pod| pod::namespace(pod) == namespace && pod::name(pod) == name)?;
        Some(self.with_status(found))
    }

    fn with_status(&self, pod: &Arc<Pod>) -> Pod {
        let status: Option<PodStatus> = self.inner.context.status.get(uid(pod));
        Pod {
            status: status.or_else(|| pod.status.clone()),
            ..Pod::clone(pod)
        }
    }

    /// What the runtime shows of a pod now.
    pub async fn observe(&self, pod: &Pod) -> Result<crate::observed::ObservedPod, cri::CriError> {
        self.inner
            .context
            .view
            .observe(uid(pod), pod::name(pod), pod::namespace(pod))
            .await
    }

    /// The newest run of a container, or the one that ended last before its present state: its id, state and log path. While a
    /// container waits to be started again, that is its newest run.
    pub async fn container(
        &self,
        pod: &Pod,
        container: &str,
        previous: bool,
    ) -> Result<Option<crate::observed::ObservedContainer>, cri::CriError> {
        let observed = self.observe(pod).await?;
        let run = match last_termination(pod, container).filter(|_| previous) {
            Some(id) => observed.runs(container).find(|run| id.ends_with(&run.id)),
            None => observed.runs(container).nth(usize::from(previous)),
        };
        let run = run.cloned();
        Ok(run.map(|mut run| {
            if run.log_path.is_empty() {
                let path = self
                    .paths()
                    .container_log(pod, container, run.restart_count);
                run.log_path = path.to_string_lossy().into_owned();
            }
            run
        }))
    }

    /// The id of a pod's ready sandbox, for port-forward.
    pub async fn sandbox_id(&self, pod: &Pod) -> Result<Option<String>, cri::CriError> {
        Ok(self
            .observe(pod)
            .await?
            .ready_sandbox()
            .map(|sandbox| sandbox.id.clone()))
    }

    /// Whether the kubelet does its work: the runtime answers.
    pub async fn healthz(&self) -> Result<(), cri::CriError> {
        self.inner
            .deps
            .runtime
            .version(v1::VersionRequest::default())
            .await
            .map(drop)
    }
}

/// The id, with its scheme, of the run that the container's status names as its last.
fn last_termination<'a>(pod: &'a Pod, container: &str) -> Option<&'a str> {
    let status = pod.status.as_ref()?;
    let statuses = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let status = statuses
        .into_iter()
        .flatten()
        .flatten()
        .find(|status| status.name == container)?;
    status
        .last_state
        .as_ref()?
        .terminated
        .as_ref()?
        .container_id
        .as_deref()
}

/// A kubelet that is ready to run.
pub struct PreparedKubelet {
    kubelet: Kubelet,
    tasks: TaskGroup,
    reporter: Option<NodeReporter>,
    updates: (mpsc::Sender<PodUpdate>, mpsc::Receiver<PodUpdate>),
    wakes: mpsc::Receiver<String>,
    factory: Option<InformerFactory>,
    pressure: watch::Sender<Pressure>,
}

impl PreparedKubelet {
    /// The handle.
    pub fn handle(&self) -> Kubelet {
        self.kubelet.clone()
    }
}

#[cfg(test)]
impl PreparedKubelet {
    pub(crate) fn workers(&self) -> &PodWorkers {
        &self.kubelet.inner.workers
    }

    pub(crate) fn statuses(&self) -> &StatusManager {
        &self.kubelet.inner.context.status
    }

    pub(crate) fn start_pleg(&self) {
        let inner = &self.kubelet.inner;
        let (runtime, view) = (inner.deps.runtime.clone(), inner.context.view.clone());
        let token = self.tasks.token().clone();
        self.tasks.spawn(
            "pleg",
            pleg::run(runtime, view, inner.workers.clone(), token),
        );
    }

    pub(crate) async fn stop(&self) {
        self.tasks.shutdown().await;
    }
}

/// Prepares directories, cgroups and managers, and asks the runtime its name. Nothing is started yet.
pub async fn prepare(
    config: KubeletConfig,
    deps: KubeletDeps,
    cancel: &CancellationToken,
) -> Result<PreparedKubelet, StartError> {
    let config = Arc::new(config);
    let (metrics, probe_metrics) = (Registry::new(), Registry::new());
    let operations = Operations::new(&metrics);
    let deps = KubeletDeps {
        runtime: operations.of_runtime(deps.runtime),
        images: operations.of_images(deps.images),
        ..deps
    };
    let tasks = TaskGroup::new(cancel);
    let paths = Paths::new(&config.root_dir, &config.pod_logs_dir);
    for directory in [paths.pods(), paths.all_logs().to_path_buf()] {
        std::fs::create_dir_all(&directory).map_err(|source| StartError::Directory {
            path: directory.clone(),
            source,
        })?;
    }
    let cgroups = PodCgroups::new(config.clone()).map_err(StartError::Cgroups)?;
    cgroups.prepare().map_err(StartError::Cgroups)?;
    let facts = machine_facts(&config).map_err(StartError::Facts)?;
    let version = deps.runtime.version(v1::VersionRequest::default()).await?;

    let recorder = deps.client.clone().map(|client| {
        EventRecorder::new(
            client,
            "kubelet",
            Some(&config.node_name),
            deps.clock.clone(),
            &tasks,
        )
    });
    let events = PodEvents::new(recorder);
    let factory = deps
        .client
        .clone()
        .map(|client| InformerFactory::new(client, tasks.clone()));
    let (wake, wakes) = mpsc::channel(UPDATES);
    let node_ip = config
        .node_ips
        .first()
        .map(ToString::to_string)
        .unwrap_or_else(|| "127.0.0.1".to_owned());
    let node_facts = node_facts(&config, &facts, version.runtime_name);
    let (node_sender, node) = watch::channel(None);
    let context = Arc::new(WorkerContext {
        allocation: AllocationManager::new(paths.clone(), events.clone(), deps.clock.clone()),
        paths: paths.clone(),
        clock: deps.clock.clone(),
        runtime: deps.runtime.clone(),
        view: RuntimeView::new(deps.runtime.clone(), &config.node_ips),
        images: ImageManager::new(
            deps.images.clone(),
            deps.clock.clone(),
            events.clone(),
            config.max_parallel_image_pulls,
        ),
        objects: ObjectCache::new(deps.client.clone(), &tasks, wake),
        tokens: TokenManager::new(deps.client.clone(), deps.clock.clone()),
        claims: ClaimManager::new(deps.client.clone()),
        status: StatusManager::new(deps.client.clone()),
        probes: ProbeManager::new(
            deps.runtime.clone(),
            events.clone(),
            tasks.clone(),
            node_ip,
            &probe_metrics,
        ),
        hooks: HookRunner::new(deps.runtime.clone(), deps.clock.clone()),
        events,
        cgroups,
        users: UserNamespaces::open(paths.clone(), config.max_pods),
        services: factory.as_ref().map(InformerFactory::informer::<Service>),
        node: node_facts,
        node_object: node.clone(),
        resolver: parse_resolv_conf(
            &std::fs::read_to_string(&config.resolv_conf).unwrap_or_default(),
        ),
        config: config.clone(),
    });
    let workers = PodWorkers::new(context.clone(), tasks.clone());
    let (pressure_sender, pressure) = watch::channel(Pressure::default());
    let reporter = factory.as_ref().map(|factory| NodeReporter {
        facts,
        client: factory.client().clone(),
        own: factory.scoped::<Node>(InformerScope {
            field_selector: Some(format!("metadata.name={}", config.node_name)),
            ..InformerScope::default()
        }),
        config: config.clone(),
        runtime: deps.runtime.clone(),
        images: deps.images.clone(),
        clock: deps.clock.clone(),
        pressure,
        node: node_sender,
    });
    let kubelet = Kubelet {
        inner: Arc::new(Inner {
            config,
            deps,
            workers,
            context,
            node,
            metrics,
            probe_metrics,
        }),
    };
    Ok(PreparedKubelet {
        kubelet,
        tasks,
        reporter,
        updates: mpsc::channel(UPDATES),
        wakes,
        factory,
        pressure: pressure_sender,
    })
}

fn node_facts(
    config: &KubeletConfig,
    facts: &crate::node::MachineFacts,
    runtime_name: String,
) -> NodeFacts {
    let status = crate::node::node_status(
        config,
        facts,
        &Default::default(),
        &Default::default(),
        jiff::Timestamp::UNIX_EPOCH,
    );
    let allocatable = status.allocatable.unwrap_or_default();
    let of = |name: &str| {
        allocatable
            .get(name)
            .map_or(0, |quantity| amount(name, quantity))
    };
    NodeFacts {
        ips: config.node_ips.clone(),
        memory_bytes: i64::try_from(facts.memory_bytes).unwrap_or(i64::MAX),
        allocatable_milli_cpu: of("cpu"),
        allocatable_memory: of("memory"),
        allocatable_ephemeral_storage: of("ephemeral-storage"),
        runtime_name,
    }
}

/// Runs the kubelet until cancelled. Containers go on when it ends; the next kubelet adopts them.
pub async fn run(prepared: PreparedKubelet, cancel: CancellationToken) {
    let PreparedKubelet {
        kubelet,
        tasks,
        reporter,
        updates: (sender, receiver),
        wakes,
        factory,
        pressure,
    } = prepared;
    let inner = kubelet.inner.clone();
    let (context, deps, config) = (&inner.context, &inner.deps, &inner.config);
    let token = || tasks.token().clone();
    let mut awaited = HashSet::new();

    if let Some(reporter) = reporter {
        tasks.spawn("node-status", reporter.run(token()));
    }
    if let Some(factory) = factory {
        let scope = InformerScope {
            field_selector: Some(format!("spec.nodeName={}", config.node_name)),
            ..InformerScope::default()
        };
        awaited.insert(Source::Api);
        tasks.spawn(
            "pod-source",
            watch_pods(factory.scoped::<Pod>(scope), sender.clone(), token()),
        );
    }
    if let Some(directory) = config.static_pod_path.clone() {
        awaited.insert(Source::File);
        let (node, clock) = (config.node_name.clone(), deps.clock.clone());
        tasks.spawn(
            "manifest-source",
            watch_manifests(directory, node, clock, sender, token()),
        );
    }
    let status = context.status.clone();
    let status_token = token();
    tasks.spawn(
        "status-manager",
        async move { status.run(status_token).await },
    );
    tasks.spawn(
        "pleg",
        pleg::run(
            deps.runtime.clone(),
            context.view.clone(),
            inner.workers.clone(),
            token(),
        ),
    );
    let images = ImageGc::new(
        deps.runtime.clone(),
        deps.images.clone(),
        config.clone(),
        deps.clock.clone(),
        context.events.clone(),
    );
    tasks.spawn("image-gc", images.run(token()));
    let logs = LogRotation::new(deps.runtime.clone(), config.clone(), deps.clock.clone());
    tasks.spawn("log-rotation", logs.run(token()));
    let eviction = EvictionManager::new(
        config.clone(),
        deps.runtime.clone(),
        inner.workers.clone(),
        context.events.clone(),
        deps.clock.clone(),
        pressure,
    );
    tasks.spawn("eviction", eviction.run(token()));
    let (mirrors, mirror_work) = watch::channel(MirrorWork::default());
    if let Some(client) = deps.client.clone() {
        let pods = MirrorPods::new(client, config.node_name.clone(), context.status.clone());
        tasks.spawn_cancellable("mirror-pods", keep_mirrors(pods, mirror_work));
    }
    let main = SyncLoop {
        inner: inner.clone(),
        receiver,
        wakes,
        awaited,
        mirrors,
        resizes: BTreeSet::new(),
    };
    tasks.spawn("sync-loop", main.run(token()));
    info!(node = config.node_name, "kubelet started");
    cancel.cancelled().await;
    tasks.shutdown().await;
}
