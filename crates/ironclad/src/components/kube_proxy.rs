//! `ironclad kube-proxy`.

use anyhow::Context as _;
use base::Clock;
use clap::Args;
use client::InformerFactory;
use network::Cidr;

use super::process::{self, ClientFlags};

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    client: ClientFlags,
    /// This node's name; the host's name if not given
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Ranges of the cluster's pod addresses: traffic to cluster IPs from elsewhere is masqueraded
    #[arg(long, value_delimiter = ',')]
    cluster_cidr: Vec<Cidr>,
    /// Remove all rules of the proxy and exit
    #[arg(long)]
    cleanup: bool,
}

/// Runs until stopped; the rules stay.
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    process::run(|cancel, tasks| async move {
        if flags.cleanup {
            return proxy::remove_rules().await.context("removing the rules");
        }
        let client = flags.client.client("kube-proxy")?;
        let config = proxy::Config {
            node_name: flags.hostname_override.unwrap_or_else(super::host_name),
            cluster_cidrs: flags
                .cluster_cidr
                .iter()
                .map(|c| (c.network(), c.length()))
                .collect(),
        };
        let informers = InformerFactory::new(client, tasks);
        Ok(proxy::run(
            config,
            proxy::Dependencies {
                informers,
                clock: Clock::system(),
            },
            cancel,
        )
        .await?)
    })
}
