//! Use of resources, by container and by pod, read from cgroups and from the pod's network namespace.

use std::{fs, path::PathBuf};

use cri::{
    CriError,
    v1::{
        ContainerAttributes, ContainerStats, CpuUsage, FilesystemIdentifier, FilesystemUsage,
        LinuxPodSandboxStats, MemoryUsage, NetworkInterfaceUsage, NetworkUsage,
        PodSandboxAttributes, PodSandboxStats, ProcessUsage, UInt64Value,
    },
};
use linux::cgroup::Stats;

use crate::{
    images::disk_usage,
    runtime::{Container, Runtime, Sandbox},
    sandboxes::cgroup_parent,
};

/// The interface that is the pod's own.
const DEFAULT_INTERFACE: &str = "eth0";

fn number(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

fn cpu(stats: &Stats, timestamp: i64) -> CpuUsage {
    CpuUsage {
        timestamp,
        usage_core_nano_seconds: number(stats.cpu_usage_ns),
        usage_nano_cores: None,
        psi: None,
    }
}

fn memory(stats: &Stats, timestamp: i64) -> MemoryUsage {
    let available = stats
        .memory_limit
        .map(|limit| limit.saturating_sub(stats.memory_working_set));
    MemoryUsage {
        timestamp,
        working_set_bytes: number(stats.memory_working_set),
        available_bytes: available.and_then(number),
        usage_bytes: number(stats.memory_usage),
        rss_bytes: number(stats.memory_rss),
        page_faults: number(stats.page_faults),
        major_page_faults: number(stats.major_page_faults),
        psi: None,
    }
}

impl Runtime {
    /// Of one container; without CPU and memory if it does not run.
    pub(crate) async fn stats_of(&self, container: &Container) -> ContainerStats {
        let timestamp = self.now();
        let upper = container.dir.path("upper");
        let at: PathBuf = upper.clone();
        let (bytes, inodes) = tokio::task::spawn_blocking(move || disk_usage(&at))
            .await
            .unwrap_or_default();
        let stats = self
            .cgroup(&container.record().cgroup)
            .and_then(|cgroup| cgroup.stats())
            .ok();
        let stats = stats.filter(|_| container.is_running());
        ContainerStats {
            attributes: Some(ContainerAttributes {
                id: container.id.clone(),
                metadata: container.config.metadata.clone(),
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
            }),
            cpu: stats.map(|stats| cpu(&stats, timestamp)),
            memory: stats.map(|stats| memory(&stats, timestamp)),
            writable_layer: Some(FilesystemUsage {
                timestamp,
                fs_id: Some(FilesystemIdentifier {
                    mountpoint: self.0.config.root.display().to_string(),
                }),
                used_bytes: number(bytes),
                inodes_used: number(inodes),
            }),
            swap: None,
            io: None,
        }
    }

    /// Of a pod.
    pub(crate) async fn sandbox_stats(
        &self,
        sandbox: &Sandbox,
    ) -> Result<PodSandboxStats, CriError> {
        let timestamp = self.now();
        let cgroup = match cgroup_parent(&sandbox.config) {
            Some(parent) => self.cgroup(parent),
            None => self.own_cgroup(&sandbox.id),
        };
        let stats = cgroup.and_then(|cgroup| cgroup.stats()).ok();
        let mut containers = Vec::new();
        for container in self.containers_of(&sandbox.id) {
            if container.is_running() {
                containers.push(self.stats_of(&container).await);
            }
        }
        let linux = LinuxPodSandboxStats {
            cpu: stats.map(|stats| cpu(&stats, timestamp)),
            memory: stats.map(|stats| memory(&stats, timestamp)),
            network: network(sandbox.pid(), timestamp),
            process: stats.map(|stats| ProcessUsage {
                timestamp,
                process_count: number(stats.processes),
            }),
            containers,
            io: None,
        };
        Ok(PodSandboxStats {
            attributes: Some(PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(linux),
        })
    }
}

/// What the shim's network namespace, the pod's, has carried.
fn network(shim_pid: i32, timestamp: i64) -> Option<NetworkUsage> {
    if shim_pid == 0 {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/{shim_pid}/net/dev")).ok()?;
    let interfaces = parse_net_dev(&text);
    let default = interfaces
        .iter()
        .find(|interface| interface.name == DEFAULT_INTERFACE);
    Some(NetworkUsage {
        timestamp,
        default_interface: default.cloned(),
        interfaces,
    })
}

/// Two lines of head, then `name: ` and sixteen numbers: received bytes, packets, errors…, sent bytes, packets, errors…
fn parse_net_dev(text: &str) -> Vec<NetworkInterfaceUsage> {
    let parse = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .map_while(|n| n.parse().ok())
            .collect();
        let name = name.trim();
        (name != "lo").then(|| NetworkInterfaceUsage {
            name: name.to_owned(),
            rx_bytes: numbers.first().copied().and_then(number),
            rx_errors: numbers.get(2).copied().and_then(number),
            tx_bytes: numbers.get(8).copied().and_then(number),
            tx_errors: numbers.get(10).copied().and_then(number),
        })
    };
    text.lines().skip(2).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
                    eth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n";
        let interfaces = parse_net_dev(text);
        assert_eq!(interfaces.len(), 1);
        assert_eq!(interfaces[0].rx_bytes, number(100));
        assert_eq!(interfaces[0].tx_errors, number(5));
    }
}
