//! `ironclad up`: a cluster of one node in one process, from nothing to a running Deployment; of more nodes with [`machines`] beside.

pub(crate) mod addons;
pub(crate) mod cluster;
pub(crate) mod control;
mod detach;
pub(crate) mod hello_image;
mod in_process;
pub(crate) mod lock;
pub(crate) mod machines;
pub(crate) mod manifest;
mod pages;
pub(crate) mod place;
mod preflight;
mod progress;
mod serving_certificates;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use base::{
    TaskGroup,
    logging::{self, LogTarget},
    shutdown,
};
use bootstrap::KubeconfigParams;
use clap::Args;
use client::{Client, Kubeconfig, WatchEvent, WatchParams};
use k8s_openapi::api::core::v1::{Node, Service};
use network::Cidr;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::{
    cluster::{Cluster, Settings},
    control::Control,
    lock::{DataDirLock, Owner},
    machines::Machines,
    manifest::Applied,
    place::Place,
    progress::{Progress, format_time},
};
use crate::{
    cli::DataDir,
    components::{host_name, process},
};

pub(crate) use control::request as control_request;

/// Name of the cluster, its context and (with a suffix) its user in kubeconfigs.
pub(crate) const CONTEXT: &str = "ironclad";
/// How long a node may take to be ready.
const NODE_PATIENCE: Duration = Duration::from_secs(60);

/// Options of `ironclad up`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpArgs {
    /// Manifests to apply when the cluster is there; waits until their Deployments are available
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// Go to the background as soon as everything runs
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    data_dir: DataDir,
    /// Kubeconfig to add the context `ironclad` to; $KUBECONFIG or ~/.kube/config if not given
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The node's name; the host's if not given
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// How many nodes: those beyond the first are processes with a network, mounts and processes of their own on this machine; as many
    /// as there were if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(machines::MAX_NODES)))]
    nodes: Option<u32>,
    /// The node's addresses, at most one of each family; those of the first links with one if not given
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    node_ip: Vec<IpAddr>,
    /// Where the API server listens
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// The API server's port
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    secure_port: u16,
    /// The kubelet's port
    #[arg(long, value_name = "PORT", default_value_t = 10250)]
    kubelet_port: u16,
    /// Ranges of the addresses of Services, the primary family first: two make a dual-stack cluster
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        default_value = "10.96.0.0/16"
    )]
    service_cluster_ip_range: Vec<Cidr>,
    /// Ranges of the addresses of pods, in the same families
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        default_value = "10.244.0.0/16"
    )]
    cluster_cidr: Vec<Cidr>,
    /// The cluster's DNS domain
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
}

/// Starts the cluster and stays with it, or leaves it in the background.
pub(crate) fn run(args: UpArgs) -> anyhow::Result<()> {
    let place = Place::new(&args.data_dir.path);
    if args.detach {
        return detach::run(&place);
    }
    let manifests = read_manifests(&args.filenames)?;
    preflight::check(&[
        (
            "the API server",
            SocketAddr::new(args.bind_address, args.secure_port),
        ),
        (
            "the kubelet",
            SocketAddr::new(args.bind_address, args.kubelet_port),
        ),
    ])
    .or_else(|error| explain_taken(&place, error))?;
    let lock = DataDirLock::take(place.data_dir())?;
    logging::init(LogTarget::File(log_file(&place)?));

    // What the node does, and blocks for, is not in the way of requests.
    let serving = process::server_runtime().build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(args, &place, &manifests, serving.handle()));
    drop(lock);
    result
}

/// A port that is taken by the cluster of this very directory is better said so.
fn explain_taken(place: &Place, error: anyhow::Error) -> anyhow::Result<()> {
    match DataDirLock::owner(place.data_dir()) {
        Ok(Owner::Running(pid)) if rustix::process::geteuid().is_root() => {
            Err(lock::in_use(place.data_dir(), pid))
        }
        _ => Err(error),
    }
}

fn read_manifests(files: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let read = |file: &PathBuf| {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Ok((file.display().to_string(), text))
    };
    files.iter().map(read).collect()
}

fn log_file(place: &Place) -> anyhow::Result<std::fs::File> {
    let path = place.file("ironclad.log");
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))
}

async fn serve(
    args: UpArgs,
    place: &Place,
    manifests: &[(String, String)],
    serving: &Handle,
) -> anyhow::Result<()> {
    let cancel = CancellationToken::new();
    // A group of its own: it listens for a second signal while everything else stops.
    let signals = TaskGroup::default();
    signals.spawn_cancellable("signals", shutdown::cancel_on_signal(cancel.clone()));
    let progress = Progress::start();
    let started = start(&args, place, &progress, serving, &cancel).await;
    let result = match started {
        Ok(cluster) => {
            let deployed = deploy(&cluster, manifests, &progress);
            let deployed = match cancel.run_until_cancelled(deployed).await {
                Some(Err(error)) => Err(error),
                _ => detach::announce_ready(place),
            };
            if deployed.is_ok() {
                // Much of what started the cluster does not run again.
                linux::process::release_program_pages();
                cancel.cancelled().await;
            }
            cancel.cancel();
            cluster.wait().await;
            if deployed.is_ok() {
                eprintln!(
                    "\n  stopped; pods run on. `ironclad up` takes them over again, `ironclad down` stops them"
                );
            }
            deployed
        }
        Err(error) => Err(error),
    };
    signals.shutdown().await;
    result
}

/// From nothing to a ready node. What has been started when something fails is stopped again.
async fn start(
    args: &UpArgs,
    place: &Place,
    progress: &Progress,
    serving: &Handle,
    cancel: &CancellationToken,
) -> anyhow::Result<Cluster> {
    let stage = progress.stage("control plane");
    let settings = settings(args).await?;
    let server_url = format!(
        "https://{}",
        SocketAddr::new(local(args.bind_address), args.secure_port)
    );
    let cluster = Cluster::start_control_plane(place, settings.clone(), serving, cancel).await?;
    let ready = async {
        cluster.wait_ready().await;
        stage.done(&server_url);

        let stage = progress.stage("kubeconfig");
        let file = write_kubeconfigs(args, place, &cluster, &server_url)?;
        stage.done(&format!("context {CONTEXT} in {}", file.display()));

        let stage = progress.stage("node");
        cluster.start_controllers()?;
        cluster.start_node().await?;
        let local = Control {
            runtime: cluster.runtime.clone(),
            store: Some(Arc::clone(&cluster.store)),
        };
        control::start(place, local, cluster.tasks(), cancel).await?;
        let admin = cluster.admin();
        wait_node_ready(&admin, &settings.node_name, place).await?;
        stage.done(&format!(
            "{} is Ready after {}",
            settings.node_name,
            format_time(progress.elapsed())
        ));
        start_machines(args, place, &settings, &cluster, progress).await
    };
    match cancel.run_until_cancelled(ready).await {
        Some(Ok(())) => Ok(cluster),
        other => {
            cancel.cancel();
            cluster.wait().await;
            match other {
                Some(Err(error)) => Err(error),
                _ => bail!(
                    "stopped while starting; see {}",
                    place.file("ironclad.log").display()
                ),
            }
        }
    }
}

/// The nodes beyond the first.
async fn start_machines(
    args: &UpArgs,
    place: &Place,
    settings: &Settings,
    cluster: &Cluster,
    progress: &Progress,
) -> anyhow::Result<()> {
    let known = place.node_numbers().last().copied().unwrap_or(1);
    let count = args.nodes.unwrap_or(known);
    if count < 2 {
        return Ok(());
    }
    let stage = progress.stage("more nodes");
    let admin = cluster.admin();
    let ca_pem = &cluster.pki.ca_pem;
    let machines = Machines::start(place, settings, ca_pem, &admin, count).await?;
    for (number, name) in (2..).zip(&machines.names) {
        wait_node_ready(&admin, name, &place.node(number)).await?;
    }
    let names = machines.names.join(", ");
    machines.keep();
    stage.done(&format!(
        "{names} Ready after {}",
        format_time(progress.elapsed())
    ));
    Ok(())
}

async fn deploy(
    cluster: &Cluster,
    manifests: &[(String, String)],
    progress: &Progress,
) -> anyhow::Result<()> {
    let client = cluster.admin();
    for (file, yaml) in manifests {
        let stage = progress.stage("apply");
        let applied = manifest::apply(&client, yaml)
            .await
            .with_context(|| format!("applying {file}"))?;
        stage.done(file);
        let stage = progress.stage("rollout");
        manifest::wait_available(&client, &applied, |how_far| stage.update(how_far)).await?;
        stage.done(&format!(
            "available after {}",
            format_time(progress.elapsed())
        ));
        for service in service_addresses(&client, &applied).await {
            println!("{service}");
        }
    }
    Ok(())
}

async fn service_addresses(client: &Client, applied: &[Applied]) -> Vec<String> {
    let mut lines = Vec::new();
    for one in applied.iter().filter(|one| one.kind == "Service") {
        let Ok(service) = client.api::<Service>(&one.namespace).get(&one.name).await else {
            continue;
        };
        let Some(spec) = service.spec else { continue };
        let Some(ip) = spec.cluster_ip.filter(|ip| ip != "None") else {
            continue;
        };
        for port in spec.ports.iter().flatten() {
            lines.push(format!(
                "service {}/{}: http://{ip}:{}",
                one.namespace, one.name, port.port
            ));
        }
    }
    lines
}

async fn settings(args: &UpArgs) -> anyhow::Result<Settings> {
    let service_ranges = args.service_cluster_ip_range.clone();
    let cluster_ranges = args.cluster_cidr.clone();
    check_families("--service-cluster-ip-range", &service_ranges)?;
    check_families("--cluster-cidr", &cluster_ranges)?;
    let families = |ranges: &[Cidr]| -> Vec<bool> {
        ranges
            .iter()
            .map(|range| range.network().is_ipv4())
            .collect()
    };
    if families(&service_ranges) != families(&cluster_ranges) {
        bail!("--service-cluster-ip-range and --cluster-cidr name different address families");
    }
    let node_ips = match args.node_ip.as_slice() {
        [] => own_addresses(&cluster_ranges).await?,
        given => given.to_vec(),
    };
    Ok(Settings {
        node_name: args.node_name.clone().unwrap_or_else(host_name),
        node_ips,
        bind_address: args.bind_address,
        secure_port: args.secure_port,
        kubelet_port: args.kubelet_port,
        service_ranges,
        cluster_ranges,
        cluster_domain: args.cluster_domain.clone(),
    })
}

/// One range, or one of each family.
fn check_families(flag: &str, ranges: &[Cidr]) -> anyhow::Result<()> {
    match ranges {
        [_] => Ok(()),
        [a, b] if a.network().is_ipv4() != b.network().is_ipv4() => Ok(()),
        _ => bail!("{flag} takes one range, or two of different address families"),
    }
}

/// The first address of each family in use that others could reach this machine at, leaving our own bridge aside. The primary
/// family's must be there.
async fn own_addresses(ranges: &[Cidr]) -> anyhow::Result<Vec<IpAddr>> {
    let addresses = linux::netlink::Netlink::open()?.global_addresses().await?;
    let first = |range: &Cidr| {
        addresses
            .iter()
            .filter(|(link, _)| link != place::BRIDGE)
            .map(|(_, address)| *address)
            .find(|address| address.is_ipv4() == range.network().is_ipv4())
    };
    let found: Vec<_> = ranges.iter().map(first).collect();
    if found.first().copied().flatten().is_none() {
        bail!("this machine has no address besides loopback: name one with --node-ip");
    }
    Ok(found.into_iter().flatten().collect())
}

fn local(bind: IpAddr) -> IpAddr {
    if bind.is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        bind
    }
}

/// The administrator's own kubeconfig, and the context in the user's. Answers the latter.
fn write_kubeconfigs(
    args: &UpArgs,
    place: &Place,
    cluster: &Cluster,
    server: &str,
) -> anyhow::Result<PathBuf> {
    let ours = bootstrap::render_kubeconfig(&KubeconfigParams {
        name: CONTEXT,
        server,
        ca_pem: &cluster.pki.ca_pem,
        identity: &cluster.pki.admin,
    });
    let own_file = place.admin_kubeconfig();
    let ours = Kubeconfig::parse(&ours.to_string(), &own_file)?;
    ours.write(&own_file)?;
    let file = match &args.kubeconfig {
        Some(file) => file.clone(),
        None => Kubeconfig::default_path()
            .context("no home directory: name a file with --kubeconfig")?,
    };
    merge_into(&file, &ours)?;
    Ok(file)
}

fn merge_into(file: &Path, ours: &Kubeconfig) -> anyhow::Result<()> {
    let mut theirs = Kubeconfig::read_or_default(file)?;
    theirs.merge(ours);
    theirs.write(file)?;
    Ok(())
}

/// The node whose data is at `place`.
async fn wait_node_ready(client: &Client, name: &str, place: &Place) -> anyhow::Result<()> {
    tokio::time::timeout(NODE_PATIENCE, node_ready(client, name))
        .await
        .with_context(|| {
            format!(
                "node {name} was not ready in time; see the logs in {}",
                place.data_dir().display()
            )
        })?
}

async fn node_ready(client: &Client, name: &str) -> anyhow::Result<()> {
    let nodes = client.api::<Node>(client::Namespace::All);
    let params = WatchParams {
        field_selector: Some(format!("metadata.name={name}")),
        ..WatchParams::default()
    };
    loop {
        let mut watch = nodes.watch(&params).await?;
        while let Some(event) = watch.next().await {
            let (WatchEvent::Added(node) | WatchEvent::Modified(node)) = event? else {
                continue;
            };
            let conditions = node
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            if conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
            {
                return Ok(());
            }
        }
    }
}
