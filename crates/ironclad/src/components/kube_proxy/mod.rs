//! `ironclad kube-proxy`.

mod file;
mod pages;

use std::path::PathBuf;

use anyhow::Context as _;
use base::Clock;
use clap::{ArgAction, Args};
use client::{Client, InformerFactory};
use k8s_openapi::api::core::v1::Node;
use network::Cidr;
use proxy::ProxyHealth;

pub(crate) use self::pages::Pages;
use self::{
    file::{Configuration, LocalMode},
    pages::bind_address,
};
use super::{
    flags::{
        Table, WithoutEffect,
        without_effect::{API_CLIENT, Shared},
    },
    process::{self, ClientFlags},
    serving,
};

const NAME: &str = "kube-proxy";
/// Upstream's port of /healthz and /livez.
pub(crate) const HEALTHZ_PORT: u16 = file::HEALTHZ.port;
/// Upstream's port of /metrics.
pub(crate) const METRICS_PORT: u16 = file::METRICS.port;

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1); with one, no other flag counts but --hostname-override
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: ClientFlags,
    /// The API server's address, whatever the kubeconfig says
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    /// This node's name; the host's name if not given
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Ranges of the cluster's pod addresses: traffic to cluster IPs from elsewhere is masqueraded
    #[arg(long, value_delimiter = ',')]
    cluster_cidr: Vec<String>,
    /// Whose family of addresses /healthz and /metrics are served in, where they are not told; 0.0.0.0 or ::
    #[arg(long, value_name = "IP")]
    bind_address: Option<String>,
    /// Where health is served: address and port, nowhere if empty
    #[arg(long, value_name = "ADDRESS")]
    healthz_bind_address: Option<String>,
    /// Where metrics are served: address and port, nowhere if empty
    #[arg(long, value_name = "ADDRESS")]
    metrics_bind_address: Option<String>,
    /// End if one of these addresses cannot be served
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    bind_address_hard_fail: Option<bool>,
    /// How rules are written: nftables, whatever is asked for
    #[arg(long, value_name = "MODE")]
    proxy_mode: Option<String>,
    /// Ranges of the node's addresses that have node ports, or `primary`; all if not given
    #[arg(long, value_delimiter = ',')]
    nodeport_addresses: Vec<String>,
    /// How traffic of pods is known: ClusterCIDR
    #[arg(long, value_name = "MODE")]
    detect_local_mode: Option<String>,
    /// Remove all rules of the proxy and exit
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    cleanup: bool,
    #[command(flatten)]
    no_effect: WithoutEffect<NoEffect>,
}

/// Upstream's flags that change nothing here, and those that are refused.
#[derive(Debug)]
struct NoEffect;

impl Table for NoEffect {
    const SHARED: &'static [Shared] = &[API_CLIENT];
    const SWITCHES: &'static [&'static str] = &[
        "conntrack-tcp-be-liberal",
        "iptables-localhost-nodeports",
        "ipvs-strict-arp",
        "profiling",
    ];
    const SETTINGS: &'static [&'static str] = &[
        "config-sync-period",
        "conntrack-max-per-core",
        "conntrack-min",
        "conntrack-tcp-timeout-close-wait",
        "conntrack-tcp-timeout-established",
        "conntrack-udp-timeout",
        "conntrack-udp-timeout-stream",
        "healthz-port",
        "iptables-masquerade-bit",
        "iptables-min-sync-period",
        "iptables-sync-period",
        "ipvs-exclude-cidrs",
        "ipvs-min-sync-period",
        "ipvs-scheduler",
        "ipvs-sync-period",
        "ipvs-tcp-timeout",
        "ipvs-tcpfin-timeout",
        "ipvs-udp-timeout",
        "metrics-port",
        "oom-score-adj",
        "pod-bridge-interface",
        "pod-interface-name-prefix",
    ];
    const REFUSED: &'static [(&'static str, &'static str)] = &[
        ("init-only", "the proxy needs its privileges all along"),
        (
            "masquerade-all",
            "only what comes from outside the cluster's ranges is masqueraded",
        ),
        ("write-config-to", "the configuration is shown at /configz"),
    ];
}

impl Flags {
    /// The configuration that the file, or else the flags, ask for.
    fn configuration(&self) -> anyhow::Result<Configuration> {
        let mut configuration = match &self.config {
            Some(path) => Configuration::read(path).context("failed to load --config")?,
            None => {
                let mut asked = Configuration::default();
                asked
                    .client_connection
                    .kubeconfig
                    .clone_from(&self.client.kubeconfig);
                asked.cluster_cidr = self.cluster_cidr.join(",");
                asked.bind_address = self.bind_address.clone().unwrap_or_default();
                // Empty is nowhere here, and upstream's address in a file.
                let told = |flag: &Option<String>| match flag.as_deref() {
                    Some("") => file::NOWHERE.to_owned(),
                    told => told.unwrap_or_default().to_owned(),
                };
                asked.healthz_bind_address = told(&self.healthz_bind_address);
                asked.metrics_bind_address = told(&self.metrics_bind_address);
                asked.bind_address_hard_fail = self.bind_address_hard_fail.unwrap_or(false);
                asked.mode = self.proxy_mode.clone().unwrap_or_default();
                asked
                    .node_port_addresses
                    .clone_from(&self.nodeport_addresses);
                asked.detect_local_mode = match &self.detect_local_mode {
                    Some(mode) => mode.parse().map_err(anyhow::Error::msg)?,
                    None => LocalMode::default(),
                };
                asked
            }
        };
        if let Some(name) = &self.hostname_override {
            configuration.hostname_override.clone_from(name);
        }
        configuration.check()?;
        Ok(configuration)
    }
}

/// Runs until stopped; the rules stay.
pub(crate) fn run(mut flags: Flags) -> anyhow::Result<()> {
    flags.client.master = flags.master.take();
    process::run(|cancel, tasks| async move {
        flags.no_effect.report();
        if flags.cleanup {
            return proxy::remove_rules().await.context("removing the rules");
        }
        let configuration = flags.configuration()?;
        configuration.warn();
        let metrics = serving::registry();
        let clock = Clock::system();
        flags.client.kubeconfig = configuration.client_connection.kubeconfig.clone();
        let client = flags.client.metered_client(NAME, &metrics)?;
        let node_name = match configuration.hostname_override.as_str() {
            "" => super::host_name(),
            given => given.trim().to_lowercase(),
        };
        let config = proxy::Config {
            node_port_addresses: node_port_addresses(&configuration, &client, &node_name).await?,
            cluster_cidrs: parsed(configuration.cluster_cidr.split(','))?,
            node_name,
        };
        let informers = InformerFactory::new(client, tasks.clone());
        let health = ProxyHealth::new(clock.clone());
        let pages = Pages {
            metrics: metrics.clone(),
            health: health.clone(),
            configuration: configuration.shown(),
            clock: clock.clone(),
        };
        let hard = configuration.bind_address_hard_fail;
        if let Some(address) = bind_address(&configuration, file::HEALTHZ)? {
            let server = pages.healthz(&informers, &config.node_name);
            pages::serve(server, address, hard, &tasks).await?;
        }
        if let Some(address) = bind_address(&configuration, file::METRICS)? {
            pages::serve(pages.metrics(), address, hard, &tasks).await?;
        }
        let deps = proxy::Dependencies {
            informers,
            clock,
            metrics,
            health,
        };
        Ok(proxy::run(config, deps, cancel).await?)
    })
}

fn parsed<'a>(
    ranges: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Vec<(std::net::IpAddr, u8)>> {
    let ranges = ranges.into_iter().filter(|range| !range.is_empty());
    let parse = |range: &str| {
        let range: Cidr = range
            .parse()
            .map_err(|error| anyhow::anyhow!("invalid range {range:?}: {error}"))?;
        Ok((range.network(), range.length()))
    };
    ranges.map(parse).collect()
}

/// The ranges whose addresses have node ports; those of the node itself for `primary`.
async fn node_port_addresses(
    configuration: &Configuration,
    client: &Client,
    node_name: &str,
) -> anyhow::Result<Vec<(std::net::IpAddr, u8)>> {
    let given = &configuration.node_port_addresses;
    if given.as_slice() != ["primary"] {
        return parsed(given.iter().map(String::as_str));
    }
    let node = client.api::<Node>("").get(node_name).await;
    let node = node.with_context(|| format!("finding the primary addresses of {node_name}"))?;
    let addresses = node.status.and_then(|status| status.addresses);
    let internal = addresses.into_iter().flatten();
    let internal = internal.filter(|address| address.type_ == "InternalIP");
    let whole = |ip: std::net::IpAddr| (ip, if ip.is_ipv4() { 32 } else { 128 });
    Ok(internal
        .filter_map(|address| address.address.parse().ok().map(whole))
        .collect())
}

#[cfg(test)]
mod tests;
