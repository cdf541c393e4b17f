//! `ironclad down`: stops a cluster and takes back everything that it made in the kernel: pods, mounts, cgroups, links, rules.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use base::{Clock, TaskGroup};
use clap::Args;
use linux::cgroup::{Cgroup, Hierarchy};
use network::Bridge;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::DataDir,
    node,
    up::{
        CONTEXT,
        lock::{DataDirLock, Owner},
        machines,
        place::{BRIDGE, Place},
    },
};

/// How long the server may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

/// Options of `ironclad down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    data_dir: DataDir,
    /// Remove the data directory, too: store, keys, images
    #[arg(long)]
    purge: bool,
    /// Kubeconfig to take the context `ironclad` out of when purging; $KUBECONFIG or ~/.kube/config if not given
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Stops everything. Nothing there is no error.
pub(crate) fn run(args: DownArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "stopping a node needs root (try sudo)"
    );
    let place = Place::new(&args.data_dir.path);
    if !place.data_dir().exists() {
        eprintln!("no cluster at {}", place.data_dir().display());
        return Ok(());
    }
    stop_server(&place)?;
    let lock = DataDirLock::take(place.data_dir())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(remove_from_kernel(&place))?;
    for place in place.nodes().iter().chain([&place]) {
        remove_directory(&place.state_dir())?;
    }
    drop(lock);
    if args.purge {
        let file = args.kubeconfig.or_else(client::Kubeconfig::default_path);
        if let Some(file) = file.filter(|file| file.exists()) {
            let mut kubeconfig = client::Kubeconfig::read(&file)?;
            kubeconfig.remove_context(CONTEXT);
            kubeconfig.write(&file)?;
        }
        remove_directory(place.data_dir())?;
    }
    Ok(())
}

fn stop_server(place: &Place) -> anyhow::Result<()> {
    let Owner::Running(pid) = DataDirLock::owner(place.data_dir())? else {
        return Ok(());
    };
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(());
    };
    kill_process(pid, Signal::TERM)
        .with_context(|| format!("stopping process {}", pid.as_raw_nonzero()))?;
    let mut waited = Duration::ZERO;
    while test_kill_process(pid).is_ok() && DataDirLock::owner(place.data_dir())? != Owner::Free {
        if waited > STOP_PATIENCE {
            bail!("process {} does not stop", pid.as_raw_nonzero());
        }
        std::thread::sleep(STOP_INTERVAL);
        waited += STOP_INTERVAL;
    }
    Ok(())
}

async fn remove_from_kernel(place: &Place) -> anyhow::Result<()> {
    machines::stop(place).await?;
    let tasks = TaskGroup::new(&CancellationToken::new());
    let (_, runtime) = node::open(place, Vec::new(), &Clock::system(), &tasks).await?;
    runtime.purge().await.context("stopping the pods")?;
    tasks.shutdown().await;
    unmount_below(place.data_dir())?;
    for place in place.nodes().iter().chain([place]) {
        remove_cgroups(&place.cgroup_root()).context("removing cgroups")?;
    }
    proxy::remove_rules().await?;
    Bridge::remove(BRIDGE).await?;
    Ok(())
}

/// Detaches every mount below a directory, the innermost first: volumes of pods, roots of containers.
fn unmount_below(directory: &Path) -> anyhow::Result<()> {
    // The kernel lists mounts without links: one overlooked would be deleted into, and it may be a person's PersistentVolume.
    let directory = fs::canonicalize(directory)
        .with_context(|| format!("resolving {}", directory.display()))?;
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").context("reading the list of mounts")?;
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape);
    let mut below: Vec<PathBuf> = points
        .filter(|point| point.starts_with(&directory))
        .collect();
    below.sort();
    for point in below.iter().rev() {
        linux::mounts::detach(point.as_path())
            .with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

/// The kernel writes blanks and their like as three octal digits behind a backslash.
fn unescape(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 8) {
            Ok(byte) => path.push(char::from(byte)),
            Err(_) => path.push_str(digits),
        }
        path.push_str(rest);
    }
    PathBuf::from(path)
}

/// Ends what still runs in the cluster's cgroups, and removes them.
fn remove_cgroups(root: &str) -> io::Result<()> {
    let cgroup = Cgroup::new(Arc::new(Hierarchy::detect()?), root)?;
    if !cgroup.exists() {
        return Ok(());
    }
    cgroup.kill()?;
    cgroup.remove()
}

fn remove_directory(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
