//! Pod sandboxes: making, stopping, removing, and what they report.

use std::{fs, sync::Arc, time::Duration};

use cri::{
    Code, CriError,
    v1::{
        ContainerEventType, DnsConfig, LinuxPodSandboxStatus, Namespace, NamespaceMode,
        NamespaceOption, PodIp, PodSandbox, PodSandboxConfig, PodSandboxNetworkStatus,
        PodSandboxState, PodSandboxStatus,
    },
};
use linux::process::Signal;
use network::{PodLink, PodNetworkError, PortMapping, Protocol};
use tokio::time::timeout;

use crate::{
    records::SandboxRecord,
    runtime::{Runtime, Sandbox, internal, new_id},
    shim::{
        protocol::Request,
        spec::{IdMap, SandboxSpec},
    },
    shim_client::{self, ShimError},
};

/// Bytes of a pod's /dev/shm, as upstream's runtimes.
const SHM_SIZE: u64 = 64 << 20;
/// For processes to die that were killed.
const DEATH_PATIENCE: Duration = Duration::from_secs(30);

/// Parameters that a pod's own network namespace has unless it says otherwise: any port can be listened on and anyone can ping, since the
/// namespace is the pod's alone. As containerd's defaults.
const NETWORK_SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

impl Runtime {
    pub(crate) async fn run_sandbox(
        &self,
        config: PodSandboxConfig,
        runtime_handler: String,
    ) -> Result<String, CriError> {
        let metadata = config
            .metadata
            .clone()
            .ok_or_else(|| CriError::invalid("sandbox config must include metadata"))?;
        if !runtime_handler.is_empty() && runtime_handler != "ironclad" {
            return Err(CriError::invalid(format!(
                "no runtime for {runtime_handler:?} is configured"
            )));
        }
        if self
            .sandboxes()
            .iter()
            .any(|other| other.config.metadata.as_ref() == Some(&metadata))
        {
            return Err(CriError::new(
                Code::AlreadyExists,
                format!(
                    "failed to reserve sandbox name \"{}_{}_{}_{}\": name is reserved",
                    metadata.name, metadata.namespace, metadata.uid, metadata.attempt
                ),
            ));
        }
        id_map(&config)?;
        let id = new_id()?;
        let dir = self.sandbox_dir(&id);
        let record = SandboxRecord {
            created_at: self.now(),
            runtime_handler,
            complete: false,
            ready: true,
            ips: Vec::new(),
        };
        dir.create()
            .map_err(internal("make the sandbox's directory"))?;
        dir.save_config(&config)
            .map_err(internal("record the sandbox"))?;
        let sandbox = Arc::new(Sandbox::new(
            id.clone(),
            config,
            dir,
            self.socket(&id),
            record,
        ));
        sandbox
            .update(|_| {})
            .map_err(internal("record the sandbox"))?;
        self.insert_sandbox(sandbox.clone());
        // Finished or undone even if the caller goes away in between.
        let runtime = self.clone();
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.0.tasks.spawn("run-sandbox", async move {
            let mut result = runtime.start_sandbox(&sandbox).await;
            if let Err(error) = &result {
                tracing::debug!(sandbox = %sandbox.id, %error, "undoing a sandbox");
                if let Err(undo) = runtime.remove_sandbox(&sandbox.id).await {
                    tracing::error!(sandbox = %sandbox.id, error = %undo, "failed to undo a sandbox");
                }
            } else {
                result = result.map(|()| runtime.announce_sandbox(&sandbox));
            }
            let _ = done.send(result);
        });
        outcome
            .await
            .map_err(|_| CriError::new(Code::Unavailable, "the runtime is stopping"))??;
        Ok(id)
    }

    fn announce_sandbox(&self, sandbox: &Arc<Sandbox>) {
        self.announce(
            sandbox,
            &sandbox.id,
            ContainerEventType::ContainerCreatedEvent,
        );
        self.announce(
            sandbox,
            &sandbox.id,
            ContainerEventType::ContainerStartedEvent,
        );
    }

    async fn start_sandbox(&self, sandbox: &Arc<Sandbox>) -> Result<(), CriError> {
        let _busy = sandbox.busy.lock().await;
        let failed = |error: ShimError| {
            CriError::internal(format!("failed to create sandbox {}: {error}", sandbox.id))
                .with_source(error)
        };
        self.write_files(sandbox)
            .map_err(internal("write the sandbox's files"))?;
        let spec = self.sandbox_spec(sandbox)?;
        let spec_path = sandbox.dir.path("spec.json");
        let text = serde_json::to_vec(&spec).map_err(internal("write the sandbox's spec"))?;
        fs::write(&spec_path, text).map_err(internal("write the sandbox's spec"))?;
        let socket = self.socket(&sandbox.id);
        let log = sandbox.dir.path("shim.log");
        let command = &self.0.config.shim_command;
        shim_client::spawn(command, &spec_path, &socket, &log)
            .await
            .map_err(failed)?;
        self.watch(sandbox).await.map_err(failed)?;
        let ips = if spec.own_network {
            self.attach(sandbox).await?
        } else {
            Vec::new()
        };
        sandbox
            .update(|record| {
                record.ips = ips;
                record.complete = true;
            })
            .map_err(internal("record the sandbox"))
    }

    fn sandbox_spec(&self, sandbox: &Sandbox) -> Result<SandboxSpec, CriError> {
        let config = &sandbox.config;
        let options = namespaces(config);
        let own_network = options.network() != NamespaceMode::Node;
        let linux = config.linux.clone().unwrap_or_default();
        let mut sysctls: Vec<(String, String)> = linux.sysctls.into_iter().collect();
        sysctls.sort();
        if own_network {
            for (name, value) in NETWORK_SYSCTLS {
                if !sysctls.iter().any(|(known, _)| known == name) {
                    sysctls.push(((*name).to_owned(), (*value).to_owned()));
                }
            }
        }
        let name = config
            .metadata
            .as_ref()
            .map_or("", |metadata| metadata.name.as_str());
        let hostname = if config.hostname.is_empty() {
            name
        } else {
            &config.hostname
        };
        // A host name has 64 bytes, a pod's name more.
        let hostname: String = hostname.chars().take(63).collect();
        let procs = self
            .shim_cgroup()
            .map_err(internal("find the shims' cgroup"))?;
        Ok(SandboxSpec {
            id: sandbox.id.clone(),
            hostname: own_network.then_some(hostname),
            own_network,
            own_ipc: options.ipc() != NamespaceMode::Node,
            shared_pid: options.pid() == NamespaceMode::Pod,
            sysctls,
            shm_size: SHM_SIZE,
            id_map: id_map(config)?,
            procs_files: procs.procs_files(),
        })
    }

    /// What every container of the pod finds in /etc.
    fn write_files(&self, sandbox: &Sandbox) -> std::io::Result<()> {
        let hostname = if namespaces(&sandbox.config).network() == NamespaceMode::Node {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        } else {
            sandbox.config.hostname.clone()
        };
        fs::write(sandbox.dir.path("hostname"), format!("{hostname}\n"))?;
        let resolv = match &sandbox.config.dns_config {
            Some(dns) => resolv_conf(dns),
            None => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        };
        fs::write(sandbox.dir.path("resolv.conf"), resolv)?;
        // The directory above lets nobody in; the files are bound into containers of any user.
        for name in ["hostname", "resolv.conf"] {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(sandbox.dir.path(name), fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    async fn attach(&self, sandbox: &Sandbox) -> Result<Vec<std::net::IpAddr>, CriError> {
        let parts = LinkParts::of(sandbox)?;
        let attached = self.0.config.network.attach(parts.link(sandbox)).await;
        attached.map(|ips| ips.0).map_err(|error| {
            CriError::internal(format!(
                "failed to setup network for sandbox {:?}: {error}",
                sandbox.id
            ))
            .with_source(error)
        })
    }

    /// Gives a sandbox's network back. Errors are logged: a sandbox that cannot be left is worse.
    pub(crate) async fn detach(&self, sandbox: &Sandbox) {
        if let Err(error) = self.try_detach(sandbox).await {
            tracing::error!(sandbox = %sandbox.id, %error, "failed to tear down a pod's network");
        }
    }

    async fn try_detach(&self, sandbox: &Sandbox) -> Result<(), CriError> {
        if namespaces(&sandbox.config).network() == NamespaceMode::Node {
            return Ok(());
        }
        let parts = LinkParts::of(sandbox)?;
        let detached = self.0.config.network.detach(parts.link(sandbox)).await;
        detached.map_err(|error: PodNetworkError| {
            CriError::internal(format!(
                "failed to destroy network for sandbox {:?}: {error}",
                sandbox.id
            ))
            .with_source(error)
        })
    }

    /// Kills what runs in a sandbox, gives its network back, and lets its shim go.
    pub(crate) async fn stop_sandbox(&self, sandbox: &Arc<Sandbox>) -> Result<(), CriError> {
        let _busy = sandbox.busy.lock().await;
        let was_ready = sandbox.is_ready();
        for container in self.containers_of(&sandbox.id) {
            if container.is_running() {
                let kill = Request::Kill {
                    id: container.id.clone(),
                    signal: Signal::KILL.as_raw(),
                    all: true,
                };
                match sandbox.shim.call(&kill, &[]).await {
                    Ok(_) => self.wait_for_death(&container).await?,
                    Err(ShimError::Gone(_)) => {}
                    Err(error) => return Err(CriError::internal(error.to_string())),
                }
            }
        }
        if was_ready || sandbox.pid() != 0 {
            // While its namespace is still there.
            self.try_detach(sandbox).await?;
        }
        sandbox
            .update(|record| record.ready = false)
            .map_err(internal("record the sandbox"))?;
        match sandbox.shim.call(&Request::Shutdown, &[]).await {
            Ok(_) | Err(ShimError::Gone(_)) => {}
            Err(error) => return Err(CriError::internal(error.to_string())),
        }
        sandbox.set_pid(0);
        if was_ready {
            self.announce(
                sandbox,
                &sandbox.id,
                ContainerEventType::ContainerStoppedEvent,
            );
        }
        Ok(())
    }

    async fn wait_for_death(&self, container: &crate::runtime::Container) -> Result<(), CriError> {
        timeout(DEATH_PATIENCE, container.ended())
            .await
            .map_err(|_| CriError::deadline(format!("container {} does not die", container.id)))
    }

    pub(crate) async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        let Some(sandbox) = self.sandbox(id) else {
            return Ok(());
        };
        self.stop_sandbox(&sandbox).await?;
        for container in self.containers_of(&sandbox.id) {
            self.remove_container_by_force(&container).await?;
        }
        if cgroup_parent(&sandbox.config).is_none() {
            let cgroup = self
                .own_cgroup(&sandbox.id)
                .map_err(internal("find the cgroup"))?;
            tokio::task::spawn_blocking(move || cgroup.remove())
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                .map_err(internal("remove the sandbox's cgroup"))?;
        }
        let _ = fs::remove_file(self.socket(&sandbox.id));
        sandbox
            .dir
            .remove()
            .map_err(internal("remove the sandbox's directory"))?;
        self.forget_sandbox(&sandbox.id);
        self.announce(
            &sandbox,
            &sandbox.id,
            ContainerEventType::ContainerDeletedEvent,
        );
        Ok(())
    }

    /// The cgroup of a sandbox for which nobody named one.
    pub(crate) fn own_cgroup(&self, sandbox_id: &str) -> std::io::Result<linux::cgroup::Cgroup> {
        self.cgroup(&format!("{}/pods/{sandbox_id}", self.0.config.cgroup_root))
    }

    pub(crate) fn sandbox_status(&self, sandbox: &Sandbox) -> PodSandboxStatus {
        let record = sandbox.record();
        let mut ips = sandbox.ips().into_iter().map(|ip| ip.to_string());
        let network = PodSandboxNetworkStatus {
            ip: ips.next().unwrap_or_default(),
            additional_ips: ips.map(|ip| PodIp { ip }).collect(),
        };
        PodSandboxStatus {
            id: sandbox.id.clone(),
            metadata: sandbox.config.metadata.clone(),
            state: state_of(&record).into(),
            created_at: record.created_at,
            network: Some(network),
            linux: Some(LinuxPodSandboxStatus {
                namespaces: Some(Namespace {
                    options: Some(namespaces(&sandbox.config)),
                }),
            }),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: record.runtime_handler,
        }
    }

    pub(crate) fn sandbox_item(&self, sandbox: &Sandbox) -> PodSandbox {
        let status = self.sandbox_status(sandbox);
        PodSandbox {
            id: status.id,
            metadata: status.metadata,
            state: status.state,
            created_at: status.created_at,
            labels: status.labels,
            annotations: status.annotations,
            runtime_handler: status.runtime_handler,
        }
    }
}

fn state_of(record: &SandboxRecord) -> PodSandboxState {
    if record.ready && record.complete {
        PodSandboxState::SandboxReady
    } else {
        PodSandboxState::SandboxNotready
    }
}

/// The parts of a [`PodLink`] that it borrows.
struct LinkParts {
    metadata: cri::v1::PodSandboxMetadata,
    netns: std::path::PathBuf,
    ports: Vec<PortMapping>,
    annotations: Vec<(String, String)>,
}

impl LinkParts {
    fn of(sandbox: &Sandbox) -> Result<Self, CriError> {
        let config = &sandbox.config;
        let mut annotations: Vec<_> = config.annotations.clone().into_iter().collect();
        annotations.sort();
        let mapped = config
            .port_mappings
            .iter()
            .filter(|mapping| mapping.host_port > 0);
        let ports = mapped.map(port_mapping).collect::<Result<_, _>>()?;
        Ok(Self {
            metadata: config.metadata.clone().unwrap_or_default(),
            netns: sandbox.netns(),
            ports,
            annotations,
        })
    }

    fn link<'a>(&'a self, sandbox: &'a Sandbox) -> PodLink<'a> {
        PodLink {
            sandbox_id: &sandbox.id,
            namespace: &self.metadata.namespace,
            name: &self.metadata.name,
            uid: &self.metadata.uid,
            netns: &self.netns,
            port_mappings: &self.ports,
            annotations: &self.annotations,
        }
    }
}

fn port_mapping(mapping: &cri::v1::PortMapping) -> Result<PortMapping, CriError> {
    let port = |number: i32| {
        u16::try_from(number).map_err(|_| CriError::invalid(format!("{number} is not a port")))
    };
    let host_ip = match mapping.host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| CriError::invalid(format!("{text:?} is not an address")))?,
        ),
    };
    Ok(PortMapping {
        protocol: match mapping.protocol() {
            cri::v1::Protocol::Tcp => Protocol::Tcp,
            cri::v1::Protocol::Udp => Protocol::Udp,
            cri::v1::Protocol::Sctp => Protocol::Sctp,
        },
        container_port: port(mapping.container_port)?,
        host_port: port(mapping.host_port)?,
        host_ip,
    })
}

/// How the sandbox's namespaces are shared.
pub(crate) fn namespaces(config: &PodSandboxConfig) -> NamespaceOption {
    config
        .linux
        .as_ref()
        .and_then(|linux| linux.security_context.as_ref())
        .and_then(|context| context.namespace_options.clone())
        .unwrap_or_default()
}

/// The ids of the pod's user namespace, if it is to have one of its own.
pub(crate) fn id_map(config: &PodSandboxConfig) -> Result<Option<IdMap>, CriError> {
    let Some(users) = namespaces(config).userns_options else {
        return Ok(None);
    };
    if users.mode() != NamespaceMode::Pod {
        return Ok(None);
    }
    match (users.uids.as_slice(), users.gids.as_slice()) {
        ([uids], [gids]) if uids == gids && uids.container_id == 0 && uids.length > 0 => {
            Ok(Some(IdMap {
                host: uids.host_id,
                length: uids.length,
            }))
        }
        _ => Err(CriError::invalid(
            "a user namespace needs one mapping from 0 on, the same for users and groups",
        )),
    }
}

/// The cgroup that the kubelet has made for the pod.
pub(crate) fn cgroup_parent(config: &PodSandboxConfig) -> Option<&str> {
    config
        .linux
        .as_ref()
        .map(|linux| linux.cgroup_parent.as_str())
        .filter(|path| !path.is_empty())
}

fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}
