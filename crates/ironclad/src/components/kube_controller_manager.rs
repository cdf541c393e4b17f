//! `ironclad kube-controller-manager`.

use std::path::PathBuf;

use anyhow::Context as _;
use base::Clock;
use clap::Args;
use client::InformerFactory;

use crate::token_signer;

use super::process::{self, ClientFlags, LeaderElectionFlags};

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    client: ClientFlags,
    #[command(flatten)]
    leader_election: LeaderElectionFlags,
    /// Give each controller the credentials of a service account of its own
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
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
    /// The longest life of what it signs, in hours (8760h)
    #[arg(long, default_value = "8760h", value_parser = parse_hours)]
    cluster_signing_duration: std::time::Duration,
    /// The key that signs the tokens of Secrets of type kubernetes.io/service-account-token; PEM
    #[arg(long, value_name = "FILE")]
    service_account_private_key_file: Option<PathBuf>,
    /// How long such a token that the server made may be unused before it is invalid, and invalid before it is deleted, in hours
    #[arg(long, default_value = "8760h", value_parser = parse_hours)]
    legacy_service_account_token_clean_up_period: std::time::Duration,
    /// Give each node a range of pod addresses
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    allocate_node_cidrs: bool,
    /// Ranges of the cluster's pod addresses
    #[arg(long, value_delimiter = ',')]
    cluster_cidr: Vec<String>,
    /// Prefix length of a node's range
    #[arg(long, default_value_t = 24)]
    node_cidr_mask_size: u8,
    /// How many objects of a kind are worked on at once
    #[arg(long, default_value_t = 5)]
    concurrent_deployment_syncs: usize,
}

fn parse_hours(text: &str) -> Result<std::time::Duration, String> {
    text.strip_suffix('h')
        .and_then(|hours| hours.parse::<u64>().ok())
        .and_then(|hours| hours.checked_mul(3600))
        .map(std::time::Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is not a number of hours such as 8760h"))
}

/// Runs until stopped or until the lead is lost.
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    process::run(|cancel, tasks| async move {
        let client = flags.client.client("kube-controller-manager")?;
        let read = |file: &Option<PathBuf>| match file {
            Some(file) => std::fs::read_to_string(file)
                .map(Some)
                .with_context(|| format!("reading {}", file.display())),
            None => Ok(None),
        };
        let root_ca = read(&flags.root_ca_file)?;
        let signing = read(&flags.cluster_signing_cert_file)?;
        let config = controllers::Config {
            controllers: flags.controllers,
            leader_election: flags.leader_election.config("kube-controller-manager"),
            root_ca,
            cluster_signing: signing.zip(read(&flags.cluster_signing_key_file)?),
            cluster_signing_duration: flags.cluster_signing_duration,
            sign_token: flags
                .service_account_private_key_file
                .as_deref()
                .map(token_signer::from_file)
                .transpose()?,
            legacy_token_clean_up_period: flags.legacy_service_account_token_clean_up_period,
            allocate_node_cidrs: flags.allocate_node_cidrs,
            cluster_cidr: flags.cluster_cidr,
            node_cidr_mask_size_ipv4: flags.node_cidr_mask_size,
            concurrent_syncs: flags.concurrent_deployment_syncs,
            ..controllers::Config::default()
        };
        let informers = InformerFactory::new(client.clone(), tasks);
        let bare_transport = match flags.use_service_account_credentials {
            true => Some(flags.client.bare_transport()?),
            false => None,
        };
        let deps = controllers::Deps {
            client,
            bare_transport,
            informers,
            clock: Clock::system(),
        };
        Ok(controllers::run(config, deps, cancel).await?)
    })
}
