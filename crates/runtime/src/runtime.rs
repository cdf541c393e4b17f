//! The runtime as a whole: its configuration, what it knows, and how it finds everything again at its start.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    net::IpAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use base::{Clock, TaskGroup};
use cri::{
    CriError,
    v1::{ContainerConfig, PodSandboxConfig},
};
use linux::cgroup::{Cgroup, Hierarchy};
use network::PodNetwork;
use tokio::sync::watch;

use crate::{
    events::Events,
    images::Images,
    records::{ContainerRecord, RecordDir, SandboxRecord, Started},
    shim::spec::ExitRecord,
    shim_client::ShimClient,
};

/// How the runtime is set up.
#[derive(Clone)]
pub struct Config {
    /// What must outlive a reboot: images, writable layers, records.
    pub root: PathBuf,
    /// What need not: sockets. Kept short: a socket's path has 107 bytes.
    pub state: PathBuf,
    /// The cgroup that everything of ours is below; shims in `<cgroup_root>/shims`.
    pub cgroup_root: String,
    /// The program that is a shim, and arguments before the shim's own; `[/proc/self/exe's target, "shim"]`.
    pub shim_command: Vec<OsString>,
    /// Connects pods.
    pub network: Arc<dyn PodNetwork>,
    /// Time.
    pub clock: Clock,
}

/// The container runtime. Cheap to clone; implements the traits of crate `cri`.
#[derive(Clone)]
pub struct Runtime(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) images: Images,
    pub(crate) hierarchy: Arc<Hierarchy>,
    pub(crate) events: Events,
    pub(crate) tasks: TaskGroup,
    sandboxes: RwLock<BTreeMap<String, Arc<Sandbox>>>,
    containers: RwLock<BTreeMap<String, Arc<Container>>>,
}

/// A sandbox.
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) config: PodSandboxConfig,
    pub(crate) dir: RecordDir,
    pub(crate) shim: ShimClient,
    record: Mutex<SandboxRecord>,
    /// The shim's process; 0 when there is none.
    pid: Mutex<i32>,
    /// One operation at a time.
    pub(crate) busy: tokio::sync::Mutex<()>,
}

/// A container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) config: ContainerConfig,
    pub(crate) dir: RecordDir,
    record: Mutex<ContainerRecord>,
    state: watch::Sender<ContainerState>,
    /// One operation at a time.
    pub(crate) busy: tokio::sync::Mutex<()>,
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// Not started.
    Created,
    /// Its process runs.
    Running(Started),
    /// It has ended, or never could begin.
    Exited(Option<Started>, ExitRecord),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    pub(crate) fn new(
        id: String,
        config: PodSandboxConfig,
        dir: RecordDir,
        socket: PathBuf,
        record: SandboxRecord,
    ) -> Self {
        Self {
            id,
            config,
            dir,
            shim: ShimClient::new(socket),
            record: Mutex::new(record),
            pid: Mutex::new(0),
            busy: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn record(&self) -> SandboxRecord {
        lock(&self.record).clone()
    }

    /// Changes the record, in memory and on the disk.
    pub(crate) fn update(&self, change: impl FnOnce(&mut SandboxRecord)) -> io::Result<()> {
        let mut record = lock(&self.record);
        change(&mut record);
        self.dir.save(&*record)
    }

    pub(crate) fn pid(&self) -> i32 {
        *lock(&self.pid)
    }

    pub(crate) fn set_pid(&self, pid: i32) {
        *lock(&self.pid) = pid;
    }

    /// Where its network namespace can be opened while its shim lives.
    pub(crate) fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid()))
    }

    pub(crate) fn is_ready(&self) -> bool {
        lock(&self.record).ready
    }

    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        lock(&self.record).ips.clone()
    }
}

impl Container {
    pub(crate) fn new(
        id: String,
        config: ContainerConfig,
        dir: RecordDir,
        record: ContainerRecord,
    ) -> Self {
        let state = match (&record.started, dir.load_exit()) {
            (started, Some(exit)) => ContainerState::Exited(started.clone(), exit),
            (Some(started), None) => ContainerState::Running(started.clone()),
            (None, None) => ContainerState::Created,
        };
        Self {
            id,
            config,
            dir,
            record: Mutex::new(record),
            state: watch::Sender::new(state),
            busy: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn record(&self) -> ContainerRecord {
        lock(&self.record).clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut ContainerRecord)) -> io::Result<()> {
        let mut record = lock(&self.record);
        change(&mut record);
        self.dir.save(&*record)
    }

    pub(crate) fn state(&self) -> ContainerState {
        self.state.borrow().clone()
    }

    /// Goes forward to a state; false if it was there or beyond.
    pub(crate) fn advance(&self, next: ContainerState) -> bool {
        fn rank(state: &ContainerState) -> u8 {
            match state {
                ContainerState::Created => 0,
                ContainerState::Running(_) => 1,
                ContainerState::Exited(..) => 2,
            }
        }
        self.state.send_if_modified(|state| {
            let forward = rank(&next) > rank(state);
            if forward {
                *state = next;
            }
            forward
        })
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.state.borrow(), ContainerState::Running(_))
    }

    /// Waits until it has ended (or has never been started).
    pub(crate) async fn ended(&self) {
        let mut state = self.state.subscribe();
        let _ = state
            .wait_for(|state| !matches!(state, ContainerState::Running(_)))
            .await;
    }
}

impl Runtime {
    /// Opens the runtime at its place and takes up again whatever runs. Its tasks end with `tasks`.
    pub async fn new(config: Config, tasks: TaskGroup) -> Result<Self, CriError> {
        let failed = |what: String| {
            move |error: io::Error| {
                CriError::internal(format!("{what}: {error}")).with_source(error)
            }
        };
        for directory in [
            config.root.clone(),
            config.root.join("sandboxes"),
            config.root.join("containers"),
            config.state.clone(),
        ] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(failed(format!("make {}", directory.display())))?;
        }
        let images = Images::open(&config.root)
            .map_err(|error| CriError::internal(error.to_string()).with_source(error))?;
        let hierarchy = Hierarchy::detect().map_err(failed("find cgroups".to_owned()))?;
        let runtime = Self(Arc::new(Inner {
            config,
            images,
            hierarchy: Arc::new(hierarchy),
            events: Events::default(),
            tasks,
            sandboxes: RwLock::default(),
            containers: RwLock::default(),
        }));
        runtime
            .shim_cgroup()
            .and_then(|cgroup| cgroup.create())
            .map_err(failed("make the shims' cgroup".to_owned()))?;
        runtime.adopt().await?;
        Ok(runtime)
    }

    /// The images of this node.
    pub fn images(&self) -> &Images {
        &self.0.images
    }

    /// Stops and removes every sandbox, and everything below the runtime's cgroup: nothing of it is left but images. The last thing that
    /// is done with a runtime.
    pub async fn purge(&self) -> Result<(), CriError> {
        for sandbox in self.sandboxes() {
            self.remove_sandbox(&sandbox.id).await?;
        }
        let shims = self.shim_cgroup();
        let root = self.cgroup(&self.0.config.cgroup_root);
        let removed = tokio::task::spawn_blocking(move || {
            shims?.kill()?;
            root?.remove()
        });
        removed
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(internal("remove the runtime's cgroups"))
    }

    pub(crate) fn cgroup(&self, path: &str) -> io::Result<Cgroup> {
        Cgroup::new(self.0.hierarchy.clone(), path)
    }

    pub(crate) fn shim_cgroup(&self) -> io::Result<Cgroup> {
        self.cgroup(&format!("{}/shims", self.0.config.cgroup_root))
    }

    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.0.config.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    pub(crate) fn sandbox_dir(&self, id: &str) -> RecordDir {
        RecordDir::new(self.0.config.root.join("sandboxes").join(id))
    }

    pub(crate) fn container_dir(&self, id: &str) -> RecordDir {
        RecordDir::new(self.0.config.root.join("containers").join(id))
    }

    /// The socket of a sandbox's shim; by a part of the id, for paths of sockets are short.
    pub(crate) fn socket(&self, sandbox_id: &str) -> PathBuf {
        let short = &sandbox_id[..sandbox_id.len().min(24)];
        self.0.config.state.join(format!("{short}.sock"))
    }

    pub(crate) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        read(&self.0.sandboxes).values().cloned().collect()
    }

    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        read(&self.0.containers).values().cloned().collect()
    }

    pub(crate) fn containers_of(&self, sandbox_id: &str) -> Vec<Arc<Container>> {
        let mut containers = self.containers();
        containers.retain(|container| container.record().sandbox_id == sandbox_id);
        containers
    }

    /// By id, or the unambiguous beginning of one.
    pub(crate) fn sandbox(&self, id: &str) -> Option<Arc<Sandbox>> {
        by_prefix(&read(&self.0.sandboxes), id)
    }

    /// By id, or the unambiguous beginning of one.
    pub(crate) fn container(&self, id: &str) -> Option<Arc<Container>> {
        by_prefix(&read(&self.0.containers), id)
    }

    pub(crate) fn require_sandbox(&self, id: &str) -> Result<Arc<Sandbox>, CriError> {
        self.sandbox(id).ok_or_else(|| {
            CriError::not_found(format!(
                "an error occurred when try to find sandbox: {id:?}: not found"
            ))
        })
    }

    pub(crate) fn require_container(&self, id: &str) -> Result<Arc<Container>, CriError> {
        self.container(id).ok_or_else(|| {
            CriError::not_found(format!(
                "an error occurred when try to find container {id:?}: not found"
            ))
        })
    }

    pub(crate) fn insert_sandbox(&self, sandbox: Arc<Sandbox>) {
        let mut all = self
            .0
            .sandboxes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        all.insert(sandbox.id.clone(), sandbox);
    }

    pub(crate) fn insert_container(&self, container: Arc<Container>) {
        let mut all = self
            .0
            .containers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        all.insert(container.id.clone(), container);
    }

    pub(crate) fn forget_sandbox(&self, id: &str) {
        self.0
            .sandboxes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    pub(crate) fn forget_container(&self, id: &str) {
        self.0
            .containers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn by_prefix<T>(all: &BTreeMap<String, Arc<T>>, id: &str) -> Option<Arc<T>> {
    if let Some(found) = all.get(id) {
        return Some(found.clone());
    }
    let mut matches = all
        .range(id.to_owned()..)
        .take_while(|(key, _)| key.starts_with(id));
    let (_, first) = matches.next().filter(|_| !id.is_empty())?;
    matches.next().is_none().then(|| first.clone())
}

/// A new id: 64 random hex digits.
pub(crate) fn new_id() -> Result<String, CriError> {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| CriError::internal("no random numbers"))?;
    let mut id = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}

/// Makes an error of the CRI from one of the system.
pub(crate) fn internal<E: std::error::Error + Send + Sync + 'static>(
    doing: impl std::fmt::Display,
) -> impl FnOnce(E) -> CriError {
    let doing = doing.to_string();
    move |error| CriError::internal(format!("{doing}: {error}")).with_source(error)
}

/// The place for a path inside a directory that exists.
pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}
