//! The kernel: netlink, nftables, namespaces, mounts, cgroups v1 and v2, `openat2`. The only crate with `unsafe`.
