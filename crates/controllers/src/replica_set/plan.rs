//! What a ReplicaSet does next: create so many pods, or delete these. Pure.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use client::{Labels, Object as _, selects_labels};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pods;

/// Pods created or deleted in one go.
const BURST: usize = 500;

/// One step towards the wanted count.
#[derive(Debug)]
pub(super) enum Plan {
    /// The count is right.
    Nothing,
    /// Create so many.
    Create(usize),
    /// Delete these.
    Delete(Vec<Arc<Pod>>),
}

/// Plans the step from `pods`, the active ones it owns, to `wanted`. `related` are active pods of its siblings (other ReplicaSets of
/// the same Deployment): of two pods on nodes that share load with them, the one on the fuller node goes first.
pub(super) fn plan(pods: &[Arc<Pod>], wanted: usize, related: &[Arc<Pod>], now: Timestamp) -> Plan {
    match pods.len().cmp(&wanted) {
        Ordering::Equal => Plan::Nothing,
        Ordering::Less => Plan::Create((wanted - pods.len()).min(BURST)),
        Ordering::Greater => {
            let count = (pods.len() - wanted).min(BURST);
            Plan::Delete(to_delete(pods, count, related, now))
        }
    }
}

fn to_delete(
    pods: &[Arc<Pod>],
    count: usize,
    related: &[Arc<Pod>],
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut per_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pods::is_active(pod)) {
        *per_node.entry(pods::node_name(pod)).or_default() += 1;
    }
    let mut ranked: Vec<Ranked> = pods
        .iter()
        .map(|pod| {
            Ranked::new(
                pod,
                per_node
                    .get(pods::node_name(pod))
                    .copied()
                    .unwrap_or_default(),
                now,
            )
        })
        .collect();
    ranked.sort_by(Ranked::cmp);
    ranked
        .into_iter()
        .take(count)
        .map(|ranked| ranked.pod.clone())
        .collect()
}

/// A pod and what decides whether it goes before another (upstream's `ActivePodsWithRanks`).
struct Ranked<'a> {
    pod: &'a Arc<Pod>,
    assigned: bool,
    phase: u8,
    ready: bool,
    deletion_cost: i32,
    on_same_node: usize,
    ready_age: i64,
    restarts: i32,
    age: i64,
}

impl<'a> Ranked<'a> {
    fn new(pod: &'a Arc<Pod>, on_same_node: usize, now: Timestamp) -> Self {
        let phase = match pods::phase(pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        };
        let cost = pod.annotation("controller.kubernetes.io/pod-deletion-cost");
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            pod,
            assigned: !pods::node_name(pod).is_empty(),
            phase,
            ready: pods::is_ready(pod),
            deletion_cost: cost.and_then(|cost| cost.parse().ok()).unwrap_or_default(),
            on_same_node,
            ready_age: magnitude(pods::ready_since(pod), now),
            restarts: pods::max_restarts(pod),
            age: magnitude(created, now),
        }
    }

    /// `Less` goes first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.assigned
            .cmp(&other.assigned)
            .then(self.phase.cmp(&other.phase))
            .then(self.ready.cmp(&other.ready))
            .then(self.deletion_cost.cmp(&other.deletion_cost))
            // Where several share a node, one of them goes.
            .then(other.on_same_node.cmp(&self.on_same_node))
            // What became ready, or was made, later goes first.
            .then(if self.ready {
                self.ready_age.cmp(&other.ready_age)
            } else {
                Ordering::Equal
            })
            .then(other.restarts.cmp(&self.restarts))
            .then(self.age.cmp(&other.age))
            .then_with(|| self.pod.uid().cmp(other.pod.uid()))
    }
}

/// The power of two that an age has reached: ages of one magnitude are equal, and the uid decides. So not always the newest pod goes,
/// which would empty the newest zone.
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> i64 {
    let Some(since) = since else { return -2 };
    let seconds = now.duration_since(since).as_secs();
    if seconds <= 0 {
        -1
    } else {
        i64::from(seconds.ilog2())
    }
}

/// What the status counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(super) replicas: i32,
    pub(super) fully_labeled: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
}

/// Counts active pods.
pub(super) fn count(
    pods: &[Arc<Pod>],
    template_labels: &Labels,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Counts {
    let mut counts = Counts::default();
    for pod in pods {
        counts.replicas += 1;
        counts.fully_labeled += i32::from(selects_labels(template_labels, pod.labels()));
        counts.ready += i32::from(pods::is_ready(pod));
        counts.available += i32::from(pods::is_available(pod, min_ready_seconds, now));
    }
    counts
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use k8s_openapi::{
        api::core::v1::{PodCondition, PodSpec, PodStatus},
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    };

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    fn ago(seconds: i64) -> Time {
        Time(
            now()
                .checked_sub(SignedDuration::from_secs(seconds))
                .unwrap(),
        )
    }

    fn pod(name: &str, node: &str, phase: &str, ready_for: Option<i64>, age: i64) -> Arc<Pod> {
        let ready = ready_for.map(|seconds| PodCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(ago(seconds)),
            ..PodCondition::default()
        });
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(name.to_owned()),
                creation_timestamp: Some(ago(age)),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: (!node.is_empty()).then(|| node.to_owned()),
                ..PodSpec::default()
            }),
            status: Some(PodStatus {
                phase: Some(phase.to_owned()),
                conditions: ready.map(|ready| vec![ready]),
                ..PodStatus::default()
            }),
        })
    }

    fn deleted(pods: &[Arc<Pod>], wanted: usize, related: &[Arc<Pod>]) -> Vec<String> {
        match plan(pods, wanted, related, now()) {
            Plan::Delete(pods) => pods.iter().map(|pod| pod.name().to_owned()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn those_that_are_missed_least_go_first() {
        let pods = [
            pod("old", "n1", "Running", Some(5000), 6000),
            pod("young", "n1", "Running", Some(10), 20),
            pod("unready", "n1", "Running", None, 6000),
            pod("pending", "n1", "Pending", None, 6000),
            pod("unassigned", "", "Pending", None, 6000),
        ];
        assert_eq!(
            deleted(&pods, 1, &[]),
            ["unassigned", "pending", "unready", "young"]
        );
    }

    #[test]
    fn cost_and_company_decide_between_equals() {
        let mut cheap = (*pod("cheap", "n2", "Running", Some(100), 100)).clone();
        cheap.metadata.annotations = Some(
            [(
                "controller.kubernetes.io/pod-deletion-cost".to_owned(),
                "-5".to_owned(),
            )]
            .into(),
        );
        let pods = [
            pod("a", "n1", "Running", Some(100), 100),
            pod("b", "n2", "Running", Some(100), 100),
            Arc::new(cheap),
        ];
        let related = [pod("x", "n2", "Running", Some(100), 100)];
        assert_eq!(deleted(&pods, 1, &related), ["cheap", "b"]);
    }

    #[test]
    fn steps_are_bounded() {
        assert!(matches!(plan(&[], 2000, &[], now()), Plan::Create(500)));
        assert!(matches!(plan(&[], 0, &[], now()), Plan::Nothing));
        let pods: Vec<_> = (0..600)
            .map(|i| pod(&format!("p{i}"), "n", "Running", None, 1))
            .collect();
        assert_eq!(deleted(&pods, 0, &[]).len(), 500);
    }

    #[test]
    fn availability_takes_min_ready_seconds() {
        let pods = [
            pod("a", "n", "Running", Some(5), 9),
            pod("b", "n", "Running", Some(10), 11),
        ];
        let counts = count(&pods, &Labels::new(), 10, now());
        assert_eq!(
            counts,
            Counts {
                replicas: 2,
                fully_labeled: 2,
                ready: 2,
                available: 1
            }
        );
    }
}
