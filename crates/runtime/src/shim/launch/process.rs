//! The last steps before a program runs: streams, limits, privileges, exec.

use std::{
    ffi::{CString, OsStr},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use linux::{
    capability::{self, Capabilities},
    process::{close_on_exec_from, duplicate_to, execve, reset_signals, unshare},
};
use rustix::{
    fs::{Access, FileType, Gid, Mode, Uid, fchown, fstat},
    process::{Resource, Rlimit, Signal, setrlimit},
    thread::{
        LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_keep_capabilities,
        set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{Context, Entry, LaunchError, Streams, owner_outside, seccomp};
use crate::shim::spec::{ProcessSpec, ResolvedUser};

/// Where programs are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Resources by their names.
const RESOURCES: &[(&str, Resource)] = &[
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

/// Becomes the program. The mount namespace is the container's by now.
pub(super) fn start(
    spec: &ProcessSpec,
    user: &ResolvedUser,
    streams: Option<Streams>,
    terminal: Option<OwnedFd>,
    entry: Option<Entry<'_>>,
) -> Result<std::convert::Infallible, LaunchError> {
    let owner = owner_outside(user, entry.map(|entry| entry.users))?;
    take_streams(streams, terminal, owner)?;
    reset_signals();
    // Raising them is the privilege of the node's root.
    set_limits(spec)?;
    if let Some(entry) = entry {
        enter_users(entry)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let filter = seccomp::compile(&spec.seccomp, Capabilities(spec.capabilities))?;
    if spec.no_new_privs {
        set_no_new_privs(true).context("set no_new_privs")?;
    } else {
        // Without it, a filter can only be loaded with the privileges that are about to go. The default profile allows what follows.
        seccomp::load(&filter)?;
    }
    become_user(spec, user)?;
    enter_cwd(&spec.cwd)?;
    let environment = environment(spec, user);
    let program = find_program(spec, &environment)?;
    let arguments = c_strings(&spec.args)?;
    let environment = c_strings(&environment)?;
    // After the change of user, which takes it away. Should the shim die, so do its containers.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("tie the process to the shim")?;
    if spec.no_new_privs {
        seccomp::load(&filter)?;
    }
    let error = execve(&program, &arguments, &environment);
    Err(LaunchError::message(format!(
        "exec {:?}: {error}",
        program.to_string_lossy()
    )))
}

/// From here on the process has all privileges in the pod's user namespace and none outside.
fn enter_users(entry: Entry<'_>) -> Result<(), LaunchError> {
    let kind = Some(LinkNameSpaceType::User);
    move_into_link_name_space(entry.users.namespace.as_fd(), kind)
        .context("enter the pod's user namespace")?;
    if entry.owns_mounts {
        // A copy: what the node has mounted in it can be neither taken away nor made writable.
        unshare(UnshareFlags::NEWNS).context("unshare the mount namespace")?;
    }
    Ok(())
}

fn take_streams(
    streams: Option<Streams>,
    terminal: Option<OwnedFd>,
    owner: Uid,
) -> Result<(), LaunchError> {
    match (&streams, &terminal) {
        (_, Some(terminal)) => {
            linux::terminal::make_controlling(terminal.as_fd()).context("take the terminal")?;
            for number in 0..3 {
                duplicate_to(terminal.as_fd(), number).context("connect the terminal")?;
            }
        }
        (Some(streams), None) => {
            rustix::process::setsid().context("start a session")?;
            for (number, stream) in (0..).zip(streams) {
                let stat = fstat(stream).context("look at the streams")?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo {
                    // So that the program can open /dev/stdout and its like.
                    fchown(stream, Some(owner), None).context("chown the streams")?;
                }
                duplicate_to(stream.as_fd(), number).context("connect the streams")?;
            }
        }
        (None, None) => return Err(LaunchError::message("no streams and no terminal")),
    }
    close_on_exec_from(3).context("close descriptors")
}

fn set_limits(spec: &ProcessSpec) -> Result<(), LaunchError> {
    for (name, soft, hard) in &spec.rlimits {
        let (_, resource) = RESOURCES
            .iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| LaunchError::message(format!("unknown resource limit {name}")))?;
        let limit = |value: u64| (value != u64::MAX).then_some(value);
        setrlimit(
            *resource,
            Rlimit {
                current: limit(*soft),
                maximum: limit(*hard),
            },
        )
        .context(format_args!("set {name}"))?;
    }
    Ok(())
}

fn become_user(spec: &ProcessSpec, user: &ResolvedUser) -> Result<(), LaunchError> {
    let wanted = Capabilities(spec.capabilities);
    let ambient = Capabilities(spec.ambient);
    // What this node itself does not have cannot be given; upstream's runtimes leave it out as well.
    let had = Capabilities::of_this_process().context("read capabilities")?;
    let kept = Capabilities(wanted.0 & had.0);
    capability::limit_bounding_set(wanted).context("limit the bounding set")?;
    set_keep_capabilities(true).context("keep capabilities")?;
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_thread_groups(&groups).context("set groups")?;
    let gid = Gid::from_raw(user.gid);
    set_thread_res_gid(gid, gid, gid).context("set the group")?;
    let uid = Uid::from_raw(user.uid);
    set_thread_res_uid(uid, uid, uid).context("set the user")?;
    set_keep_capabilities(false).context("keep capabilities")?;
    let ambient = Capabilities(ambient.0 & kept.0);
    capability::set(kept, kept, ambient, ambient).context("set capabilities")
}

/// The directory is entered as the user; that it lies inside the container is looked at afterwards, by what the kernel says it is.
fn enter_cwd(cwd: &str) -> Result<(), LaunchError> {
    let cwd = if cwd.is_empty() { "/" } else { cwd };
    rustix::process::chdir(cwd).context(format_args!("chdir to cwd ({cwd:?})"))?;
    let real = rustix::process::getcwd(Vec::new()).context("read the working directory")?;
    if real.as_bytes().first() == Some(&b'/') {
        return Ok(());
    }
    Err(LaunchError::message(format!(
        "working directory {cwd:?} is outside of the container"
    )))
}

fn environment(spec: &ProcessSpec, user: &ResolvedUser) -> Vec<String> {
    let mut environment = spec.env.clone();
    let has = |environment: &[String], prefix: &str| {
        environment.iter().any(|entry| entry.starts_with(prefix))
    };
    if !has(&environment, "PATH=") {
        environment.push(format!("PATH={DEFAULT_PATH}"));
    }
    if !has(&environment, "HOME=") {
        environment.push(format!("HOME={}", user.home));
    }
    if spec.tty && !has(&environment, "TERM=") {
        environment.push("TERM=xterm".to_owned());
    }
    environment
}

/// Finds the program as a shell would, and words failures as upstream's runtimes do.
fn find_program(spec: &ProcessSpec, environment: &[String]) -> Result<CString, LaunchError> {
    let name = spec
        .args
        .first()
        .ok_or_else(|| LaunchError::message("no command specified"))?;
    let failed = |reason: &str| LaunchError::message(format!("exec: {name:?}: {reason}"));
    if name.contains('/') {
        return match check_program(Path::new(name)) {
            Ok(()) => c_string(OsStr::new(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LaunchError::message(
                format!("exec: {name:?}: stat {name}: no such file or directory"),
            )),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(failed("is a directory"))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(failed("permission denied"))
            }
            Err(error) => Err(failed(&error.to_string())),
        };
    }
    let path = environment
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let mut denied = false;
    for directory in path.unwrap_or(DEFAULT_PATH).split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match check_program(&candidate) {
            Ok(()) => return c_string(candidate.as_os_str()),
            Err(error) => denied |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    Err(failed(if denied {
        "permission denied"
    } else {
        "executable file not found in $PATH"
    }))
}

fn check_program(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(rustix::fs::access(path, Access::EXEC_OK)?)
}

fn c_string(text: &OsStr) -> Result<CString, LaunchError> {
    CString::new(text.as_bytes())
        .map_err(|_| LaunchError::message("arguments and environment cannot contain a zero byte"))
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, LaunchError> {
    texts
        .iter()
        .map(|text| c_string(OsStr::new(text)))
        .collect()
}
