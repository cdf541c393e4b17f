//! What every controller is given.

use std::{sync::Arc, time::Duration};

use base::{Clock, TaskGroup};
use client::{Client, EventRecorder, InformerFactory, LeaderElectionConfig};
use serde_json::Value;

/// Signs the claims of a service account token; the error is told as it is.
pub type SignToken = Arc<dyn Fn(&Value) -> Result<String, String> + Send + Sync>;

/// The controller manager's configuration, under upstream's flag names.
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
    /// `--terminated-pod-gc-threshold`: 0 keeps all.
    pub terminated_pod_gc_threshold: usize,
    /// `--concurrent-deployment-syncs` and all its siblings.
    pub concurrent_syncs: usize,
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
            terminated_pod_gc_threshold: 12_500,
            concurrent_syncs: 5,
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

/// A controller's dependencies. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ControllerContext {
    pub(crate) client: Client,
    pub(crate) informers: InformerFactory,
    /// Already under the controller's name.
    pub(crate) recorder: EventRecorder,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) tasks: TaskGroup,
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
