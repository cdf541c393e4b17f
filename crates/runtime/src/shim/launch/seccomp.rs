//! The seccomp profile `RuntimeDefault`, and profiles given as files.
//!
//! The default allows what ordinary programs use and refuses (with EPERM) what reaches into the kernel's keyrings, modules, clocks,
//! mounts and namespaces, unless the container has the capability that the kernel asks for anyway. It follows the default profile that
//! containerd, CRI-O and Docker share. `clone3` hides its flags in memory, where a filter cannot look: it is ENOSYS, so that the C library
//! falls back to `clone`. A profile that cannot be loaded is an error, never a container without one.

use std::{collections::BTreeMap, io};

use linux::{
    capability::Capabilities,
    seccomp::{Condition, Filter, Operator, Program},
    syscalls,
};
use rustix::io::Errno;
use serde::Deserialize;

use super::{Context, LaunchError};
use crate::shim::spec::SeccompSpec;

/// Allowed whatever the arguments, to everyone.
const ALLOWED: &[&str] = &[
    "accept",
    "accept4",
    "access",
    "adjtimex",
    "alarm",
    "arch_prctl",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "clock_adjtime",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "ioctl",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listmount",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "modify_ldt",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "mremap",
    "mseal",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "pselect6",
    "ptrace",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setsockopt",
    "setuid",
    "setxattr",
    "setxattrat",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "socketpair",
    "splice",
    "stat",
    "statfs",
    "statmount",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "sysinfo",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
    "tkill",
    "truncate",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "uretprobe",
    "utime",
    "utimensat",
    "utimes",
    "vfork",
    "vmsplice",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// Allowed whatever the arguments, to a container with the capability.
const ALLOWED_WITH: &[(&str, &[&str])] = &[
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    (
        "SYS_MODULE",
        &["delete_module", "init_module", "finit_module"],
    ),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("SYS_RAWIO", &["iopl", "ioperm"]),
    ("SYS_TIME", &["settimeofday", "clock_settime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    (
        "SYS_NICE",
        &[
            "get_mempolicy",
            "mbind",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    ),
    ("SYSLOG", &["syslog"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open"]),
];

/// Namespace flags of `clone`, which need SYS_ADMIN: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
const AF_VSOCK: u64 = 40;
/// `personality` values that change nothing dangerous: Linux, Linux with 32-bit addresses or an old `uname`, both, and the question.
const PERSONALITIES: &[u64] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Filters in the order in which they are loaded; the strictest answer wins.
pub(super) struct Filters(Vec<Program>);

/// Makes the filters for a process with these capabilities.
pub(super) fn compile(
    spec: &SeccompSpec,
    capabilities: Capabilities,
) -> Result<Filters, LaunchError> {
    let filters = match spec {
        SeccompSpec::Unconfined => Ok(Vec::new()),
        SeccompSpec::RuntimeDefault => runtime_default(capabilities),
        SeccompSpec::Profile(text) => profile(text, capabilities),
    };
    filters.map(Filters).context("compile the seccomp profile")
}

/// Puts this process under the filters.
pub(super) fn load(filters: &Filters) -> Result<(), LaunchError> {
    filters
        .0
        .iter()
        .try_for_each(|program| linux::seccomp::load(program).context("load the seccomp profile"))
}

fn runtime_default(capabilities: Capabilities) -> io::Result<Vec<Program>> {
    let mut filter = Filter::allow_or(Errno::PERM);
    let privileged = ALLOWED_WITH
        .iter()
        .filter(|(name, _)| capabilities.has(name));
    for name in ALLOWED
        .iter()
        .chain(privileged.flat_map(|(_, names)| *names))
    {
        if let Some(number) = syscalls::number(name) {
            filter.call(number);
        }
    }
    let narrow = |argument, operator, value| Condition {
        argument,
        operator,
        value,
        wide: false,
    };
    let not_vsock = narrow(0, Operator::NotEqual, AF_VSOCK);
    filter.call_if(libc_number("socket")?, &[not_vsock])?;
    for value in PERSONALITIES {
        filter.call_if(
            libc_number("personality")?,
            &[narrow(0, Operator::Equal, *value)],
        )?;
    }
    let no_namespaces = Condition {
        argument: 0,
        operator: Operator::MaskedEqual(NAMESPACE_FLAGS),
        value: 0,
        wide: true,
    };
    filter.call_if(libc_number("clone")?, &[no_namespaces])?;
    let mut programs = Vec::new();
    if !capabilities.has("SYS_ADMIN") {
        filter.call(libc_number("clone3")?);
        let mut missing = Filter::deny_with(Errno::NOSYS);
        missing.call(libc_number("clone3")?);
        programs.push(missing.compile()?);
    }
    // Last: it allows no further `seccomp` call only if it says so, and it does not.
    programs.push(filter.compile()?);
    Ok(programs)
}

fn libc_number(name: &str) -> io::Result<i64> {
    syscalls::number(name)
        .ok_or_else(|| io::Error::other(format!("no system call {name} on this architecture")))
}

/// A profile file, in the format that the OCI runtime specification and Docker share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<ProfileRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileRule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Vec<ProfileCondition>,
    #[serde(default)]
    includes: ProfileCapabilities,
    #[serde(default)]
    excludes: ProfileCapabilities,
}

#[derive(Debug, Default, Deserialize)]
struct ProfileCapabilities {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileCondition {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl ProfileRule {
    fn applies(&self, capabilities: Capabilities) -> bool {
        let arch = if cfg!(target_arch = "x86_64") {
            "amd64"
        } else {
            "arm64"
        };
        let included = self.includes.caps.iter().all(|name| capabilities.has(name))
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(|a| a == arch));
        let excluded = self.excludes.caps.iter().any(|name| capabilities.has(name))
            || self.excludes.arches.iter().any(|a| a == arch);
        included && !excluded
    }

    fn conditions(&self) -> io::Result<Vec<Condition>> {
        self.args
            .iter()
            .map(|condition| {
                let (operator, value) = match condition.op.as_str() {
                    "SCMP_CMP_EQ" => (Operator::Equal, condition.value),
                    "SCMP_CMP_NE" => (Operator::NotEqual, condition.value),
                    "SCMP_CMP_MASKED_EQ" => {
                        (Operator::MaskedEqual(condition.value), condition.value_two)
                    }
                    other => {
                        return Err(io::Error::other(format!(
                            "comparison {other} is not supported"
                        )));
                    }
                };
                Ok(Condition {
                    argument: condition.index,
                    operator,
                    value,
                    wide: true,
                })
            })
            .collect()
    }
}

/// Two filters at most for each answer: the kernel takes the strictest of all, so rules with an error stand beside those that allow.
fn profile(text: &str, capabilities: Capabilities) -> io::Result<Vec<Program>> {
    let profile: Profile = serde_json::from_str(text)?;
    let errno = |number: Option<u16>| Errno::from_raw_os_error(i32::from(number.unwrap_or(1)));
    let rules: Vec<&ProfileRule> = profile
        .syscalls
        .iter()
        .filter(|rule| rule.applies(capabilities))
        .collect();
    let mut denied: BTreeMap<i32, Filter> = BTreeMap::new();
    let mut allowed = match profile.default_action.as_str() {
        "SCMP_ACT_ERRNO" => Some(Filter::allow_or(errno(profile.default_errno_ret))),
        "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => None,
        other => {
            return Err(io::Error::other(format!(
                "default action {other} is not supported"
            )));
        }
    };
    for rule in rules {
        let conditions = rule.conditions()?;
        for number in rule.names.iter().filter_map(|name| syscalls::number(name)) {
            let target = match rule.action.as_str() {
                "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => match &mut allowed {
                    Some(filter) => filter,
                    None => continue,
                },
                "SCMP_ACT_ERRNO" => {
                    let errno = errno(rule.errno_ret);
                    // With an allow-list this call would be refused anyway, if perhaps with another error.
                    if let Some(filter) = &mut allowed {
                        add(filter, number, &conditions)?;
                    }
                    denied
                        .entry(errno.raw_os_error())
                        .or_insert_with(|| Filter::deny_with(errno))
                }
                other => return Err(io::Error::other(format!("action {other} is not supported"))),
            };
            add(target, number, &conditions)?;
        }
    }
    denied
        .into_values()
        .chain(allowed)
        .map(Filter::compile)
        .collect()
}

fn add(filter: &mut Filter, number: i64, conditions: &[Condition]) -> io::Result<()> {
    if conditions.is_empty() {
        filter.call(number);
        return Ok(());
    }
    filter.call_if(number, conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_compiles_with_and_without_capabilities() {
        assert_eq!(runtime_default(Capabilities::default()).unwrap().len(), 2);
        assert_eq!(runtime_default(Capabilities::ALL).unwrap().len(), 1);
    }

    #[test]
    fn profiles_are_read_or_refused() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;
        assert_eq!(profile(text, Capabilities::default()).unwrap().len(), 2);
        assert!(profile(r#"{"defaultAction": "SCMP_ACT_TRACE"}"#, Capabilities::ALL).is_err());
        assert!(profile("{", Capabilities::ALL).is_err());
    }
}
