//! What a node takes: time of a container's and of a pod's start with the image there, memory and processor time at rest. As root:
//!
//! ```console
//! $ IRONCLAD_BINARY=target/x86_64-unknown-linux-gnu/release/ironclad cargo run -p testing --example node_figures
//! ```
//!
//! A cluster of its own is started for it. Pods come one after the other and are gone before the next; the time of each call to the
//! runtime is what the kubelet's own metrics grew by. The figures say something only of a machine that does nothing else: the load
//! is printed with them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use testing::{Cluster, Options};

const NAMESPACE: &str = "default";
/// Pods whose start is measured, after a few that warm everything up.
const PODS: usize = 100;
const WARM_UP: usize = 5;
/// Pods that stand while the node rests, and for how long it is watched.
const RESTING: usize = 3;
const SETTLE: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(60);
/// The kernel's clock ticks, in which processor time is counted.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> anyhow::Result<()> {
    let before = Instant::now();
    let cluster = Cluster::start(Options::default())?;
    println!(
        "`up` to a node seen Ready: {:.2} s",
        before.elapsed().as_secs_f64()
    );
    // The cluster's addresses exist in its network namespace alone.
    cluster.netns().door()?.enter()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(figures(&cluster))
}

async fn figures(cluster: &Cluster) -> anyhow::Result<()> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    let node = nodes.items.first().and_then(|n| n.metadata.name.clone());
    let node = node.context("the cluster has a node")?;

    println!("load {}", load()?);
    let mut running = Vec::new();
    let mut operations: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for index in 0..WARM_UP + PODS {
        let before = operation_seconds(&client, &node).await?;
        let took = start(&pods, &format!("p{index}")).await?;
        let after = operation_seconds(&client, &node).await?;
        remove(&pods, &format!("p{index}")).await?;
        if index < WARM_UP {
            continue;
        }
        running.push(took.as_secs_f64());
        for (operation, seconds) in after {
            let spent = seconds - before.get(&operation).copied().unwrap_or_default();
            operations.entry(operation).or_default().push(spent);
        }
    }
    let mut of = |operation: &str| operations.remove(operation).unwrap_or_default();
    let (create, start_seconds) = (of("create_container"), of("start_container"));
    let both = create.iter().zip(&start_seconds).map(|(a, b)| a + b);
    println!(
        "load {}\n\n{PODS} pods, milliseconds        p50     p99     max",
        load()?
    );
    line("sandbox with its network", of("run_podsandbox"));
    line("container: create and start", both.collect());
    line("pod: creation to Running", running);

    for index in 0..RESTING {
        start(&pods, &format!("rest{index}")).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let server = cluster.pid().context("the server runs")?;
    let shims = shims(cluster.directory())?;
    ensure!(shims.len() == RESTING, "{} shims", shims.len());
    println!("\nat rest, {RESTING} pods          resident  anonymous  proportional, MB");
    memory("the whole process", server)?;
    for shim in &shims {
        memory("a shim", *shim)?;
    }
    let before = processor_seconds(server)?;
    let shims_before: f64 = shims
        .iter()
        .map(|pid| processor_seconds(*pid))
        .sum::<Result<_, _>>()?;
    tokio::time::sleep(REST).await;
    let share = |seconds: f64| 100.0 * seconds / REST.as_secs_f64();
    let shims_after: f64 = shims
        .iter()
        .map(|pid| processor_seconds(*pid))
        .sum::<Result<_, _>>()?;
    println!(
        "\nidle for {} s: {:.2} % of a core, its shims {:.2} %; load {}",
        REST.as_secs(),
        share(processor_seconds(server)? - before),
        share(shims_after - shims_before),
        load()?
    );
    for index in 0..RESTING {
        remove(&pods, &format!("rest{index}")).await?;
    }
    Ok(())
}

/// Creates a pod, and answers after how long it was seen running.
async fn start(pods: &Api<Pod>, name: &str) -> anyhow::Result<Duration> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "c", "image": "busybox.test/busybox:1", "command": ["sleep", "1000"] }],
        },
    }))?;
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let begun = Instant::now();
    let created = pods.create(&PostParams::default(), &pod).await?;
    let version = created.metadata.resource_version.unwrap_or_default();
    let mut events = std::pin::pin!(pods.watch(&params, &version).await?);
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Modified(pod) = event {
            let phase = pod.status.and_then(|status| status.phase);
            if phase.as_deref() == Some("Running") {
                return Ok(begun.elapsed());
            }
        }
    }
    anyhow::bail!("the watch of {name} ended")
}

/// Deletes a pod, and waits until it is gone.
async fn remove(pods: &Api<Pod>, name: &str) -> anyhow::Result<()> {
    let list = pods
        .list(&ListParams::default().fields(&format!("metadata.name={name}")))
        .await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    pods.delete(name, &DeleteParams::default().grace_period(0))
        .await?;
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(pods.watch(&params, &version).await?);
    while let Some(event) = events.try_next().await? {
        if matches!(event, WatchEvent::Deleted(_)) {
            // The object goes before the sandbox does: the next pod is not to pay for it.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Ok(());
        }
    }
    anyhow::bail!("the watch of {name} ended")
}

/// Seconds that the kubelet has spent in each of the runtime's operations so far.
async fn operation_seconds(client: &Client, node: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let request = http::Request::get(format!("/api/v1/nodes/{node}/proxy/metrics"));
    let text = client.request_text(request.body(Vec::new())?).await?;
    let prefix = "kubelet_runtime_operations_duration_seconds_sum{operation_type=\"";
    let sample = |line: &str| -> Option<(String, f64)> {
        let (operation, value) = line.strip_prefix(prefix)?.split_once("\"} ")?;
        Some((operation.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(sample).collect())
}

fn line(what: &str, mut seconds: Vec<f64>) {
    seconds.sort_by(f64::total_cmp);
    let at = |share: usize| {
        let index = (seconds.len() * share).div_ceil(100).saturating_sub(1);
        1000.0 * seconds.get(index).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{what:<28} {:>7.1} {:>7.1} {:>7.1}",
        at(50),
        at(99),
        at(100)
    );
}

/// The processes that hold the cluster's pods: this very program, with the path of a spec below the cluster's directory.
fn shims(directory: &Path) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        // One that has ended meanwhile has no command line.
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        let mut words = command.split('\0');
        if words.any(|word| word == "shim")
            && words.any(|word| Path::new(word).starts_with(directory))
        {
            found.extend(pid);
        }
    }
    Ok(found)
}

fn memory(what: &str, pid: u32) -> anyhow::Result<()> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let of = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kilobytes.unwrap_or(f64::NAN) / 1024.0
    };
    let (resident, anonymous, proportional) = (of("Rss:"), of("Anonymous:"), of("Pss:"));
    println!("{what:<22} {resident:>10.1} {anonymous:>10.2} {proportional:>12.1}");
    Ok(())
}

fn processor_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name stands in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a line of /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
    };
    let (user, system) = ticks(11).zip(ticks(12)).context("times of a process")?;
    Ok((user + system) / TICKS_PER_SECOND)
}

fn load() -> anyhow::Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load
        .split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" "))
}
