//! The cgroup hierarchy of pods (`kubepods/burstable/pod<uid>`) and the values that requests and limits become in the kernel.
//!
//! The kubelet makes the pod's cgroup and sets its limits; the runtime makes the containers' cgroups below it, from
//! [`cgroup_parent`] and [`container_resources`]. The driver is `cgroupfs`.

use std::{io, sync::Arc};

use cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod};
use linux::cgroup::{Cgroup, Hierarchy, Resources};

use super::{QosClass, amount, oom_score_adj, pod_requests, qos_class, requests::pod_limits};
use crate::{allocation::PodResources, config::KubeletConfig, pod::uid};

const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const SHARES_PER_CPU: i64 = 1024;
const MIN_QUOTA_US: i64 = 1000;

/// CPU requests as shares.
fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 {
        MIN_SHARES
    } else {
        (milli_cpu * SHARES_PER_CPU / 1000).clamp(MIN_SHARES, MAX_SHARES)
    }
}

/// CPU limits as quota; 0 for none.
fn quota(milli_cpu: i64, period_us: i64) -> i64 {
    if milli_cpu == 0 {
        0
    } else {
        (milli_cpu * period_us / 1000).max(MIN_QUOTA_US)
    }
}

/// The path of a pod's cgroup, as `cgroup_parent` of its sandbox.
pub fn cgroup_parent(config: &KubeletConfig, pod: &Pod) -> String {
    let root = config.cgroup_root.trim_end_matches('/');
    let class = match qos_class(pod) {
        QosClass::Guaranteed => "",
        QosClass::Burstable => "burstable/",
        QosClass::BestEffort => "besteffort/",
    };
    format!("{root}/kubepods/{class}pod{}", uid(pod))
}

/// What the runtime sets on one container.
pub fn container_resources(
    config: &KubeletConfig,
    pod: &Pod,
    container: &Container,
    node_memory_bytes: i64,
) -> LinuxContainerResources {
    let list = |limits: bool, name: &str| -> Option<i64> {
        let resources = container.resources.as_ref()?;
        let list = if limits {
            &resources.limits
        } else {
            &resources.requests
        };
        list.as_ref()?
            .get(name)
            .map(|quantity| amount(name, quantity))
    };
    let cpu_limit = list(true, "cpu").unwrap_or_default();
    // A container that limits but does not ask is asking for its limit.
    let cpu_request = list(false, "cpu").unwrap_or(cpu_limit);
    let period = i64::try_from(config.cpu_cfs_quota_period.as_micros()).unwrap_or(100_000);
    let quota = if config.cpu_cfs_quota {
        quota(cpu_limit, period)
    } else {
        0
    };
    let memory = list(true, "memory").unwrap_or_default();
    LinuxContainerResources {
        cpu_period: period,
        cpu_quota: quota,
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: memory,
        // As much as memory alone: no swap.
        memory_swap_limit_in_bytes: memory,
        oom_score_adj: oom_score_adj(pod, container, node_memory_bytes),
        ..LinuxContainerResources::default()
    }
}

/// What holds for the pod as a whole.
pub fn pod_resources(config: &KubeletConfig, pod: &Pod) -> LinuxContainerResources {
    let requests = pod_requests(pod);
    let limits = pod_limits(pod);
    let of = |list: &super::Requests, name| list.get(name).copied().unwrap_or_default();
    let period = i64::try_from(config.cpu_cfs_quota_period.as_micros()).unwrap_or(100_000);
    LinuxContainerResources {
        cpu_shares: shares(of(&requests, "cpu")),
        cpu_period: period,
        cpu_quota: if config.cpu_cfs_quota {
            quota(of(&limits, "cpu"), period)
        } else {
            0
        },
        memory_limit_in_bytes: of(&limits, "memory"),
        ..LinuxContainerResources::default()
    }
}

/// The larger of two sizes; no limit is larger than any.
fn larger(a: &LinuxContainerResources, b: &LinuxContainerResources) -> LinuxContainerResources {
    let limit = |a: i64, b: i64| if a > 0 && b > 0 { a.max(b) } else { 0 };
    LinuxContainerResources {
        cpu_shares: a.cpu_shares.max(b.cpu_shares),
        cpu_quota: limit(a.cpu_quota, b.cpu_quota),
        memory_limit_in_bytes: limit(a.memory_limit_in_bytes, b.memory_limit_in_bytes),
        ..a.clone()
    }
}

/// Makes and removes pods' cgroups.
#[derive(Clone, Debug)]
pub struct PodCgroups {
    hierarchy: Option<Arc<Hierarchy>>,
    config: Arc<KubeletConfig>,
}

impl PodCgroups {
    /// On this machine's hierarchy, or none at all if the configuration says so.
    pub fn new(config: Arc<KubeletConfig>) -> io::Result<Self> {
        let hierarchy = if config.cgroups_per_qos {
            Some(Arc::new(Hierarchy::detect()?))
        } else {
            None
        };
        Ok(Self { hierarchy, config })
    }

    /// Makes `kubepods` and the cgroups of the two lesser classes. Idempotent.
    pub fn prepare(&self) -> io::Result<()> {
        let Some(hierarchy) = &self.hierarchy else {
            return Ok(());
        };
        let root = self.config.cgroup_root.trim_end_matches('/');
        let best_effort = Resources {
            cpu_shares: Some(2),
            ..Resources::default()
        };
        for (path, resources) in [
            ("kubepods", Resources::default()),
            ("kubepods/burstable", Resources::default()),
            ("kubepods/besteffort", best_effort),
        ] {
            let cgroup = Cgroup::new(hierarchy.clone(), &format!("{root}/{path}"))?;
            cgroup.create()?;
            cgroup.apply(&resources)?;
        }
        Ok(())
    }

    /// Whether a container's limits can hold without a cgroup of the pod.
    pub fn enabled(&self) -> bool {
        self.hierarchy.is_some()
    }

    /// Makes the pod's cgroup and sets its limits: what was allocated to it, or what its cgroups have where that is more, so that a
    /// resize finds room. Idempotent.
    pub fn ensure(&self, pod: &Pod, actuated: &PodResources) -> io::Result<()> {
        let Some(cgroup) = self.cgroup(pod)? else {
            return Ok(());
        };
        if !cgroup.exists() {
            cgroup.create()?;
        }
        let mut values = pod_resources(&self.config, pod);
        if let Some(now) = actuated.put_into(pod) {
            values = larger(&values, &pod_resources(&self.config, &now));
        }
        cgroup.apply(&Resources {
            cpu_shares: u64::try_from(values.cpu_shares).ok(),
            cpu_quota_us: Some(if values.cpu_quota > 0 {
                values.cpu_quota
            } else {
                -1
            }),
            cpu_period_us: u64::try_from(values.cpu_period).ok(),
            memory_limit: (values.memory_limit_in_bytes > 0)
                .then_some(values.memory_limit_in_bytes),
            pids_limit: self.config.pod_pids_limit,
            ..Resources::default()
        })
    }

    /// Kills what is left in the pod's cgroup and removes it. Idempotent.
    pub fn remove(&self, pod: &Pod) -> io::Result<()> {
        let Some(cgroup) = self.cgroup(pod)? else {
            return Ok(());
        };
        if cgroup
            .directories()
            .iter()
            .all(|directory| !directory.exists())
        {
            return Ok(());
        }
        cgroup.kill()?;
        cgroup.remove()
    }

    fn cgroup(&self, pod: &Pod) -> io::Result<Option<Cgroup>> {
        let Some(hierarchy) = &self.hierarchy else {
            return Ok(None);
        };
        Cgroup::new(hierarchy.clone(), &cgroup_parent(&self.config, pod)).map(Some)
    }
}
