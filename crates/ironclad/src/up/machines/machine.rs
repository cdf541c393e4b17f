//! A machine from the inside: the process that holds its namespaces, and its first process, which runs kubelet and proxy.
//!
//! The outer process is what the rest of the system sees: it has the lock of the data directory, and the inner one dies with it. The
//! inner one is process 1 of its PID namespace, so that nothing survives it: the kernel ends all pods of the node.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{BufRead as _, Write as _},
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use linux::{
    mounts::{self, Attributes, Propagation},
    process::{Forked, Signal, UnshareFlags, WaitOptions, fork, wait, waitpid},
};
use network::Cidr;
use rustix::process::set_parent_process_death_signal;

use crate::{
    cli::DataDir,
    up::{lock::DataDirLock, place::Place},
};

/// What the machine trusts, in its directory.
pub(super) const AUTHORITY: &str = "ca.crt";
/// What it joins with.
pub(super) const BOOTSTRAP_KUBECONFIG: &str = "bootstrap.kubeconfig";
/// What it has once it has joined.
pub(super) const KUBECONFIG: &str = "kubelet.kubeconfig";
/// Said to the machine when its network is there.
pub(super) const GO: &str = "go";

/// Before a component that ended is started again.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Options of `ironclad machine`, which is not for people.
#[derive(Debug, Args)]
pub(crate) struct MachineCommand {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    machine: MachineArgs,
}

/// What a machine must be told.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    #[arg(long)]
    pub(super) name: String,
    #[arg(long)]
    pub(super) address: Ipv4Addr,
    #[arg(long)]
    pub(super) cluster_dns: IpAddr,
    #[arg(long)]
    pub(super) cluster_domain: String,
    #[arg(long, value_delimiter = ',')]
    pub(super) cluster_cidr: Vec<Cidr>,
}

impl MachineArgs {
    /// As they are read again.
    pub(super) fn to_command_line(&self) -> Vec<String> {
        vec![
            format!("--name={}", self.name),
            format!("--address={}", self.address),
            format!("--cluster-dns={}", self.cluster_dns),
            format!("--cluster-domain={}", self.cluster_domain),
            self.cluster_cidrs(),
        ]
    }

    fn cluster_cidrs(&self) -> String {
        let cidrs: Vec<String> = self.cluster_cidr.iter().map(Cidr::to_string).collect();
        format!("--cluster-cidr={}", cidrs.join(","))
    }

    /// The command lines of what runs on it.
    fn components(&self, place: &Place) -> [Vec<OsString>; 2] {
        let file = |flag: &str, name: &str| {
            let mut argument = OsString::from(format!("--{flag}="));
            argument.push(place.file(name));
            argument
        };
        let text = |flag: &str, value: &dyn std::fmt::Display| format!("--{flag}={value}").into();
        let kubelet = vec![
            "kubelet".into(),
            "--data-dir".into(),
            place.data_dir().into(),
            file("bootstrap-kubeconfig", BOOTSTRAP_KUBECONFIG),
            file("kubeconfig", KUBECONFIG),
            file("client-ca-file", AUTHORITY),
            file("pod-manifest-path", "manifests"),
            text("hostname-override", &self.name),
            text("node-ip", &self.address),
            text("cluster-dns", &self.cluster_dns),
            text("cluster-domain", &self.cluster_domain),
            self.cluster_cidrs().into(),
            "--authorization-mode=Webhook".into(),
            "--rotate-certificates".into(),
            "--rotate-server-certificates".into(),
            // The disk is not the node's alone, see `up` itself.
            "--image-gc-high-threshold=100".into(),
            "--eviction-hard=memory.available<100Mi,nodefs.available<1Gi,nodefs.inodesFree<1%,imagefs.available<1Gi".into(),
        ];
        let proxy = vec![
            "kube-proxy".into(),
            file("kubeconfig", KUBECONFIG),
            text("hostname-override", &self.name),
            self.cluster_cidrs().into(),
        ];
        [kubelet, proxy]
    }
}

/// Runs one until it is killed.
pub(crate) fn run(command: MachineCommand) -> anyhow::Result<()> {
    let place = Place::new(&command.data_dir.path);
    let lock = DataDirLock::take(place.data_dir())?;
    let namespaces =
        UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWPID;
    match fork(namespaces).context("making the machine's namespaces")? {
        Forked::Parent { pid, .. } => {
            println!("{}", pid.as_raw_nonzero());
            std::io::stdout().flush()?;
            let ended = waitpid(Some(pid), WaitOptions::empty())?;
            drop(lock);
            bail!("the machine ended: {ended:?}")
        }
        Forked::Child => boot(&command.machine, &place),
    }
}

/// The first process inside.
fn boot(machine: &MachineArgs, place: &Place) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // What is mounted inside stays inside, and is shared with those pods that ask for it.
    mounts::set_root_propagation(Propagation::Slave)?;
    mounts::set_root_propagation(Propagation::Shared)?;
    let proc = mounts::new_filesystem("proc", &[], Attributes::default())
        .context("making the machine's /proc")?;
    let target = rustix::fs::open(
        "/proc",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    mounts::attach(proc.as_fd(), target.as_fd()).context("mounting the machine's /proc")?;
    rustix::system::sethostname(machine.name.as_bytes())?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim() != GO {
        bail!("whoever started it has gone");
    }
    supervise(machine.components(place), place.data_dir())
}

/// Keeps the components running, and reaps whatever pods leave behind.
fn supervise(components: [Vec<OsString>; 2], directory: &Path) -> anyhow::Result<()> {
    let mut running = Vec::new();
    for arguments in &components {
        running.push(start(arguments, directory)?);
    }
    loop {
        let Some((pid, _)) = wait(WaitOptions::empty())? else {
            continue;
        };
        let ended = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
        let found = running.iter().position(|child| child.id() == ended);
        if let Some(index) = found {
            std::thread::sleep(RESTART_DELAY);
            running[index] = start(&components[index], directory)?;
        }
    }
}

fn start(arguments: &[OsString], directory: &Path) -> anyhow::Result<Child> {
    let component = arguments[0].to_string_lossy();
    let path = directory.join(format!("{component}.log"));
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let program = std::env::current_exe().context("finding this program's own file")?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {component}"))
}
