//! `ironclad token create`: lets another machine join the cluster.

use std::time::Duration;

use anyhow::Context as _;
use base::Clock;
use bootstrap::BootstrapToken;
use clap::{Args, Subcommand};
use client::{Client, Config};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;

use crate::{cli::DataDir, components::node_certificates::bootstrap_kubeconfig, up::place::Place};

/// Options of `ironclad token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
    #[command(flatten)]
    data_dir: DataDir,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a bootstrap token; prints the kubeconfig that `kubelet --bootstrap-kubeconfig` takes on the machine that is to join
    Create {
        /// Address under which that machine reaches the API server; where this machine reaches it if not given
        #[arg(long, value_name = "URL")]
        server: Option<String>,
        /// How long the token is good for, in hours
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        ttl: u32,
    },
}

/// Does what was asked.
pub(crate) fn run(args: TokenArgs) -> anyhow::Result<()> {
    let TokenCommand::Create { server, ttl } = args.command;
    let place = Place::new(&args.data_dir.path);
    let file = place.admin_kubeconfig();
    let config = Config::from_kubeconfig(&file, None)
        .with_context(|| format!("reading {}: is there a cluster?", file.display()))?;
    let ca = config.tls.ca.clone().context("no certificate authority")?;
    let ca_pem = String::from_utf8(ca.read()?)?;
    let server = server.unwrap_or_else(|| config.server.clone());
    let token = BootstrapToken::generate().context("no randomness")?;
    let life = SignedDuration::from_hours(ttl.into());
    let secret: Secret = serde_json::from_value(token.secret(Clock::system().now(), life))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = Client::from_config(config, "ironclad")?;
        let secrets = client.api::<Secret>("kube-system");
        tokio::time::timeout(Duration::from_secs(30), secrets.create(&secret))
            .await
            .context("the API server does not answer")??;
        anyhow::Ok(())
    })?;
    println!("{}", bootstrap_kubeconfig(&server, &ca_pem, &token.text()));
    Ok(())
}
