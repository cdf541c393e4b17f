//! The flags that are settings of single controllers.

use std::time::Duration;

use anyhow::ensure;
use clap::{ArgAction, Args};

use crate::components::flags::duration;

/// Upstream's names and defaults.
#[derive(Debug, Args)]
pub(super) struct Settings {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    autoscaling: Autoscaling,
    #[command(flatten)]
    syncs: Syncs,
    /// Pods that have ended, from which on the oldest are deleted; 0 keeps all
    #[arg(long, default_value_t = 12_500, allow_hyphen_values = true)]
    terminated_pod_gc_threshold: i32,
    /// Delete what is owned by what has gone
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    enable_garbage_collector: bool,
    /// How often all quotas are counted anew
    #[arg(long, default_value = "5m0s", value_parser = duration)]
    resource_quota_sync_period: Duration,
    /// How often claims that wait are looked at
    #[arg(long, default_value = "15s", value_parser = duration)]
    pvclaimbinder_sync_period: Duration,
}

/// Nodes: their ranges of addresses, and when they count as gone.
#[derive(Debug, Args)]
struct Nodes {
    /// Give each node a range of pod addresses
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    allocate_node_cidrs: bool,
    /// Ranges of the cluster's pod addresses
    #[arg(long, value_delimiter = ',')]
    cluster_cidr: Vec<String>,
    /// Prefix length of a node's range, where the cluster has one family of addresses
    #[arg(long)]
    node_cidr_mask_size: Option<u8>,
    /// Prefix length of a node's IPv4 range; 24 if not given
    #[arg(long)]
    node_cidr_mask_size_ipv4: Option<u8>,
    /// Prefix length of a node's IPv6 range; 64 if not given
    #[arg(long)]
    node_cidr_mask_size_ipv6: Option<u8>,
    /// How often nodes are looked at
    #[arg(long, default_value = "5s", value_parser = duration)]
    node_monitor_period: Duration,
    /// After how long of silence a node is unknown
    #[arg(long, default_value = "50s", value_parser = duration)]
    node_monitor_grace_period: Duration,
    /// The same for a node that has just registered
    #[arg(long, default_value = "1m0s", value_parser = duration)]
    node_startup_grace_period: Duration,
    /// Nodes a second from which pods are evicted, in a zone that is well
    #[arg(long, default_value_t = 0.1)]
    node_eviction_rate: f64,
    /// The same in a large zone that is not
    #[arg(long, default_value_t = 0.01)]
    secondary_node_eviction_rate: f64,
    /// In zones of no more nodes nothing is evicted when they are not well
    #[arg(long, default_value_t = 50)]
    large_cluster_size_threshold: usize,
    /// Share of nodes that are not ready from which on a zone is not well
    #[arg(long, default_value_t = 0.55)]
    unhealthy_zone_threshold: f64,
}

/// Horizontal pod autoscaling.
#[derive(Debug, Args)]
struct Autoscaling {
    /// How often each autoscaler is looked at
    #[arg(long, default_value = "15s", value_parser = duration)]
    horizontal_pod_autoscaler_sync_period: Duration,
    /// How long the highest recommendation counts
    #[arg(long, default_value = "5m0s", value_parser = duration)]
    horizontal_pod_autoscaler_downscale_stabilization: Duration,
    /// By how much a ratio may differ from one without anything being done
    #[arg(long, default_value_t = 0.1)]
    horizontal_pod_autoscaler_tolerance: f64,
    /// How long after a pod's start its CPU may be that of the start alone
    #[arg(long, default_value = "5m0s", value_parser = duration)]
    horizontal_pod_autoscaler_cpu_initialization_period: Duration,
    /// How long after a pod's start changes of its readiness count as its first
    #[arg(long, default_value = "30s", value_parser = duration)]
    horizontal_pod_autoscaler_initial_readiness_delay: Duration,
}

/// How many objects of a kind are worked on at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "How many objects are worked on at once")]
struct Syncs {
    /// CronJobs
    #[arg(long, default_value_t = 5)]
    concurrent_cron_job_syncs: usize,
    /// DaemonSets
    #[arg(long, default_value_t = 2)]
    concurrent_daemonset_syncs: usize,
    /// Deployments
    #[arg(long, default_value_t = 5)]
    concurrent_deployment_syncs: usize,
    /// Services, for their Endpoints
    #[arg(long, default_value_t = 5)]
    concurrent_endpoint_syncs: usize,
    /// Pods, for their ephemeral volumes
    #[arg(long, default_value_t = 5)]
    concurrent_ephemeralvolume_syncs: usize,
    /// Objects whose owners may have gone
    #[arg(long, default_value_t = 20)]
    concurrent_gc_syncs: usize,
    /// HorizontalPodAutoscalers
    #[arg(long, default_value_t = 5)]
    concurrent_horizontal_pod_autoscaler_syncs: usize,
    /// Jobs
    #[arg(long, default_value_t = 5)]
    concurrent_job_syncs: usize,
    /// Endpoints, for mirrored EndpointSlices
    #[arg(long, default_value_t = 5)]
    mirroring_concurrent_service_endpoint_syncs: usize,
    /// Namespaces
    #[arg(long, default_value_t = 10)]
    concurrent_namespace_syncs: usize,
    /// ReplicationControllers
    #[arg(long, default_value_t = 5)]
    concurrent_rc_syncs: usize,
    /// ReplicaSets
    #[arg(long, default_value_t = 5)]
    concurrent_replicaset_syncs: usize,
    /// ResourceQuotas
    #[arg(long, default_value_t = 5)]
    concurrent_resource_quota_syncs: usize,
    /// Services, for their EndpointSlices
    #[arg(long, default_value_t = 5)]
    concurrent_service_endpoint_syncs: usize,
    /// Secrets that hold tokens
    #[arg(long, default_value_t = 5)]
    concurrent_serviceaccount_token_syncs: usize,
    /// StatefulSets
    #[arg(long, default_value_t = 5)]
    concurrent_statefulset_syncs: usize,
    /// Jobs that are to be deleted
    #[arg(long, default_value_t = 5)]
    concurrent_ttl_after_finished_syncs: usize,
    /// ValidatingAdmissionPolicies, for their status
    #[arg(long, default_value_t = 5)]
    concurrent_validating_admission_policy_status_syncs: usize,
}

impl Settings {
    /// Writes them into the configuration.
    pub(super) fn apply(&self, config: &mut controllers::Config) -> anyhow::Result<()> {
        self.nodes.apply(config)?;
        self.autoscaling.apply(config);
        self.syncs.apply(config);
        // Less than nothing keeps all, as nothing does.
        let threshold = usize::try_from(self.terminated_pod_gc_threshold);
        config.terminated_pod_gc_threshold = threshold.unwrap_or(0);
        config.enable_garbage_collector = self.enable_garbage_collector;
        config.resource_quota_sync_period = self.resource_quota_sync_period;
        config.claim_binder_sync_period = self.pvclaimbinder_sync_period;
        Ok(())
    }
}

impl Nodes {
    fn apply(&self, config: &mut controllers::Config) -> anyhow::Result<()> {
        config.allocate_node_cidrs = self.allocate_node_cidrs;
        config.cluster_cidr.clone_from(&self.cluster_cidr);
        let has_six = self.cluster_cidr.iter().any(|range| range.contains(':'));
        let has_four = self.cluster_cidr.iter().any(|range| !range.contains(':'));
        let (mut four, mut six) = (self.node_cidr_mask_size_ipv4, self.node_cidr_mask_size_ipv6);
        if let Some(size) = self.node_cidr_mask_size {
            ensure!(
                !(has_four && has_six),
                "usage of --node-cidr-mask-size is not allowed with dual-stack clusters"
            );
            ensure!(
                four.is_none() && six.is_none(),
                "usage of --node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6 is not allowed if --node-cidr-mask-size is set. \
                 For dual-stack clusters please unset it and use IPFamily specific flags"
            );
            match has_six {
                true => six = Some(size),
                false => four = Some(size),
            }
        }
        config.node_cidr_mask_size_ipv4 = four.unwrap_or(config.node_cidr_mask_size_ipv4);
        config.node_cidr_mask_size_ipv6 = six.unwrap_or(config.node_cidr_mask_size_ipv6);
        config.node_monitor_period = self.node_monitor_period;
        config.node_monitor_grace_period = self.node_monitor_grace_period;
        config.node_startup_grace_period = self.node_startup_grace_period;
        config.node_eviction = controllers::NodeEviction {
            rate: self.node_eviction_rate,
            secondary_rate: self.secondary_node_eviction_rate,
            large_cluster_size_threshold: self.large_cluster_size_threshold,
            unhealthy_zone_threshold: self.unhealthy_zone_threshold,
        };
        Ok(())
    }
}

impl Autoscaling {
    fn apply(&self, config: &mut controllers::Config) {
        config.autoscaling = controllers::Autoscaling {
            sync_period: self.horizontal_pod_autoscaler_sync_period,
            downscale_stabilization: self.horizontal_pod_autoscaler_downscale_stabilization,
            tolerance: self.horizontal_pod_autoscaler_tolerance,
            cpu_initialization_period: self.horizontal_pod_autoscaler_cpu_initialization_period,
            initial_readiness_delay: self.horizontal_pod_autoscaler_initial_readiness_delay,
        };
    }
}

impl Syncs {
    fn apply(&self, config: &mut controllers::Config) {
        config.concurrent_syncs = controllers::ConcurrentSyncs {
            cron_job: self.concurrent_cron_job_syncs,
            daemon_set: self.concurrent_daemonset_syncs,
            deployment: self.concurrent_deployment_syncs,
            endpoint: self.concurrent_endpoint_syncs,
            ephemeral_volume: self.concurrent_ephemeralvolume_syncs,
            garbage_collector: self.concurrent_gc_syncs,
            horizontal_pod_autoscaler: self.concurrent_horizontal_pod_autoscaler_syncs,
            job: self.concurrent_job_syncs,
            mirroring: self.mirroring_concurrent_service_endpoint_syncs,
            namespace: self.concurrent_namespace_syncs,
            replication_controller: self.concurrent_rc_syncs,
            replica_set: self.concurrent_replicaset_syncs,
            resource_quota: self.concurrent_resource_quota_syncs,
            service_endpoint: self.concurrent_service_endpoint_syncs,
            service_account_token: self.concurrent_serviceaccount_token_syncs,
            stateful_set: self.concurrent_statefulset_syncs,
            ttl_after_finished: self.concurrent_ttl_after_finished_syncs,
            validating_admission_policy_status: self
                .concurrent_validating_admission_policy_status_syncs,
            ..controllers::ConcurrentSyncs::default()
        };
    }
}
