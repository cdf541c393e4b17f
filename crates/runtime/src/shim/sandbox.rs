//! The shim as holder of the pod's namespaces: it lives in them, so that what it forks is in them.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use linux::{
    mounts::{Attributes, Propagation, attach, new_filesystem, pivot_root, set_root_propagation},
    process::{Forked, Pid, UnshareFlags, WaitOptions, exit_now, fork, unshare, wait},
    root::Root,
};
use rustix::{
    fs::{Gid, Mode, Uid},
    process::Signal,
    thread::{
        LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space,
        move_into_thread_name_spaces, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{
    spec::{IdMap, SandboxSpec},
    stand_in::stand_in,
};

/// Where the pod's shared memory stands in the pod's mount namespace.
pub(super) const SHM_PATH: &str = "/shm";

/// What the shim keeps open.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// The pod's user namespace, if it has one of its own. The shim is not in it.
    pub(super) users: Option<Users>,
    /// The node's mount namespace, which the shim itself is in.
    pub(super) host_mounts: OwnedFd,
    /// A mount namespace with nothing but /dev/shm of the pod; `None` with the node's IPC.
    pub(super) pod_mounts: Option<OwnedFd>,
    /// The shim's PID namespace.
    pub(super) host_pids: OwnedFd,
    /// The first process of a shared PID namespace.
    pub(super) pause: Option<(Pid, OwnedFd)>,
}

/// A user namespace, and what its ids are outside.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) map: IdMap,
    pub(super) namespace: OwnedFd,
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
    let users = match spec.id_map {
        Some(map) => {
            let namespace = enter_below_users(map, flags)
                .map_err(|e| named(e, "make the pod's user namespace"))?;
            Some(Users { map, namespace })
        }
        None => {
            unshare(flags).map_err(|e| named(e, "unshare the pod's namespaces"))?;
            None
        }
    };
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
        Some(make_pod_mounts(spec).map_err(|e| named(e, "make the pod's /dev/shm"))?)
    } else {
        None
    };
    let host_pids = open("/proc/self/ns/pid")?;
    let pause = if spec.shared_pid {
        Some(start_pause(users.as_ref())?)
    } else {
        None
    };
    Ok(Namespaces {
        users,
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

/// Makes a mount namespace whose root is a tmpfs that holds the pod's shared memory and nothing else. It lives by its descriptor:
/// nothing is mounted on the node.
fn make_pod_mounts(spec: &SandboxSpec) -> io::Result<OwnedFd> {
    stand_in(
        UnshareFlags::NEWNS,
        |_| Ok(()),
        || only_shm(spec),
        |pid, _| File::open(format!("/proc/{}/ns/mnt", pid.as_raw_nonzero())).map(OwnedFd::from),
    )
}

/// Makes a user namespace and moves this process into `namespaces` that belong to it, but not into itself: what the shim does on the
/// node it does as the node's root.
fn enter_below_users(map: IdMap, namespaces: UnshareFlags) -> io::Result<OwnedFd> {
    let ids = format!("0 {} {}", map.host, map.length);
    let write_maps = |pid: Pid| {
        let pid = pid.as_raw_nonzero();
        fs::write(format!("/proc/{pid}/uid_map"), &ids)?;
        fs::write(format!("/proc/{pid}/gid_map"), &ids)
    };
    let enter = |pid: Pid, pidfd: BorrowedFd<'_>| {
        let users = File::open(format!("/proc/{}/ns/user", pid.as_raw_nonzero()))?;
        let mut kinds = ThreadNameSpaceType::empty();
        for (flag, kind) in [
            (UnshareFlags::NEWNET, ThreadNameSpaceType::NETWORK),
            (
                UnshareFlags::NEWIPC,
                ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
            ),
            (
                UnshareFlags::NEWUTS,
                ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
            ),
        ] {
            kinds.set(kind, namespaces.contains(flag));
        }
        if !kinds.is_empty() {
            move_into_thread_name_spaces(pidfd, kinds)?;
        }
        Ok(users.into())
    };
    stand_in(
        UnshareFlags::NEWUSER,
        write_maps,
        || unshare(namespaces),
        enter,
    )
}

fn only_shm(spec: &SandboxSpec) -> io::Result<()> {
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
    let size = spec.shm_size.to_string();
    let owner = spec.id_map.map_or(0, |map| map.host).to_string();
    let hardened = Attributes {
        nosuid: true,
        nodev: true,
        noexec: true,
        ..nothing
    };
    let options = [
        ("mode", Some("1777")),
        ("size", Some(size.as_str())),
        ("uid", Some(owner.as_str())),
        ("gid", Some(owner.as_str())),
    ];
    let shm = new_filesystem("tmpfs", &options, hardened)?;
    attach(shm.as_fd(), target.as_fd())?;
    pivot_root(root.as_dir())
}

/// Starts the process that is number 1 of the pod's PID namespace: it reaps and sleeps.
fn start_pause(users: Option<&Users>) -> io::Result<(Pid, OwnedFd)> {
    match fork(UnshareFlags::NEWPID)? {
        Forked::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Forked::Child => {
            if let Some(users) = users
                && become_root_of(users).is_err()
            {
                exit_now(1)
            }
            pause()
        }
    }
}

/// Moves this process into a user namespace, as its root.
fn become_root_of(users: &Users) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::User);
    move_into_link_name_space(users.namespace.as_fd(), kind)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?)
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
    move_into_thread_name_spaces(of, ThreadNameSpaceType::PROCESS_ID)?;
    let forked = fork(UnshareFlags::empty());
    if !matches!(forked, Ok(Forked::Child)) {
        move_into_link_name_space(own, Some(LinkNameSpaceType::ProcessID))?;
    }
    forked
}
