//! Eviction: when the node runs short of memory, disk or inodes, pods are ended, those first that use more than they asked for, then by
//! priority, then by use. The decision is pure ([`shortages`], [`rank`]).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use base::Clock;
use cri::{RuntimeService, v1};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::api::resource::Quantity};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    config::KubeletConfig,
    events::{EventKind, PodEvents},
    node::{Pressure, disk, memory_available, memory_total},
    pod::{is_critical, spec, uid},
    pod_worker::{KillRequest, PodWorkers, Stage},
    resources::{amount, pod_requests},
};

/// Upstream's monitoring period.
const PERIOD: Duration = Duration::from_secs(10);
/// How long a shortage is told after it has passed (`evictionPressureTransitionPeriod`).
const TRANSITION: SignedDuration = SignedDuration::from_secs(300);

/// A signal: what is left of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Observation {
    available: u64,
    capacity: u64,
}

/// Watches the node and evicts.
pub struct EvictionManager {
    config: Arc<KubeletConfig>,
    runtime: Arc<dyn RuntimeService>,
    workers: PodWorkers,
    events: PodEvents,
    clock: Clock,
    pressure: watch::Sender<Pressure>,
    root: PathBuf,
    /// When each signal was last short.
    last_short: BTreeMap<&'static str, Timestamp>,
}

impl EvictionManager {
    /// Tells shortages through `pressure`.
    pub fn new(
        config: Arc<KubeletConfig>,
        runtime: Arc<dyn RuntimeService>,
        workers: PodWorkers,
        events: PodEvents,
        clock: Clock,
        pressure: watch::Sender<Pressure>,
    ) -> Self {
        let root = config.root_dir.clone();
        Self {
            config,
            runtime,
            workers,
            events,
            clock,
            pressure,
            root,
            last_short: BTreeMap::new(),
        }
    }

    /// Looks every ten seconds until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let work = async {
            loop {
                self.look().await;
                tokio::time::sleep(PERIOD).await;
            }
        };
        let _ = cancel.run_until_cancelled(work).await;
    }

    fn observe(&self) -> BTreeMap<&'static str, Observation> {
        let mut observations = BTreeMap::new();
        if let (Some(available), Some(capacity)) = (memory_available(), memory_total()) {
            observations.insert(
                "memory.available",
                Observation {
                    available,
                    capacity,
                },
            );
        }
        if let Ok((capacity, available, inodes, inodes_free)) = disk(&self.root) {
            observations.insert(
                "nodefs.available",
                Observation {
                    available,
                    capacity,
                },
            );
            observations.insert(
                "nodefs.inodesFree",
                Observation {
                    available: inodes_free,
                    capacity: inodes,
                },
            );
        }
        observations
    }

    async fn look(&mut self) {
        let now = self.clock.now();
        let short = shortages(&self.config.eviction_hard, &self.observe());
        for signal in &short {
            self.last_short.insert(signal, now);
        }
        let recently = |signal: &str| {
            self.last_short
                .get(signal)
                .is_some_and(|at| now.duration_since(*at) < TRANSITION)
        };
        let pressure = Pressure {
            memory: recently("memory.available"),
            disk: recently("nodefs.available") || recently("nodefs.inodesFree"),
            pid: false,
        };
        self.pressure
            .send_if_modified(|known| std::mem::replace(known, pressure) != pressure);
        let Some(signal) = short.first() else { return };
        let resource = if *signal == "memory.available" {
            "memory"
        } else {
            "ephemeral-storage"
        };
        warn!(signal, "the node runs short");
        self.events.node(
            &self.config.node_name,
            EventKind::Warning,
            "EvictionThresholdMet",
            format!("Attempting to reclaim {resource}"),
        );
        self.evict_one(resource).await;
    }

    /// Ends the first pod of the ranking; the next look decides whether that was enough.
    async fn evict_one(&self, resource: &'static str) {
        let usage = self.usage(resource).await;
        let running = |pod: &&Arc<Pod>| {
            self.workers.stage(uid(pod)) == Some(Stage::Sync) && !is_critical(pod)
        };
        let pods: Vec<_> = self
            .workers
            .pods()
            .iter()
            .filter(running)
            .cloned()
            .collect();
        let Some(victim) = rank(&pods, resource, &usage).into_iter().next() else {
            return;
        };
        let message = format!("The node was low on resource: {resource}. ");
        self.events
            .pod(&victim, EventKind::Warning, "Evicted", message.clone());
        self.workers.kill(
            &victim,
            KillRequest {
                // A hard threshold leaves no time.
                grace_seconds: Some(1),
                verdict: Some(("Failed".to_owned(), "Evicted".to_owned(), message)),
            },
        );
    }

    /// Use by pod uid; empty where the runtime cannot tell.
    async fn usage(&self, resource: &str) -> BTreeMap<String, u64> {
        let Ok(answer) = self
            .runtime
            .list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest::default())
            .await
        else {
            return BTreeMap::new();
        };
        let of = |stats: v1::PodSandboxStats| {
            let id = stats.attributes?.metadata?.uid;
            let linux = stats.linux?;
            let used = match resource {
                "memory" => linux.memory?.working_set_bytes?.value,
                _ => linux
                    .containers
                    .iter()
                    .filter_map(|c| c.writable_layer.as_ref()?.used_bytes)
                    .map(|b| b.value)
                    .sum(),
            };
            Some((id, used))
        };
        answer.stats.into_iter().filter_map(of).collect()
    }
}

/// Signals below their thresholds, memory first.
fn shortages(
    thresholds: &BTreeMap<String, String>,
    observations: &BTreeMap<&'static str, Observation>,
) -> Vec<&'static str> {
    observations
        .iter()
        .filter(|(signal, observation)| {
            let Some(text) = thresholds.get(**signal) else {
                return false;
            };
            let least = match text
                .strip_suffix('%')
                .and_then(|share| share.parse::<u64>().ok())
            {
                Some(share) => observation.capacity * share / 100,
                None => {
                    u64::try_from(amount("memory", &Quantity(text.clone()))).unwrap_or_default()
                }
            };
            observation.available < least
        })
        .map(|(signal, _)| *signal)
        .collect()
}

/// The order of eviction: those above their requests first, then lower priority, then who is furthest above.
fn rank(pods: &[Arc<Pod>], resource: &str, usage: &BTreeMap<String, u64>) -> Vec<Arc<Pod>> {
    let excess = |pod: &Pod| {
        let used = usage.get(uid(pod)).copied().unwrap_or_default();
        let asked = pod_requests(pod).get(resource).copied().unwrap_or_default();
        i64::try_from(used).unwrap_or(i64::MAX) - asked
    };
    let mut ranked: Vec<_> = pods.to_vec();
    ranked.sort_by_key(|pod| {
        let excess = excess(pod);
        (
            excess <= 0,
            spec(pod).priority.unwrap_or_default(),
            std::cmp::Reverse(excess),
        )
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_amounts_or_shares() {
        let thresholds = BTreeMap::from([
            ("memory.available".to_owned(), "100Mi".to_owned()),
            ("nodefs.available".to_owned(), "10%".to_owned()),
        ]);
        let of = |memory: u64, disk| {
            let observations = BTreeMap::from([
                (
                    "memory.available",
                    Observation {
                        available: memory << 20,
                        capacity: 1 << 30,
                    },
                ),
                (
                    "nodefs.available",
                    Observation {
                        available: disk,
                        capacity: 100,
                    },
                ),
            ]);
            shortages(&thresholds, &observations)
        };
        assert!(of(100, 10).is_empty());
        assert_eq!(of(99, 10), ["memory.available"]);
        assert_eq!(of(1, 9), ["memory.available", "nodefs.available"]);
    }

    #[test]
    fn who_goes_first() {
        let pod = |name: &str, priority: i32, asked: &str| -> Arc<Pod> {
            Arc::new(serde_json::from_value(serde_json::json!({"metadata": {"name": name, "uid": name}, "spec": {
                "priority": priority, "containers": [{"name": "a", "resources": {"requests": {"memory": asked}}}]}})).unwrap())
        };
        let pods = [
            pod("modest", 0, "100"),
            pod("greedy", 0, "10"),
            pod("grand", 9, "1"),
            pod("greedier", 0, "1"),
        ];
        let usage = BTreeMap::from(
            ["modest", "greedy", "grand", "greedier"].map(|name| (name.to_owned(), 50)),
        );
        let order: Vec<_> = rank(&pods, "memory", &usage)
            .iter()
            .map(|pod| uid(pod).to_owned())
            .collect();
        assert_eq!(order, ["greedier", "greedy", "grand", "modest"]);
    }
}
