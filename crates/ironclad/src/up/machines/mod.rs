//! `ironclad up --nodes N`: further nodes on this machine, each as a machine of its own as far as the kernel can pretend.
//!
//! Such a machine is a process in its own network, mount, PID and UTS namespaces ([`machine`]), on a bridge beside this one
//! ([`network`]), with its own data directory and cgroups. It joins the cluster as any other machine does: with a token, by
//! certificate requests. It runs on when `up` ends, as pods do, and the next `up` finds it by the lock on its directory; killing it
//! is as pulling a plug.

pub(crate) mod machine;
mod network;

use std::{
    fs::{self, OpenOptions},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bootstrap::BootstrapToken;
use client::Client;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

use self::{machine::MachineArgs, network::Network};
use super::{
    cluster::Settings,
    lock::{DataDirLock, Owner},
    place::Place,
};
use crate::components::node_certificates::bootstrap_kubeconfig;

/// The most nodes there may be: their network has room for no more.
pub(super) const MAX_NODES: u32 = 250;

/// A token need not last longer than it takes to join.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// How long a machine that was killed may take to be gone.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it is.
const STOP_INTERVAL: Duration = Duration::from_millis(10);

/// Machines that run; those that were started just now end with this, unless they are to be kept: nothing half-started is left.
pub(super) struct Machines {
    /// The nodes' names, of all of them.
    pub(super) names: Vec<String>,
    started: Vec<Child>,
}

impl Machines {
    /// Starts those of the nodes 2 to `count` that do not run yet.
    pub(super) async fn start(
        place: &Place,
        settings: &Settings,
        ca_pem: &str,
        admin: &Client,
        count: u32,
    ) -> anyhow::Result<Self> {
        let server = reachable_server(settings)?;
        let network = Network::open().await?;
        let mut machines = Self {
            names: (2..=count).map(|number| name(settings, number)).collect(),
            started: Vec::new(),
        };
        for number in 2..=count {
            let own = place.node(number);
            if DataDirLock::owner(own.data_dir())? != Owner::Free {
                continue;
            }
            let starting = async {
                prepare(&own, &server, ca_pem, admin).await?;
                switch_on(&own, settings, &network, number).await
            };
            let process = starting
                .await
                .with_context(|| format!("starting node {}", name(settings, number)))?;
            machines.started.push(process);
        }
        Ok(machines)
    }

    /// Lets them run on.
    pub(super) fn keep(mut self) {
        self.started.clear();
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for process in &mut self.started {
            // One that has ended needs no killing.
            let _ = process.start_kill();
        }
    }
}

/// Ends the machines of a cluster at once, with all that runs in them, and takes their network away.
pub(crate) async fn stop(place: &Place) -> anyhow::Result<()> {
    let nodes = place.nodes();
    for node in &nodes {
        if let Owner::Running(pid) = DataDirLock::owner(node.data_dir())?
            && let Some(pid) = Pid::from_raw(pid)
        {
            kill_process(pid, Signal::KILL)
                .with_context(|| format!("stopping process {}", pid.as_raw_nonzero()))?;
        }
        let mut waited = Duration::ZERO;
        while DataDirLock::owner(node.data_dir())? != Owner::Free {
            ensure!(
                waited < STOP_PATIENCE,
                "the node at {} does not stop",
                node.data_dir().display()
            );
            tokio::time::sleep(STOP_INTERVAL).await;
            waited += STOP_INTERVAL;
        }
    }
    if nodes.is_empty() {
        return Ok(());
    }
    Network::remove(place.node_numbers()).await
}

fn name(settings: &Settings, number: u32) -> String {
    format!("{}-{number}", settings.node_name)
}

/// Where the API server is for machines other than this one.
fn reachable_server(settings: &Settings) -> anyhow::Result<String> {
    let bind = settings.bind_address;
    let address = match bind {
        bind if bind.is_unspecified() => settings.node_ips.first().copied(),
        bind => Some(bind).filter(|bind| !bind.is_loopback()),
    };
    match address {
        Some(address @ IpAddr::V4(_)) => Ok(format!(
            "https://{}",
            SocketAddr::new(address, settings.secure_port)
        )),
        _ => bail!(
            "--nodes needs an API server that listens on an IPv4 address which is not loopback; --bind-address is {bind}"
        ),
    }
}

/// What a machine must have to join: whom to trust, and, if it has not joined yet, a token.
async fn prepare(own: &Place, server: &str, ca_pem: &str, admin: &Client) -> anyhow::Result<()> {
    fs::create_dir_all(own.data_dir())
        .with_context(|| format!("making {}", own.data_dir().display()))?;
    write(&own.file(machine::AUTHORITY), ca_pem)?;
    if own.file(machine::KUBECONFIG).exists() {
        return Ok(());
    }
    let token = BootstrapToken::generate().context("no randomness")?;
    let secret: Secret = serde_json::from_value(token.secret(Timestamp::now(), TOKEN_LIFE))?;
    admin.api::<Secret>("kube-system").create(&secret).await?;
    let kubeconfig = bootstrap_kubeconfig(server, ca_pem, &token.text());
    write(
        &own.file(machine::BOOTSTRAP_KUBECONFIG),
        &kubeconfig.to_string(),
    )
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    bootstrap::write_atomically(path, content.as_bytes(), 0o600)
        .with_context(|| format!("writing {}", path.display()))
}

/// Switches one on: its process says which one is the first inside, is given a cable, and is told to go on.
async fn switch_on(
    own: &Place,
    settings: &Settings,
    network: &Network,
    number: u32,
) -> anyhow::Result<Child> {
    let arguments = MachineArgs {
        name: name(settings, number),
        address: network::address(number),
        cluster_dns: settings.cluster_dns(),
        cluster_domain: settings.cluster_domain.clone(),
        cluster_cidr: settings.cluster_ranges.clone(),
    };
    let log_file = own.file("machine.log");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_file)
        .with_context(|| format!("opening {}", log_file.display()))?;
    let program = std::env::current_exe().context("finding this program's own file")?;
    let mut process = Command::new(program)
        .arg("machine")
        .args(arguments.to_command_line())
        .arg("--data-dir")
        .arg(own.data_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // What interrupts `up` does not concern it.
        .process_group(0)
        .spawn()
        .context("starting its process")?;
    let wired = async {
        let output = process.stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let first: i32 = line
            .trim()
            .parse()
            .with_context(|| format!("it ended; see {}", log_file.display()))?;
        network.connect(first, number).await?;
        let mut input = process.stdin.take().context("its input is a pipe")?;
        input
            .write_all(format!("{}\n", machine::GO).as_bytes())
            .await?;
        input.flush().await?;
        anyhow::Ok(())
    };
    if let Err(error) = wired.await {
        let _ = process.kill().await;
        return Err(error);
    }
    Ok(process)
}
