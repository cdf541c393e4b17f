//! `ironclad kube-controller-manager`.

mod settings;
mod without_effect;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use base::Clock;
use clap::{ArgAction, Args};
use client::{InformerFactory, LeaderHealthz};
use component_base::{Check, Checks, Server};
use serde_json::{Value, json};

use self::{settings::Settings, without_effect::NoEffect};
use super::{
    flags::{
        LeaderElectionFlags, SecureServingFlags, WithoutEffect, duration, leader_election::election,
    },
    process::{self, ClientFlags},
    serving,
};
use crate::token_signer;

const NAME: &str = "kube-controller-manager";
/// Upstream's port.
pub(crate) const PORT: u16 = 10257;

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    client: ClientFlags,
    /// The API server's address, whatever the kubeconfig says
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    #[command(flatten)]
    leader_election: LeaderElectionFlags,
    #[command(flatten)]
    serving: SecureServingFlags,
    /// Give each controller the credentials of a service account of its own
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    use_service_account_credentials: bool,
    /// Controllers to run: `*` is all that are on by default, `name` one more, `-name` one less
    #[arg(long, value_delimiter = ',', default_value = "*")]
    controllers: Vec<String>,
    /// Authorities that pods shall trust when they speak to the API server; PEM
    #[arg(long, value_name = "FILE")]
    root_ca_file: Option<PathBuf>,
    /// The authority that signs certificate requests; PEM
    #[arg(long, value_name = "FILE", requires = "cluster_signing_key_file")]
    cluster_signing_cert_file: Option<PathBuf>,
    /// Its key; PEM
    #[arg(long, value_name = "FILE", requires = "cluster_signing_cert_file")]
    cluster_signing_key_file: Option<PathBuf>,
    /// The longest life of what it signs
    #[arg(long, default_value = "8760h", value_parser = duration)]
    cluster_signing_duration: Duration,
    /// The key that signs the tokens of Secrets of type kubernetes.io/service-account-token; PEM
    #[arg(long, value_name = "FILE")]
    service_account_private_key_file: Option<PathBuf>,
    /// How long such a token that the server made may be unused before it is invalid, and invalid before it is deleted
    #[arg(long, default_value = "8760h", value_parser = duration)]
    legacy_service_account_token_clean_up_period: Duration,
    /// Whose cloud controllers run: nobody's, or those of a program of the provider's own (external)
    #[arg(long, value_parser = ["external"])]
    cloud_provider: Option<String>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    no_effect: WithoutEffect<NoEffect>,
}

/// Runs until stopped or until the lead is lost.
pub(crate) fn run(mut flags: Flags) -> anyhow::Result<()> {
    flags.client.master = flags.master.take();
    process::run(|cancel, tasks| async move {
        flags.no_effect.report();
        let clock = Clock::system();
        let metrics = serving::registry();
        let client = flags.client.metered_client(NAME, &metrics)?;
        let config = flags.config()?;
        let leader_healthz = LeaderHealthz::new(
            config
                .leader_election
                .as_ref()
                .map_or(NAME, |election| &election.resource_name),
        );
        if config.leader_election.is_some() {
            leader_healthz.register(&metrics);
        }
        let listening = flags.serving.listen(NAME, PORT, &tasks, &clock).await?;
        if let Some((listener, guard)) = listening {
            let server = serving::server(NAME, &metrics, &clock);
            let server = with_pages(server, &config, &leader_healthz).guarded_by(guard);
            let connections = tasks.clone();
            tasks.spawn("secure-serving", async move {
                server.serve(listener, &connections).await;
            });
        }
        let bare_transport = match flags.use_service_account_credentials {
            true => Some(flags.client.bare_transport()?),
            false => None,
        };
        let deps = controllers::Deps {
            informers: InformerFactory::new(client.clone(), tasks),
            client,
            bare_transport,
            clock,
            metrics,
            leader_healthz,
        };
        Ok(controllers::run(config, deps, cancel).await?)
    })
}

/// Health and configuration of a controller manager.
pub(crate) fn with_pages(
    server: Server,
    config: &controllers::Config,
    healthz: &LeaderHealthz,
) -> Server {
    let election: Vec<Check> = config
        .leader_election
        .iter()
        .map(|_| serving::leader_election(healthz))
        .collect();
    server
        .with_checks("healthz", Checks::new(election.clone()))
        .with_checks("livez", Checks::new(election.clone()))
        .with_checks("readyz", Checks::new(election))
        .with_configuration("kubecontrollermanager.config.k8s.io", shown(config))
}

/// `KubeControllerManagerConfiguration`, as far as it is known here.
fn shown(config: &controllers::Config) -> Value {
    let election = config.leader_election.as_ref();
    let go = |duration: Duration| apimachinery::time::format_duration(duration.as_nanos() as i64);
    let (syncs, scaling) = (&config.concurrent_syncs, &config.autoscaling);
    json!({
        "kind": "KubeControllerManagerConfiguration",
        "apiVersion": "kubecontrollermanager.config.k8s.io/v1alpha1",
        "Generic": {
            "Controllers": config.controllers,
            "LeaderElection": {
                "leaderElect": election.is_some(),
                "leaseDuration": election.map(|e| go(e.lease_duration)),
                "renewDeadline": election.map(|e| go(e.renew_deadline)),
                "retryPeriod": election.map(|e| go(e.retry_period)),
                "resourceLock": "leases",
                "resourceName": election.map(|e| &e.resource_name),
                "resourceNamespace": election.map(|e| &e.resource_namespace),
            },
        },
        "KubeCloudShared": {
            "AllocateNodeCIDRs": config.allocate_node_cidrs,
            "ClusterCIDR": config.cluster_cidr.join(","),
            "NodeMonitorPeriod": go(config.node_monitor_period),
        },
        "CronJobController": { "ConcurrentCronJobSyncs": syncs.cron_job },
        "CSRSigningController": { "ClusterSigningDuration": go(config.cluster_signing_duration) },
        "DaemonSetController": { "ConcurrentDaemonSetSyncs": syncs.daemon_set },
        "DeploymentController": { "ConcurrentDeploymentSyncs": syncs.deployment },
        "EndpointController": { "ConcurrentEndpointSyncs": syncs.endpoint },
        "EndpointSliceController": { "ConcurrentServiceEndpointSyncs": syncs.service_endpoint },
        "EndpointSliceMirroringController": { "MirroringConcurrentServiceEndpointSyncs": syncs.mirroring },
        "EphemeralVolumeController": { "ConcurrentEphemeralVolumeSyncs": syncs.ephemeral_volume },
        "GarbageCollectorController": {
            "EnableGarbageCollector": config.enable_garbage_collector,
            "ConcurrentGCSyncs": syncs.garbage_collector,
        },
        "HPAController": {
            "ConcurrentHorizontalPodAutoscalerSyncs": syncs.horizontal_pod_autoscaler,
            "HorizontalPodAutoscalerSyncPeriod": go(scaling.sync_period),
            "HorizontalPodAutoscalerDownscaleStabilizationWindow": go(scaling.downscale_stabilization),
            "HorizontalPodAutoscalerTolerance": scaling.tolerance,
            "HorizontalPodAutoscalerCPUInitializationPeriod": go(scaling.cpu_initialization_period),
            "HorizontalPodAutoscalerInitialReadinessDelay": go(scaling.initial_readiness_delay),
        },
        "JobController": { "ConcurrentJobSyncs": syncs.job },
        "NamespaceController": { "ConcurrentNamespaceSyncs": syncs.namespace },
        "NodeIPAMController": {
            "NodeCIDRMaskSizeIPv4": config.node_cidr_mask_size_ipv4,
            "NodeCIDRMaskSizeIPv6": config.node_cidr_mask_size_ipv6,
        },
        "NodeLifecycleController": {
            "NodeEvictionRate": config.node_eviction.rate,
            "SecondaryNodeEvictionRate": config.node_eviction.secondary_rate,
            "LargeClusterSizeThreshold": config.node_eviction.large_cluster_size_threshold,
            "UnhealthyZoneThreshold": config.node_eviction.unhealthy_zone_threshold,
            "NodeStartupGracePeriod": go(config.node_startup_grace_period),
            "NodeMonitorGracePeriod": go(config.node_monitor_grace_period),
        },
        "PersistentVolumeBinderController": { "PVClaimBinderSyncPeriod": go(config.claim_binder_sync_period) },
        "PodGCController": { "TerminatedPodGCThreshold": config.terminated_pod_gc_threshold },
        "ReplicaSetController": { "ConcurrentRSSyncs": syncs.replica_set },
        "ReplicationController": { "ConcurrentRCSyncs": syncs.replication_controller },
        "ResourceQuotaController": {
            "ConcurrentResourceQuotaSyncs": syncs.resource_quota,
            "ResourceQuotaSyncPeriod": go(config.resource_quota_sync_period),
        },
        "SAController": { "ConcurrentSATokenSyncs": syncs.service_account_token },
        "StatefulSetController": { "ConcurrentStatefulSetSyncs": syncs.stateful_set },
        "TTLAfterFinishedController": { "ConcurrentTTLSyncs": syncs.ttl_after_finished },
    })
}

impl Flags {
    fn config(&self) -> anyhow::Result<controllers::Config> {
        let read = |file: &Option<PathBuf>| match file {
            Some(file) => std::fs::read_to_string(file)
                .map(Some)
                .with_context(|| format!("reading {}", file.display())),
            None => Ok(None),
        };
        let signing = read(&self.cluster_signing_cert_file)?;
        let sign_token = self.service_account_private_key_file.as_deref();
        let mut config = controllers::Config {
            controllers: self.controllers.clone(),
            leader_election: self.leader_election.config(true, election(NAME))?,
            root_ca: read(&self.root_ca_file)?,
            cluster_signing: signing.zip(read(&self.cluster_signing_key_file)?),
            cluster_signing_duration: self.cluster_signing_duration,
            sign_token: sign_token.map(token_signer::from_file).transpose()?,
            legacy_token_clean_up_period: self.legacy_service_account_token_clean_up_period,
            ..controllers::Config::default()
        };
        self.settings.apply(&mut config)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
