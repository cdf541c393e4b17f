//! What the runtime tells a shim, as files beside its state: one for the sandbox, one for each container.
//!
//! Everything that takes knowledge of images or of the CRI is decided before; the shim carries out. Names of users alone are resolved
//! by the container's own process, because they stand in files of the image and its mounts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The sandbox: made once, when the shim starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The sandbox's id.
    pub id: String,
    /// Host name in an own UTS namespace; `None`: the node's namespace.
    pub hostname: Option<String>,
    /// Own network namespace.
    pub own_network: bool,
    /// Own IPC namespace.
    pub own_ipc: bool,
    /// One PID namespace for all the pod's containers.
    pub shared_pid: bool,
    /// Kernel parameters of the namespaces, with dots.
    pub sysctls: Vec<(String, String)>,
    /// Bytes of the pod's /dev/shm.
    pub shm_size: u64,
    /// A user namespace of its own, to which its other namespaces belong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_map: Option<IdMap>,
    /// Where the shim writes its own id to move into its cgroup.
    pub procs_files: Vec<PathBuf>,
}

/// The ids of a user namespace: those from 0 on inside are those from `host` on outside, for users and groups alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// What 0 is outside.
    pub host: u32,
    /// How many.
    pub length: u32,
}

impl IdMap {
    /// What an id of the namespace is outside; none if it has no such id.
    pub fn outside(&self, id: u32) -> Option<u32> {
        (id < self.length).then(|| self.host.checked_add(id))?
    }
}

/// The PID namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidMode {
    /// Its own.
    Own,
    /// The pod's.
    Sandbox,
    /// The node's.
    Host,
    /// That of another container of the pod.
    Target(String),
}

/// What a shim must know of a container for as long as it lives; the rest is in the [`ContainerSpec`], read by the child alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartRequest {
    /// The container's id.
    pub id: String,
    /// File with the [`ContainerSpec`].
    pub spec_path: PathBuf,
    /// File that its output goes to; `None`: nowhere.
    pub log_path: Option<PathBuf>,
    /// Where the [`ExitRecord`] is written.
    pub exit_path: PathBuf,
    /// PID namespace.
    pub pid: PidMode,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Whether the process gets an input at all.
    pub stdin: bool,
    /// Close the input when the first that attached to it leaves.
    pub stdin_once: bool,
    /// Where the kernel counts OOM kills.
    pub oom_file: Option<PathBuf>,
    /// `cgroup.procs` of the container: who is still there when its first process has ended is killed.
    pub procs_file: Option<PathBuf>,
}

/// How a container ended; also kept as a file, for it must outlive the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// 0–255; 128 + n for death by signal n.
    pub exit_code: i32,
    /// The signal, if one killed it.
    pub signal: Option<i32>,
    /// Whether the kernel killed something in its cgroup for want of memory.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub finished_at: i64,
}

/// A container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The root filesystem.
    pub rootfs: RootfsSpec,
    /// Mounts beyond the standard ones, parents before children.
    pub mounts: Vec<MountSpec>,
    /// Device nodes beyond the standard ones.
    pub devices: Vec<DeviceNode>,
    /// /sys and the cgroups writable, nothing masked.
    pub privileged: bool,
    /// /dev/shm and message queues of the node instead of the pod.
    pub host_ipc: bool,
    /// Paths hidden.
    pub masked_paths: Vec<String>,
    /// Paths made read-only.
    pub readonly_paths: Vec<String>,
    /// Cgroups.
    pub cgroup: CgroupSpec,
    /// Preference of the OOM killer.
    pub oom_score_adj: Option<i64>,
    /// The process.
    pub process: ProcessSpec,
}

/// An overlay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RootfsSpec {
    /// Directory that `lower` is relative to.
    pub lower_base: PathBuf,
    /// Read-only layers, topmost first.
    pub lower: Vec<String>,
    /// Where changes go.
    pub upper: PathBuf,
    /// Overlay's own directory, on the same filesystem.
    pub work: PathBuf,
    /// An empty directory to mount on; inside the container's mount namespace alone.
    pub target: PathBuf,
    /// Nothing may be changed.
    pub readonly: bool,
}

/// How mounts spread; see [`linux::mounts::Propagation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagationSpec {
    /// Neither way.
    Private,
    /// From the node to the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// The files of an image, or a part of them, as the source of a mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageVolumeSpec {
    /// The files.
    pub files: RootfsSpec,
    /// The part, inside; empty for all.
    pub sub_path: PathBuf,
}

/// A bind mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountSpec {
    /// On the node; unused if it is an image.
    pub source: PathBuf,
    /// An image instead of a place on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageVolumeSpec>,
    /// In the container.
    pub destination: PathBuf,
    /// Read-only: the mount itself.
    pub readonly: bool,
    /// Read-only: all that is mounted below, too.
    pub recursive_readonly: bool,
    /// How later mounts spread.
    pub propagation: PropagationSpec,
    /// What belongs to an id on the disk belongs to that id of the pod's user namespace.
    #[serde(default)]
    pub map_owners: bool,
}

/// A device node to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceNode {
    /// In the container.
    pub path: PathBuf,
    /// A block device; else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The container's cgroup as its process needs it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CgroupSpec {
    /// Where it writes its id to move in.
    pub procs_files: Vec<PathBuf>,
    /// Version 2: a cgroup namespace of its own, with the whole hierarchy mounted.
    pub unified: bool,
    /// Version 1: names below /sys/fs/cgroup and the directories shown there.
    pub v1: Vec<(String, PathBuf)>,
}

/// A process, the first of a container or one executed later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// As whom.
    pub user: UserSpec,
    /// Capability bits: bounding, permitted and effective.
    pub capabilities: u64,
    /// Capability bits kept by programs without file capabilities.
    pub ambient: u64,
    /// Nothing can gain privileges by exec.
    pub no_new_privs: bool,
    /// System calls.
    pub seccomp: SeccompSpec,
    /// Limits by name of the resource (`RLIMIT_NOFILE`): soft, hard.
    pub rlimits: Vec<(String, u64, u64)>,
    /// With a terminal.
    pub tty: bool,
}

/// Which system calls are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompSpec {
    /// All.
    Unconfined,
    /// Those of the runtime's default profile.
    RuntimeDefault,
    /// Those of a profile in the format of the OCI runtime specification, given as its text.
    Profile(String),
}

/// A user before the container's /etc/passwd and /etc/group were read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserSpec {
    /// A name or number, perhaps with a group: `user[:group]`. Empty: root.
    pub user: String,
    /// A group that wins over the others.
    pub gid: Option<u32>,
    /// More groups.
    pub supplemental_groups: Vec<u32>,
    /// Leave out the groups that /etc/group gives the user.
    pub strict_groups: bool,
}

/// A user after it: what `ContainerStatus.user` reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedUser {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// All groups, the first one too.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}
