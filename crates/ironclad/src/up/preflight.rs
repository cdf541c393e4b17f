//! What must hold before anything is started: each failure is one clear message, and nothing has been made yet.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{bail, ensure};

/// Checks the user, the kernel and the ports.
pub(crate) fn check(listen: &[(&str, SocketAddr)]) -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a node needs root: it makes namespaces, mounts and nftables rules (try sudo)"
    );
    check_kernel()?;
    for (what, address) in listen {
        if let Err(error) = TcpListener::bind(address) {
            bail!("{what} cannot listen on {address}: {error}");
        }
    }
    Ok(())
}

fn check_kernel() -> anyhow::Result<()> {
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    ensure!(
        filesystems
            .lines()
            .any(|line| line.split_whitespace().last() == Some("overlay")),
        "this kernel has no overlay file system (CONFIG_OVERLAY_FS): images cannot be mounted; try `modprobe overlay`"
    );
    for (namespace, option) in [
        ("net", "NET_NS"),
        ("mnt", "NAMESPACES"),
        ("pid", "PID_NS"),
        ("ipc", "IPC_NS"),
        ("uts", "UTS_NS"),
    ] {
        ensure!(
            Path::new("/proc/self/ns").join(namespace).exists(),
            "this kernel has no {namespace} namespaces (CONFIG_{option}): containers cannot be isolated"
        );
    }
    ensure!(
        Path::new("/sys/fs/cgroup").exists(),
        "no cgroup file system at /sys/fs/cgroup: resources cannot be limited"
    );
    Ok(())
}
