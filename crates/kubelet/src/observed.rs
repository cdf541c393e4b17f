//! What the runtime says of one pod: its sandboxes and containers, newest first. The kubelet's memory of a pod is nothing but this,
//! which is why a restarted kubelet adopts running pods.

use std::collections::BTreeMap;

use cri::v1;
use jiff::Timestamp;

/// Labels and annotations by which the kubelet knows its own in the runtime; upstream's, so that pods can be handed over.
pub mod label {
    /// Label: pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// Label: pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// Label: pod's uid.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// Label: container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// Annotation: [`crate::pod::container_hash`] in hexadecimal.
    pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
    /// Annotation: how often the container was restarted before this run.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Annotation: where the container writes its last words.
    pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// Annotation: `File` or `FallbackToLogsOnError`.
    pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// Annotation: `spec.terminationGracePeriodSeconds`.
    pub const POD_GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
    /// Annotation: `metadata.deletionGracePeriodSeconds`.
    pub const POD_DELETION_GRACE_PERIOD: &str = "io.kubernetes.pod.deletionGracePeriod";
    /// Annotation: the preStop handler as JSON, for a kubelet that has lost the pod's spec.
    pub const PRE_STOP_HANDLER: &str = "io.kubernetes.container.preStopHandler";
}

/// One run of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedContainer {
    /// Id in the runtime.
    pub id: String,
    /// Name in the spec.
    pub name: String,
    /// The sandbox it is in.
    pub sandbox_id: String,
    /// Created, running, exited or unknown.
    pub state: ContainerState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What its process returned, or 128 + signal.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, …
    pub reason: String,
    /// The runtime's own words about the end.
    pub message: String,
    /// The image as the spec asked for it.
    pub image: String,
    /// The image that it became.
    pub image_id: String,
    /// How often it was restarted before this run.
    pub restart_count: u32,
    /// [`crate::pod::container_hash`] at its creation.
    pub hash: Option<u32>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where its log is.
    pub log_path: String,
    /// Whom its process runs as.
    pub user: Option<v1::LinuxContainerUser>,
    /// The limits that hold.
    pub resources: Option<v1::LinuxContainerResources>,
    /// What is mounted where, as far as the kubelet asked for it.
    pub mounts: Vec<v1::Mount>,
}

/// State of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its process lives.
    Running,
    /// Its process has ended.
    Exited,
    /// The runtime does not know.
    #[default]
    Unknown,
}

/// One sandbox of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedSandbox {
    /// Id in the runtime.
    pub id: String,
    /// Which try it is.
    pub attempt: u32,
    /// Whether it is ready.
    pub ready: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it uses the node's network.
    pub host_network: bool,
    /// Its addresses, primary first; none on the node's network.
    pub ips: Vec<String>,
}

/// One pod in the runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedPod {
    /// Uid.
    pub uid: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Newest first.
    pub sandboxes: Vec<ObservedSandbox>,
    /// All runs of all containers, newest first.
    pub containers: Vec<ObservedContainer>,
}

impl ObservedPod {
    /// The newest run of a container.
    pub fn container(&self, name: &str) -> Option<&ObservedContainer> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }

    /// The runs of a container, newest first.
    pub fn runs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ObservedContainer> {
        self.containers
            .iter()
            .filter(move |container| container.name == name)
    }

    /// Containers whose process may live.
    pub fn running(&self) -> impl Iterator<Item = &ObservedContainer> {
        self.containers.iter().filter(|container| {
            matches!(
                container.state,
                ContainerState::Running | ContainerState::Unknown
            )
        })
    }

    /// The newest sandbox, if it is ready.
    pub fn ready_sandbox(&self) -> Option<&ObservedSandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }
}

/// A CRI time: nanoseconds since the epoch, 0 for none.
fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0)
        .then(|| Timestamp::from_nanosecond(nanoseconds.into()).ok())
        .flatten()
}

impl From<v1::ContainerStatus> for ObservedContainer {
    fn from(status: v1::ContainerStatus) -> Self {
        let state = match status.state() {
            v1::ContainerState::ContainerCreated => ContainerState::Created,
            v1::ContainerState::ContainerRunning => ContainerState::Running,
            v1::ContainerState::ContainerExited => ContainerState::Exited,
            v1::ContainerState::ContainerUnknown => ContainerState::Unknown,
        };
        let metadata = status.metadata.unwrap_or_default();
        let annotations: BTreeMap<_, _> = status.annotations.into_iter().collect();
        let image = status.image.unwrap_or_default();
        Self {
            name: status
                .labels
                .get(label::CONTAINER_NAME)
                .cloned()
                .unwrap_or(metadata.name),
            id: status.id,
            sandbox_id: String::new(),
            state,
            created_at: time(status.created_at).unwrap_or_default(),
            started_at: time(status.started_at),
            finished_at: time(status.finished_at),
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            image: if image.user_specified_image.is_empty() {
                image.image
            } else {
                image.user_specified_image
            },
            image_id: if status.image_id.is_empty() {
                status.image_ref
            } else {
                status.image_id
            },
            restart_count: annotations
                .get(label::RESTART_COUNT)
                .and_then(|count| count.parse().ok())
                .unwrap_or(metadata.attempt),
            hash: annotations
                .get(label::CONTAINER_HASH)
                .and_then(|hash| u32::from_str_radix(hash, 16).ok()),
            annotations,
            log_path: status.log_path,
            user: status.user.and_then(|user| user.linux),
            resources: status.resources.and_then(|resources| resources.linux),
            mounts: status.mounts,
        }
    }
}

impl From<v1::PodSandboxStatus> for ObservedSandbox {
    fn from(status: v1::PodSandboxStatus) -> Self {
        let ready = status.state() == v1::PodSandboxState::SandboxReady;
        let network = status.network.unwrap_or_default();
        let host_network = status
            .linux
            .and_then(|linux| linux.namespaces)
            .and_then(|namespaces| namespaces.options)
            .is_some_and(|options| options.network() == v1::NamespaceMode::Node);
        let ips = std::iter::once(network.ip)
            .chain(network.additional_ips.into_iter().map(|ip| ip.ip))
            .filter(|ip| !ip.is_empty())
            .collect();
        Self {
            id: status.id,
            attempt: status.metadata.unwrap_or_default().attempt,
            ready,
            created_at: time(status.created_at).unwrap_or_default(),
            host_network,
            ips,
        }
    }
}
