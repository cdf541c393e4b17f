//! `ironclad status`: what runs at a data directory.

use anyhow::Context as _;
use clap::Args;
use client::{Client, Config, Kubeconfig, ListParams, Namespace};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    cli::DataDir,
    up::{
        lock::{DataDirLock, Owner},
        place::Place,
    },
};

/// Options of `ironclad status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    data_dir: DataDir,
}

/// Prints it; an error says that it is not running or not well.
pub(crate) fn run(args: StatusArgs) -> anyhow::Result<()> {
    let place = Place::new(&args.data_dir.path);
    let Owner::Running(pid) = DataDirLock::owner(place.data_dir())? else {
        anyhow::bail!("no cluster runs at {}", place.data_dir().display());
    };
    println!(
        "process     {pid}, {:.1} MB resident",
        resident_bytes(pid) as f64 / 1e6
    );
    println!("data        {}", place.data_dir().display());
    println!("kubeconfig  {}", place.admin_kubeconfig().display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(show_cluster(&place))
}

async fn show_cluster(place: &Place) -> anyhow::Result<()> {
    let file = place.admin_kubeconfig();
    let config: Config = Kubeconfig::read(&file)?.config(None)?;
    let client = Client::from_config(config, "ironclad")?;
    client
        .get_raw("/readyz")
        .await
        .context("the API server is not ready")?;
    println!("API server  ready");
    for node in client
        .api::<Node>(Namespace::All)
        .list(&ListParams::default())
        .await?
        .items
    {
        let status = node.status.unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        let version = status
            .node_info
            .map(|info| info.kubelet_version)
            .unwrap_or_default();
        let name = node.metadata.name.unwrap_or_default();
        println!(
            "node        {name}: {}, {version}",
            if ready { "Ready" } else { "NotReady" }
        );
    }
    let pods = client
        .api::<Pod>(Namespace::All)
        .list(&ListParams::default())
        .await?
        .items;
    let running = pods.iter().filter(|pod| {
        pod.status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Running")
    });
    println!("pods        {} of {} running", running.count(), pods.len());
    Ok(())
}

/// Resident memory of a process; 0 if it cannot be read.
fn resident_bytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
