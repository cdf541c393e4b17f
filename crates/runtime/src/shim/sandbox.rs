//! The shim as holder of the pod's namespaces: it lives in them, so that what it forks is in them.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use linux::{
    mounts::{Attributes, Propagation, attach, new_filesystem, pivot_root, set_root_propagation},
    process::{Forked, Pid, UnshareFlags, WaitOptions, exit_now, fork, unshare, wait, waitpid},
    root::Root,
};
use rustix::{fs::Mode, process::Signal};

use super::spec::SandboxSpec;

/// Where the pod's shared memory stands in the pod's mount namespace.
pub(super) const SHM_PATH: &str = "/shm";

/// What the shim keeps open.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// The node's mount namespace, which the shim itself is in.
    pub(super) host_mounts: OwnedFd,
    /// A mount namespace with nothing but /dev/shm of the pod; `None` with the node's IPC.
    pub(super) pod_mounts: Option<OwnedFd>,
    /// The shim's PID namespace.
    pub(super) host_pids: OwnedFd,
    /// The first process of a shared PID namespace.
    pub(super) pause: Option<(Pid, OwnedFd)>,
}

/// Moves this process into the pod's namespaces.
pub(super) fn enter(spec: &SandboxSpec) -> io::Result<Namespaces> {
    for file in &spec.procs_files {
        fs::write(file, "0").map_err(|e| named(e, &format!("enter {}", file.display())))?;
    }
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWNET, spec.own_network);
    flags.set(UnshareFlags::NEWIPC, spec.own_ipc);
    flags.set(UnshareFlags::NEWUTS, spec.hostname.is_some());
    unshare(flags).map_err(|e| named(e, "unshare the pod's namespaces"))?;
    if let Some(hostname) = &spec.hostname {
        rustix::system::sethostname(hostname.as_bytes())
            .map_err(|e| named(e.into(), "set the host name"))?;
    }
    if spec.own_network {
        linux::loopback::bring_up().map_err(|e| named(e, "bring loopback up"))?;
    }
    for (name, value) in &spec.sysctls {
        set_sysctl(name, value).map_err(|e| named(e, &format!("set sysctl {name}")))?;
    }
    let open = |path: &str| File::open(path).map(OwnedFd::from);
    let host_mounts = open("/proc/self/ns/mnt")?;
    let pod_mounts = if spec.own_ipc {
        Some(make_pod_mounts(spec.shm_size).map_err(|e| named(e, "make the pod's /dev/shm"))?)
    } else {
        None
    };
    let host_pids = open("/proc/self/ns/pid")?;
    let pause = if spec.shared_pid {
        Some(start_pause()?)
    } else {
        None
    };
    Ok(Namespaces {
        host_mounts,
        pod_mounts,
        host_pids,
        pause,
    })
}

fn named(error: io::Error, doing: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}

/// Names have dots between their parts; a part may contain slashes for dots of its own (an interface's name).
fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    let path: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the name of a sysctl",
        ));
    }
    fs::write(Path::new("/proc/sys").join(path), value)
}

/// Makes a mount namespace whose root is a tmpfs that holds the pod's shared memory and nothing else. It is made in a child, because the
/// shim stays in the node's, and lives by its descriptor: nothing is mounted on the node.
fn make_pod_mounts(shm_size: u64) -> io::Result<OwnedFd> {
    let (ours, theirs) = io::pipe().and_then(|first| Ok((first, io::pipe()?)))?;
    let (ready_reader, ready_writer) = ours;
    let (release_reader, release_writer) = theirs;
    match fork(UnshareFlags::NEWNS)? {
        Forked::Child => {
            drop((ready_reader, release_writer));
            let code = match only_shm(shm_size) {
                Ok(()) => {
                    let _ = rustix::io::write(&ready_writer, b"k");
                    // Stays until the shim has opened the namespace.
                    let _ = rustix::io::read(&release_reader, &mut [0_u8; 1]);
                    0
                }
                Err(error) => error.raw_os_error().unwrap_or(255),
            };
            exit_now(code)
        }
        Forked::Parent { pid, .. } => {
            drop((ready_writer, release_reader));
            let ready = rustix::io::read(&ready_reader, &mut [0_u8; 1])? == 1;
            let path = format!("/proc/{}/ns/mnt", pid.as_raw_nonzero());
            let namespace = File::open(path).map(OwnedFd::from);
            drop(release_writer);
            let status = waitpid(Some(pid), WaitOptions::empty())?;
            if !ready {
                let code = status
                    .and_then(|(_, status)| status.exit_status())
                    .unwrap_or(255);
                return Err(io::Error::from_raw_os_error(code));
            }
            namespace
        }
    }
}

fn only_shm(shm_size: u64) -> io::Result<()> {
    set_root_propagation(Propagation::Private)?;
    let nothing = Attributes::default();
    let tmpfs = new_filesystem(
        "tmpfs",
        &[("mode", Some("0700")), ("size", Some("1m"))],
        nothing,
    )?;
    // A place to stand on; any directory does, and this one is always there.
    let place = Root::open(Path::new("/proc"))?;
    attach(tmpfs.as_fd(), place.as_dir())?;
    let root = Root::open(Path::new("/proc"))?;
    let target = root.make_dirs(Path::new(SHM_PATH), Mode::from_raw_mode(0o755))?;
    let size = shm_size.to_string();
    let hardened = Attributes {
        nosuid: true,
        nodev: true,
        noexec: true,
        ..nothing
    };
    let options = [("mode", Some("1777")), ("size", Some(size.as_str()))];
    let shm = new_filesystem("tmpfs", &options, hardened)?;
    attach(shm.as_fd(), target.as_fd())?;
    pivot_root(root.as_dir())
}

/// Starts the process that is number 1 of the pod's PID namespace: it reaps and sleeps.
fn start_pause() -> io::Result<(Pid, OwnedFd)> {
    match fork(UnshareFlags::NEWPID)? {
        Forked::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Forked::Child => pause(),
    }
}

fn pause() -> ! {
    // Among them the pipe on which the shim's starter waits for its end.
    let _ = linux::process::close_inherited_from(0);
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::thread::set_name(c"pause");
    let Ok(signals) = linux::process::signal_fd(&[Signal::CHILD]) else {
        exit_now(1)
    };
    loop {
        let mut poll = [rustix::event::PollFd::new(
            &signals,
            rustix::event::PollFlags::IN,
        )];
        let _ = rustix::event::poll(&mut poll, None);
        linux::process::drain_signal_fd(signals.as_fd());
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}

/// Forks into another PID namespace: the one of the process behind `of`. `own` is this process's, where later children go again.
pub(super) fn fork_into_pids(of: BorrowedFd<'_>, own: BorrowedFd<'_>) -> io::Result<Forked> {
    use rustix::thread::{
        LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space,
        move_into_thread_name_spaces,
    };
    move_into_thread_name_spaces(of, ThreadNameSpaceType::PROCESS_ID)?;
    let forked = fork(UnshareFlags::empty());
    if !matches!(forked, Ok(Forked::Child)) {
        move_into_link_name_space(own, Some(LinkNameSpaceType::ProcessID))?;
    }
    forked
}
