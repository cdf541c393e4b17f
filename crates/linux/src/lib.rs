//! The kernel: processes and namespaces, mounts, cgroups v1 and v2, `openat2`, capabilities, seccomp, terminals, netlink, nftables.
//!
//! The only crate with `unsafe`. Everything is a thin and safe shape of what the kernel offers; policy is its users'.

pub mod async_fd;
pub mod capability;
pub mod cgroup;
pub mod conntrack;
pub mod loopback;
pub mod mounts;
pub mod netlink;
pub mod nftables;
pub mod process;
pub mod root;
pub mod seccomp;
pub mod seqpacket;
pub mod syscalls;
pub mod terminal;
