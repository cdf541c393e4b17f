//! The controller manager's configuration, under upstream's flag names and with upstream's defaults.

use std::{sync::Arc, time::Duration};

use client::LeaderElectionConfig;
use serde_json::Value;

/// Signs the claims of a service account token; the error is told as it is.
pub type SignToken = Arc<dyn Fn(&Value) -> Result<String, String> + Send + Sync>;

/// What the controller manager is told.
#[derive(Clone)]
pub struct Config {
    /// `--controllers`: `*` is all that are on by default, `name` one more, `-name` one less.
    pub controllers: Vec<String>,
    /// `--leader-elect` and its durations; nothing runs without election.
    pub leader_election: Option<LeaderElectionConfig>,
    /// `--root-ca-file`: what `kube-root-ca.crt` holds, as PEM.
    pub root_ca: Option<String>,
    /// `--cluster-signing-cert-file` and `--cluster-signing-key-file`, as PEM: what certificate requests are signed with.
    pub cluster_signing: Option<(String, String)>,
    /// `--cluster-signing-duration`: the longest life of a certificate.
    pub cluster_signing_duration: Duration,
    /// `--service-account-private-key-file`: signs the tokens that Secrets hold. Without it such Secrets are left alone.
    pub sign_token: Option<SignToken>,
    /// `--legacy-service-account-token-clean-up-period`, in whole days.
    pub legacy_token_clean_up_period: Duration,
    /// `--allocate-node-cidrs`.
    pub allocate_node_cidrs: bool,
    /// `--cluster-cidr`: one IPv4 and at most one IPv6 range.
    pub cluster_cidr: Vec<String>,
    /// `--node-cidr-mask-size` (and `-ipv4`).
    pub node_cidr_mask_size_ipv4: u8,
    /// `--node-cidr-mask-size-ipv6`.
    pub node_cidr_mask_size_ipv6: u8,
    /// `--node-monitor-period`.
    pub node_monitor_period: Duration,
    /// `--node-monitor-grace-period`: a node that has not been heard of for so long is unknown.
    pub node_monitor_grace_period: Duration,
    /// `--node-startup-grace-period`: the same for a node that has just registered.
    pub node_startup_grace_period: Duration,
    /// How fast pods are evicted from nodes that are gone.
    pub node_eviction: NodeEviction,
    /// `--terminated-pod-gc-threshold`: 0 keeps all.
    pub terminated_pod_gc_threshold: usize,
    /// `--enable-garbage-collector`.
    pub enable_garbage_collector: bool,
    /// `--resource-quota-sync-period`: all quotas are counted anew so often.
    pub resource_quota_sync_period: Duration,
    /// `--pvclaimbinder-sync-period`: all claims and volumes are looked at so often.
    pub claim_binder_sync_period: Duration,
    /// `--horizontal-pod-autoscaler-*`.
    pub autoscaling: Autoscaling,
    /// `--concurrent-*-syncs`.
    pub concurrent_syncs: ConcurrentSyncs,
}

/// How fast pods are evicted from nodes that are gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeEviction {
    /// `--node-eviction-rate`: nodes a second, in a zone that is well.
    pub rate: f64,
    /// `--secondary-node-eviction-rate`: the same in a large zone that is not.
    pub secondary_rate: f64,
    /// `--large-cluster-size-threshold`: in zones of no more nodes nothing is evicted when they are not well.
    pub large_cluster_size_threshold: usize,
    /// `--unhealthy-zone-threshold`: the share of nodes that are not ready from which on a zone is not well.
    pub unhealthy_zone_threshold: f64,
}

impl Default for NodeEviction {
    fn default() -> Self {
        Self {
            rate: 0.1,
            secondary_rate: 0.01,
            large_cluster_size_threshold: 50,
            unhealthy_zone_threshold: 0.55,
        }
    }
}

/// `--horizontal-pod-autoscaler-*`, by what follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Autoscaling {
    /// `sync-period`.
    pub sync_period: Duration,
    /// `downscale-stabilization`: the highest recommendation of this time counts.
    pub downscale_stabilization: Duration,
    /// `tolerance`: by which a ratio may differ from one without anything being done.
    pub tolerance: f64,
    /// `cpu-initialization-period`: so long after a pod's start its CPU may be that of the start alone.
    pub cpu_initialization_period: Duration,
    /// `initial-readiness-delay`: so long after a pod's start changes of its readiness are the first one.
    pub initial_readiness_delay: Duration,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            downscale_stabilization: Duration::from_secs(300),
            tolerance: 0.1,
            cpu_initialization_period: Duration::from_secs(300),
            initial_readiness_delay: Duration::from_secs(30),
        }
    }
}

/// How many objects of a kind are worked on at once: `--concurrent-*-syncs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrentSyncs {
    /// `cron-job`
    pub cron_job: usize,
    /// `daemonset`
    pub daemon_set: usize,
    /// `deployment`
    pub deployment: usize,
    /// `endpoint`
    pub endpoint: usize,
    /// `ephemeralvolume`
    pub ephemeral_volume: usize,
    /// `gc`
    pub garbage_collector: usize,
    /// `horizontal-pod-autoscaler`
    pub horizontal_pod_autoscaler: usize,
    /// `job`
    pub job: usize,
    /// `mirroring-concurrent-service-endpoint-syncs`
    pub mirroring: usize,
    /// `namespace`
    pub namespace: usize,
    /// `rc`
    pub replication_controller: usize,
    /// `replicaset`
    pub replica_set: usize,
    /// `resource-quota`
    pub resource_quota: usize,
    /// `service-endpoint`
    pub service_endpoint: usize,
    /// `serviceaccount-token`
    pub service_account_token: usize,
    /// `statefulset`
    pub stateful_set: usize,
    /// `ttl-after-finished`
    pub ttl_after_finished: usize,
    /// `validating-admission-policy-status`
    pub validating_admission_policy_status: usize,
    /// Of those that have no flag.
    pub others: usize,
}

impl Default for ConcurrentSyncs {
    fn default() -> Self {
        Self {
            cron_job: 5,
            daemon_set: 2,
            deployment: 5,
            endpoint: 5,
            ephemeral_volume: 5,
            garbage_collector: 20,
            horizontal_pod_autoscaler: 5,
            job: 5,
            mirroring: 5,
            namespace: 10,
            replication_controller: 5,
            replica_set: 5,
            resource_quota: 5,
            service_endpoint: 5,
            service_account_token: 5,
            stateful_set: 5,
            ttl_after_finished: 5,
            validating_admission_policy_status: 5,
            others: 5,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            controllers: vec!["*".to_owned()],
            leader_election: None,
            root_ca: None,
            cluster_signing: None,
            cluster_signing_duration: Duration::from_secs(365 * 24 * 3600),
            sign_token: None,
            legacy_token_clean_up_period: Duration::from_secs(365 * 24 * 3600),
            allocate_node_cidrs: false,
            cluster_cidr: Vec::new(),
            node_cidr_mask_size_ipv4: 24,
            node_cidr_mask_size_ipv6: 64,
            node_monitor_period: Duration::from_secs(5),
            node_monitor_grace_period: Duration::from_secs(50),
            node_startup_grace_period: Duration::from_secs(60),
            node_eviction: NodeEviction::default(),
            terminated_pod_gc_threshold: 12_500,
            enable_garbage_collector: true,
            resource_quota_sync_period: Duration::from_secs(5 * 60),
            claim_binder_sync_period: Duration::from_secs(15),
            autoscaling: Autoscaling::default(),
            concurrent_syncs: ConcurrentSyncs::default(),
        }
    }
}

impl Config {
    /// Whether a controller runs.
    pub fn enables(&self, name: &str, default_on: bool) -> bool {
        let mut star = false;
        for entry in &self.controllers {
            match entry.as_str() {
                "*" => star = true,
                entry if entry == name => return true,
                entry if entry.strip_prefix('-') == Some(name) => return false,
                _ => {}
            }
        }
        star && default_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_controllers_run() {
        let config = |list: &[&str]| Config {
            controllers: list.iter().map(|name| (*name).to_owned()).collect(),
            ..Config::default()
        };
        assert!(config(&["*"]).enables("job-controller", true));
        assert!(!config(&["*"]).enables("token-cleaner-controller", false));
        assert!(
            config(&["*", "token-cleaner-controller"]).enables("token-cleaner-controller", false)
        );
        assert!(!config(&["*", "-job-controller"]).enables("job-controller", true));
        assert!(config(&["job-controller"]).enables("job-controller", true));
        assert!(!config(&["job-controller"]).enables("node-ipam-controller", true));
    }
}
