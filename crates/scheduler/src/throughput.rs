//! How many decisions a second: `cargo test -p scheduler --release -- --ignored --nocapture decisions`.
//!
//! Decisions alone: queue, filter, score, pick, assume. What the API server takes for a binding is measured from outside.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use jiff::Timestamp;

use crate::{
    algorithm::Algorithm,
    cache::Cache,
    framework::{CycleState, Profiles},
    metrics::QueueMetrics,
    queue::{Backoff, SchedulingQueue},
    testing::{self, PodBuilder},
};

const PODS: usize = 5_000;
const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn cluster(nodes: usize) -> Cache {
    let mut cache = Cache::default();
    for index in 0..nodes {
        let (name, zone) = (format!("node-{index:05}"), format!("zone-{}", index % 10));
        let node = testing::node(&name).labels(&[(HOST, &name), (ZONE, &zone)]);
        cache.set_node(node.build());
    }
    cache
}

fn plain(index: usize) -> PodBuilder {
    testing::pod(&format!("pod-{index}"))
        .labels(&[("app", "web")])
        .requests("100m", "64Mi")
}

fn spread(index: usize) -> PodBuilder {
    plain(index).edit(|spec| {
        let constraint = serde_json::json!([{
            "topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]);
        spec.topology_spread_constraints = serde_json::from_value(constraint).unwrap();
    })
}

fn apart(index: usize) -> PodBuilder {
    // Of each group of a hundred no two are on one node.
    let group = format!("group-{}", index / 100);
    plain(index)
        .labels(&[("app", "web"), ("group", &group)])
        .edit(|spec| {
            let affinity = serde_json::json!({"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "topologyKey": HOST, "labelSelector": {"matchLabels": {"group": group}},
                }],
            }});
            spec.affinity = serde_json::from_value(affinity).unwrap();
        })
}

/// Pods a second.
fn measure(nodes: usize, pods: usize, make: fn(usize) -> PodBuilder) -> f64 {
    let mut cache = cluster(nodes);
    let profiles = Arc::new(Profiles::new(testing::profile(), Vec::new()));
    let mut queue = SchedulingQueue::new(
        Arc::clone(&profiles),
        Backoff::default(),
        QueueMetrics::default(),
    );
    let mut algorithm = Algorithm::new(7, 0);
    let now = Timestamp::UNIX_EPOCH;
    for index in 0..pods {
        queue.add_or_update(make(index).info(), now);
    }
    let begin = Instant::now();
    while let Some(pod) = queue.pop(now) {
        let mut state = CycleState::default();
        let profile = profiles.of(&pod.info);
        let decision = algorithm.schedule(profile, &mut state, &pod.info, cache.snapshot());
        cache.assume(&decision.unwrap().node, Arc::clone(&pod.info));
        queue.remove(&pod.info.uid);
    }
    pods as f64 / begin.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement: meaningful in release builds on a quiet machine alone"]
fn decisions() {
    let mut table = String::new();
    for nodes in [100, 1_000, 5_000] {
        for (what, make) in [
            ("plain", plain as fn(usize) -> PodBuilder),
            ("spread over zones", spread),
            ("apart by host", apart),
        ] {
            let rate = measure(nodes, PODS, make);
            writeln!(table, "{nodes:>6} nodes, {what:<18} {rate:>8.0} pods/s").unwrap();
        }
    }
    println!("{table}");
}
