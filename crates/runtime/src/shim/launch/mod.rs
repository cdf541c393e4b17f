//! The child's side of starting a container or an exec: from the fork in the shim to the exec of the program.
//!
//! The child is a copy of the shim, which has one thread, so it may run ordinary code; whatever it allocates is gone with the exec. It
//! reports over a socket that closes on exec: silence and end of file mean that the program runs.
//!
//! Invariants:
//! - Paths inside the container are resolved by descriptor within its root ([`linux::root::Root`]); mounts are made detached and attached
//!   to descriptors. Neither an image nor a neighbour that shares a volume can point us elsewhere.
//! - Nothing of the container's runs before the last step, and the process is not dumpable until then, so that nobody in a shared PID
//!   namespace can look into it.
//! - Of the node's descriptors only the standard three, replaced, reach the program.
//! - The node's binary cannot be overwritten through /proc/self/exe: the pod's shim executes the same inode for as long as anything of the
//!   pod runs, and the kernel refuses to write to what is being executed.

mod mounts;
mod process;
mod seccomp;
mod user;

use std::{
    fmt,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use linux::{process::exit_now, root::Root, seqpacket};
use rustix::{
    fs::Uid,
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space,
        move_into_thread_name_spaces,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    sandbox::Users,
    spec::{ContainerSpec, ProcessSpec, ResolvedUser},
};

/// What a child tells the shim.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The controlling side of its terminal is attached.
    Terminal,
    /// As whom it will run.
    User(ResolvedUser),
    /// It could not start, and has ended.
    Failed(String),
}

/// Why a program could not be started; becomes the message of the container's status.
#[derive(Debug)]
pub(super) struct LaunchError(String);

impl LaunchError {
    fn message(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when an error came.
trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T, LaunchError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T, LaunchError> {
        self.map_err(|error| LaunchError(format!("{doing}: {}", error.into())))
    }
}

/// A process's way into the pod's user namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) users: &'a Users,
    /// Whether its mount namespace, which all of the container's processes are in, is made the user namespace's own.
    owns_mounts: bool,
}

/// Standard streams of a child that has no terminal.
pub(super) type Streams = [OwnedFd; 3];

/// What the child of a container's start has at hand.
pub(super) struct ContainerLaunch<'a> {
    pub(super) spec_path: &'a Path,
    /// `None`: a terminal is to be made.
    pub(super) streams: Option<Streams>,
    pub(super) report: OwnedFd,
    /// The mount namespace with the pod's /dev/shm, and the node's.
    pub(super) pod_mounts: Option<BorrowedFd<'a>>,
    pub(super) host_mounts: BorrowedFd<'a>,
    /// The pod's user namespace.
    pub(super) users: Option<&'a Users>,
}

/// What the child of an exec has at hand.
pub(super) struct ExecLaunch<'a> {
    pub(super) spec: OwnedFd,
    /// `None`: a terminal is to be made.
    pub(super) streams: Option<Streams>,
    pub(super) report: OwnedFd,
    /// The container's first process.
    pub(super) container: BorrowedFd<'a>,
    /// The container's cgroup, for every hierarchy.
    pub(super) procs_files: &'a [std::path::PathBuf],
    /// The pod's user namespace.
    pub(super) users: Option<&'a Users>,
}

/// Becomes the container's first process. For a freshly forked child.
pub(super) fn container(launch: ContainerLaunch<'_>) -> ! {
    let report = dup_report(&launch.report);
    finish(report, start_container(launch))
}

/// Becomes another process of a container. For a freshly forked child, which is in the container's PID namespace already.
pub(super) fn exec(launch: ExecLaunch<'_>) -> ! {
    let report = dup_report(&launch.report);
    finish(report, start_exec(launch))
}

fn dup_report(report: &OwnedFd) -> Option<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(report, 3).ok()
}

fn finish(report: Option<OwnedFd>, result: Result<std::convert::Infallible, LaunchError>) -> ! {
    let Err(error) = result;
    if let Some(report) = report {
        let _ = tell(report.as_fd(), &Report::Failed(error.to_string()), &[]);
    }
    exit_now(128)
}

fn tell(report: BorrowedFd<'_>, what: &Report, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    seqpacket::send(report, &serde_json::to_vec(what)?, fds)
}

fn start_container(launch: ContainerLaunch<'_>) -> Result<std::convert::Infallible, LaunchError> {
    protect_self()?;
    let spec: ContainerSpec = read_spec(File::open(launch.spec_path).context("open the spec")?)?;
    // While the node's /proc and /sys are in sight.
    for file in &spec.cgroup.procs_files {
        std::fs::write(file, "0").context(format_args!("enter cgroup {}", file.display()))?;
    }
    if let Some(score) = spec.oom_score_adj {
        // Lowering needs SYS_RESOURCE, which a nested node may lack; the container runs all the same.
        let _ = std::fs::write(
            "/proc/self/oom_score_adj",
            score.clamp(-1000, 1000).to_string(),
        );
    }
    if spec.cgroup.unified {
        linux::process::unshare(UnshareFlags::NEWCGROUP).context("unshare the cgroup namespace")?;
    }
    let shm = launch.pod_mounts.map(pod_shm).transpose()?;
    enter(
        launch.host_mounts,
        LinkNameSpaceType::Mount,
        "enter the node's mount namespace",
    )?;
    let prepared = mounts::prepare(&spec, shm, launch.users)?;
    let user = user::resolve(&prepared.root, &spec.process.user)?;
    let _ = tell(launch.report.as_fd(), &Report::User(user.clone()), &[]);
    let terminal = if spec.process.tty {
        let devpts = prepared.devpts.as_fd();
        let owner = owner_outside(&user, launch.users)?;
        let terminal = open_terminal(devpts, owner, launch.report.as_fd())?;
        mounts::bind_console(&prepared, terminal.as_fd())?;
        Some(terminal)
    } else {
        None
    };
    mounts::finish(&spec, prepared)?;
    let entry = launch.users.map(|users| Entry {
        users,
        owns_mounts: true,
    });
    process::start(&spec.process, &user, launch.streams, terminal, entry)
}

fn start_exec(launch: ExecLaunch<'_>) -> Result<std::convert::Infallible, LaunchError> {
    protect_self()?;
    let spec: ProcessSpec = read_spec(File::from(launch.spec))?;
    for file in launch.procs_files {
        std::fs::write(file, "0").context(format_args!("enter cgroup {}", file.display()))?;
    }
    let namespaces = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::CONTROL_GROUP;
    move_into_thread_name_spaces(launch.container, namespaces)
        .context("enter the container's namespaces")?;
    let root = Root::open(Path::new("/")).context("open the container's root")?;
    let user = user::resolve(&root, &spec.user)?;
    let _ = tell(launch.report.as_fd(), &Report::User(user.clone()), &[]);
    let terminal = if spec.tty {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        let devpts = root
            .open_at(Path::new("/dev/pts"), flags, rustix::fs::Mode::empty())
            .context("open /dev/pts")?;
        mounts::require_filesystem(devpts.as_fd(), mounts::DEVPTS_MAGIC, "/dev/pts")?;
        let owner = owner_outside(&user, launch.users)?;
        Some(open_terminal(devpts.as_fd(), owner, launch.report.as_fd())?)
    } else {
        None
    };
    drop(root);
    let entry = launch.users.map(|users| Entry {
        users,
        owns_mounts: false,
    });
    process::start(&spec, &user, launch.streams, terminal, entry)
}

/// Nobody may trace this process or look into its memory, a copy of the shim's, before it has become the program.
fn protect_self() -> Result<(), LaunchError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("protect the process")
}

fn read_spec<T: serde::de::DeserializeOwned>(mut file: File) -> Result<T, LaunchError> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut file, &mut text).context("read the spec")?;
    serde_json::from_slice(&text).context("read the spec")
}

fn enter(
    namespace: BorrowedFd<'_>,
    kind: LinkNameSpaceType,
    doing: &str,
) -> Result<(), LaunchError> {
    move_into_link_name_space(namespace, Some(kind)).context(doing)
}

/// The pod's shared memory lives in a mount namespace where nothing else is; it is cloned there and carried along detached.
fn pod_shm(pod_mounts: BorrowedFd<'_>) -> Result<OwnedFd, LaunchError> {
    enter(
        pod_mounts,
        LinkNameSpaceType::Mount,
        "enter the pod's mount namespace",
    )?;
    linux::mounts::clone_tree(super::sandbox::SHM_PATH, false).context("clone /dev/shm")
}

/// What the user's id is on the node.
fn owner_outside(user: &ResolvedUser, users: Option<&Users>) -> Result<Uid, LaunchError> {
    let Some(users) = users else {
        return Ok(Uid::from_raw(user.uid));
    };
    let outside = users.map.outside(user.uid);
    outside.map(Uid::from_raw).ok_or_else(|| {
        LaunchError::message(format!("the pod's user namespace has no user {}", user.uid))
    })
}

/// Makes a terminal that belongs to the user, and hands its controlling side to the shim.
fn open_terminal(
    devpts: BorrowedFd<'_>,
    owner: Uid,
    report: BorrowedFd<'_>,
) -> Result<OwnedFd, LaunchError> {
    let (controller, terminal) = linux::terminal::open(devpts).context("open a terminal")?;
    rustix::fs::fchown(&terminal, Some(owner), None).context("chown the terminal")?;
    tell(report, &Report::Terminal, &[controller.as_fd()]).context("hand over the terminal")?;
    Ok(terminal)
}
