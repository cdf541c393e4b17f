//! `ironclad kubelet`, with the container runtime and the pod network in its process.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use base::Clock;
use clap::Args;
use kubelet::{KubeletConfig, KubeletDeps};
use network::{Bridge, BridgeConfig, Cidr, PodNetwork};
use runtime::Runtime;

use super::process::{self, ClientFlags};
use crate::{
    cli::DataDir,
    up::{
        cluster::shim_command,
        place::{BRIDGE, Place},
    },
};

/// Upstream's flags, and fields of its configuration file under their names.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    client: ClientFlags,
    #[command(flatten)]
    data_dir: DataDir,
    /// The node's name; the host's if not given
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// The node's addresses, the primary first
    #[arg(long, value_delimiter = ',', required = true)]
    node_ip: Vec<IpAddr>,
    /// Addresses of cluster DNS
    #[arg(long, value_delimiter = ',')]
    cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Range of all pod addresses of the cluster
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16")]
    cluster_cidr: Cidr,
    /// Range of this node's pod addresses, where no API server hands one out
    #[arg(long, value_name = "CIDR")]
    pod_cidr: Option<String>,
    /// Directory of manifests of static pods
    #[arg(long, value_name = "DIR")]
    pod_manifest_path: Option<PathBuf>,
    /// Port of the kubelet's HTTPS server
    #[arg(long, default_value_t = 10250)]
    port: u16,
}

/// Runs until stopped; pods run on.
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    let place = Place::new(&flags.data_dir.path);
    process::run(|cancel, tasks| async move {
        let clock = Clock::system();
        let network = Bridge::open(BridgeConfig {
            bridge: BRIDGE.to_owned(),
            directory: place.file("network"),
            mtu: None,
            cluster_cidrs: vec![flags.cluster_cidr],
        })
        .await
        .context("setting up the pod network")?;
        let runtime = Runtime::new(
            runtime::Config {
                root: place.file("runtime"),
                state: place.state_dir(),
                cgroup_root: place.cgroup_root(),
                shim_command: shim_command()?,
                network: Arc::new(network) as Arc<dyn PodNetwork>,
                clock: clock.clone(),
            },
            tasks.clone(),
        )
        .await
        .context("opening the container runtime")?;
        // Without an API server the kubelet runs static pods.
        let client = match &flags.client.kubeconfig {
            Some(_) => Some(flags.client.client("kubelet")?),
            None => None,
        };
        let config = KubeletConfig {
            node_ips: flags.node_ip,
            root_dir: place.file("kubelet"),
            pod_logs_dir: place.file("logs/pods"),
            static_pod_path: flags.pod_manifest_path,
            cluster_dns: flags.cluster_dns,
            cluster_domain: flags.cluster_domain,
            cgroup_root: place.cgroup_root(),
            pod_cidr: flags.pod_cidr,
            port: flags.port,
            kubelet_version: crate::cli::version(),
            ..KubeletConfig::new(flags.hostname_override.unwrap_or_else(super::host_name))
        };
        let deps = KubeletDeps {
            client,
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime.clone()),
            streaming: Arc::new(runtime),
            clock,
        };
        let prepared = kubelet::prepare(config, deps, &cancel).await?;
        kubelet::run(prepared, cancel).await;
        Ok(())
    })
}
