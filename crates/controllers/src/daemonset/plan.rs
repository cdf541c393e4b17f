//! What a DaemonSet does next: `plan(set, hash, nodes, pods, now)`. Pure.

use std::{collections::BTreeMap, sync::Arc};

use client::{EventType, Object as _};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus},
    core::v1::{Node, Pod},
};

use crate::{deployment::bounds::scaled, history::REVISION_LABEL, pods};

use super::nodes::{Placement, pinned_to, placement};

/// Pods created or deleted in one go.
const BURST: usize = 250;

/// What to do, and the status by what is there.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub(super) create: Vec<String>,
    /// Pods that go.
    pub(super) delete: Vec<Arc<Pod>>,
    /// What to tell.
    pub(super) events: Vec<(EventType, &'static str, String)>,
    pub(super) status: DaemonSetStatus,
}

/// The node a pod is on, or is tied to.
pub(super) fn node_of(pod: &Pod) -> &str {
    match pods::node_name(pod) {
        "" => pod.spec.as_ref().and_then(pinned_to).unwrap_or_default(),
        name => name,
    }
}

/// A node and the set's pods on it, oldest first.
struct Site<'a> {
    node: &'a Node,
    placement: Placement,
    pods: Vec<&'a Arc<Pod>>,
}

struct Facts<'a> {
    spec: &'a DaemonSetSpec,
    hash: &'a str,
    now: Timestamp,
}

impl Facts<'_> {
    fn is_new(&self, pod: &Pod) -> bool {
        pod.label(REVISION_LABEL) == Some(self.hash)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(
            pod,
            self.spec.min_ready_seconds.unwrap_or_default(),
            self.now,
        )
    }

    /// `maxUnavailable` and `maxSurge` of so many nodes, if it rolls.
    fn bounds(&self, desired: usize) -> Option<(usize, usize)> {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return None;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let desired = i32::try_from(desired).unwrap_or(i32::MAX);
        let count = |value| usize::try_from(scaled(value, desired, true)).unwrap_or_default();
        let surge = count(rolling.and_then(|rolling| rolling.max_surge.as_ref()));
        let unavailable = match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
            None => usize::from(surge == 0),
            value => count(value),
        };
        // One of them must let something move.
        Some(if unavailable == 0 && surge == 0 {
            (1, 0)
        } else {
            (unavailable, surge)
        })
    }
}

/// Plans the next step. `hash` names the set's template, `pods` are those that it owns.
pub(super) fn plan(
    set: &DaemonSet,
    hash: &str,
    nodes: &[Arc<Node>],
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    let spec = set.spec.clone().unwrap_or_default();
    let facts = Facts {
        spec: &spec,
        hash,
        now,
    };
    let template = spec.template.spec.clone().unwrap_or_default();
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        by_node.entry(node_of(pod)).or_default().push(pod);
    }
    let sites: Vec<Site<'_>> = nodes
        .iter()
        .map(|node| {
            let mut pods = by_node.remove(node.name()).unwrap_or_default();
            pods.sort_by_key(|pod| {
                (
                    pod.metadata.creation_timestamp.clone(),
                    pod.name().to_owned(),
                )
            });
            Site {
                node,
                placement: placement(&template, node),
                pods,
            }
        })
        .collect();
    let mut plan = Plan {
        status: status(set, &facts, &sites),
        ..Plan::default()
    };
    if set.is_being_deleted() {
        return plan;
    }
    let surge = facts.bounds(sites.len()).map_or(0, |(_, surge)| surge);
    for site in &sites {
        settle(site, &facts, surge > 0, &mut plan);
    }
    // Tied to nodes that are gone, and never bound: nobody else would delete them.
    let lost = by_node
        .into_values()
        .flatten()
        .filter(|pod| pods::node_name(pod).is_empty());
    plan.delete
        .extend(lost.filter(|pod| !pod.is_being_deleted()).cloned());
    if plan.create.is_empty() && plan.delete.is_empty() {
        roll(&sites, &facts, &mut plan);
    }
    plan.create.truncate(BURST);
    plan.delete.truncate(BURST);
    plan
}

/// Brings one node to the one pod it should have, or none.
fn settle(site: &Site<'_>, facts: &Facts<'_>, surges: bool, plan: &mut Plan) {
    let present: Vec<&&Arc<Pod>> = site
        .pods
        .iter()
        .filter(|pod| !pod.is_being_deleted())
        .collect();
    if site.placement == Placement::Leave {
        plan.delete
            .extend(present.into_iter().map(|pod| (*pod).clone()));
        return;
    }
    if site.pods.is_empty() {
        if site.placement == Placement::Run {
            plan.create.push(site.node.name().to_owned());
        }
        return;
    }
    let mut live = Vec::new();
    for pod in present {
        let node = site.node.name();
        match pods::phase(pod) {
            "Failed" => {
                let message = format!(
                    "Found failed daemon pod {} on node {node}, will try to kill it",
                    pod.key()
                );
                plan.events
                    .push((EventType::Warning, "FailedDaemonPod", message));
                plan.delete.push((*pod).clone());
            }
            "Succeeded" => {
                let message = format!(
                    "Found succeeded daemon pod {} on node {node}, will try to delete it",
                    pod.key()
                );
                plan.events
                    .push((EventType::Normal, "SucceededDaemonPod", message));
                plan.delete.push((*pod).clone());
            }
            _ => live.push(*pod),
        }
    }
    // The oldest stays; with surge an old and a new one may stand side by side.
    let mut kept = [false, false];
    for pod in live {
        let class = usize::from(surges && facts.is_new(pod));
        if std::mem::replace(&mut kept[class], true) {
            plan.delete.push(pod.clone());
        }
    }
}

/// One step of a rolling update.
fn roll(sites: &[Site<'_>], facts: &Facts<'_>, plan: &mut Plan) {
    let running: Vec<&Site<'_>> = sites
        .iter()
        .filter(|site| site.placement == Placement::Run)
        .collect();
    let Some((max_unavailable, max_surge)) = facts.bounds(running.len()) else {
        return;
    };
    let mut unavailable = 0;
    let mut surging = 0;
    let mut candidates: Vec<&Arc<Pod>> = Vec::new();
    let mut surge_candidates: Vec<&str> = Vec::new();
    for site in running {
        let live = |new: bool| {
            site.pods
                .iter()
                .copied()
                .find(|pod| facts.is_new(pod) == new && !pod.is_being_deleted())
        };
        match (live(false), live(true)) {
            (None, None) => unavailable += 1,
            (None, Some(new)) => unavailable += usize::from(!facts.is_available(new)),
            (Some(old), None) if !facts.is_available(old) => {
                // It serves nobody: replacing it costs nothing.
                unavailable += usize::from(max_surge == 0);
                plan.delete.push(old.clone());
            }
            (Some(old), None) if max_surge == 0 => candidates.push(old),
            (Some(_), None) => surge_candidates.push(site.node.name()),
            (Some(old), Some(new)) if facts.is_available(new) => plan.delete.push(old.clone()),
            (Some(_), Some(_)) => surging += 1,
        }
    }
    let room = max_unavailable.saturating_sub(unavailable);
    plan.delete
        .extend(candidates.into_iter().take(room).cloned());
    let room = max_surge.saturating_sub(surging);
    plan.create
        .extend(surge_candidates.into_iter().take(room).map(str::to_owned));
}

fn status(set: &DaemonSet, facts: &Facts<'_>, sites: &[Site<'_>]) -> DaemonSetStatus {
    let mut status = DaemonSetStatus {
        observed_generation: Some(set.generation()),
        collision_count: set
            .status
            .as_ref()
            .and_then(|status| status.collision_count),
        conditions: set
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for site in sites {
        if site.placement != Placement::Run {
            status.number_misscheduled += i32::from(!site.pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        // Of several the newest template's counts, as the one that stays.
        let newest = site
            .pods
            .iter()
            .find(|pod| facts.is_new(pod))
            .or_else(|| site.pods.first());
        let Some(pod) = newest else { continue };
        status.current_number_scheduled += 1;
        let ready = pods::is_ready(pod) && !pod.is_being_deleted();
        status.number_ready += i32::from(ready);
        available += i32::from(ready && facts.is_available(pod));
        updated += i32::from(facts.is_new(pod));
    }
    let nonzero = |count: i32| (count != 0).then_some(count);
    status.updated_number_scheduled = nonzero(updated);
    status.number_available = nonzero(available);
    status.number_unavailable = nonzero(status.desired_number_scheduled - available);
    status
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::{
            apps::v1::{DaemonSetUpdateStrategy, RollingUpdateDaemonSet},
            core::v1::{NodeSpec, PodCondition, PodSpec, PodStatus, Taint},
        },
        apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
    };

    use super::*;

    fn set(surge: i32) -> DaemonSet {
        let unavailable = i32::from(surge == 0);
        let strategy = DaemonSetUpdateStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDaemonSet {
                max_unavailable: Some(IntOrString::Int(unavailable)),
                max_surge: Some(IntOrString::Int(surge)),
            }),
        };
        let spec = DaemonSetSpec {
            update_strategy: Some(strategy),
            ..DaemonSetSpec::default()
        };
        DaemonSet {
            spec: Some(spec),
            ..DaemonSet::default()
        }
    }

    fn node(name: &str, taint: Option<&str>) -> Arc<Node> {
        let taints = taint.map(|effect| {
            vec![Taint {
                key: "t".to_owned(),
                effect: effect.to_owned(),
                ..Taint::default()
            }]
        });
        Arc::new(Node {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                taints,
                ..NodeSpec::default()
            }),
            status: None,
        })
    }

    fn pod(node: &str, hash: &str, ready: bool, phase: &str) -> Arc<Pod> {
        let condition = PodCondition {
            type_: "Ready".to_owned(),
            status: if ready { "True" } else { "False" }.to_owned(),
            ..PodCondition::default()
        };
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(format!("{node}-{hash}")),
                labels: Some([(REVISION_LABEL.to_owned(), hash.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: Some(node.to_owned()),
                ..PodSpec::default()
            }),
            status: Some(PodStatus {
                phase: Some(phase.to_owned()),
                conditions: Some(vec![condition]),
                ..PodStatus::default()
            }),
        })
    }

    fn planned(
        set: &DaemonSet,
        nodes: &[Arc<Node>],
        pods: &[Arc<Pod>],
    ) -> (Vec<String>, Vec<String>) {
        let plan = plan(set, "new", nodes, pods, Timestamp::UNIX_EPOCH);
        (
            plan.create,
            plan.delete
                .iter()
                .map(|pod| pod.name().to_owned())
                .collect(),
        )
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn one_pod_on_each_node_that_fits() {
        let nodes = [
            node("a", None),
            node("b", Some("NoSchedule")),
            node("c", Some("NoExecute")),
            node("d", None),
        ];
        assert_eq!(
            planned(&set(0), &nodes, &[]),
            (names(&["a", "d"]), names(&[]))
        );
        let pods = [
            pod("a", "new", true, "Running"),
            pod("b", "new", true, "Running"),
            pod("c", "new", true, "Running"),
            pod("d", "new", false, "Failed"),
        ];
        assert_eq!(
            planned(&set(0), &nodes, &pods),
            (names(&[]), names(&["c-new", "d-new"]))
        );
        let status = plan(&set(0), "new", &nodes, &pods, Timestamp::UNIX_EPOCH).status;
        assert_eq!(
            (
                status.desired_number_scheduled,
                status.number_misscheduled,
                status.number_ready
            ),
            (2, 2, 1)
        );
    }

    #[test]
    fn a_rolling_update_keeps_its_bounds() {
        let nodes = [node("a", None), node("b", None), node("c", None)];
        let old = |node: &str| pod(node, "old", true, "Running");
        let all = [old("a"), old("b"), old("c")];
        assert_eq!(
            planned(&set(0), &nodes, &all),
            (names(&[]), names(&["a-old"]))
        );
        let one_coming = [pod("a", "new", false, "Running"), old("b"), old("c")];
        assert_eq!(
            planned(&set(0), &nodes, &one_coming),
            (names(&[]), names(&[]))
        );
        let one_there = [pod("a", "new", true, "Running"), old("b"), old("c")];
        assert_eq!(
            planned(&set(0), &nodes, &one_there),
            (names(&[]), names(&["b-old"]))
        );
        let broken = [old("a"), pod("b", "old", false, "Running"), old("c")];
        assert_eq!(
            planned(&set(0), &nodes, &broken),
            (names(&[]), names(&["b-old"])),
            "the broken one first"
        );
    }

    #[test]
    fn a_surge_puts_the_new_beside_the_old() {
        let nodes = [node("a", None), node("b", None)];
        let old = |node: &str| pod(node, "old", true, "Running");
        assert_eq!(
            planned(&set(1), &nodes, &[old("a"), old("b")]),
            (names(&["a"]), names(&[]))
        );
        let beside = [old("a"), pod("a", "new", false, "Running"), old("b")];
        assert_eq!(planned(&set(1), &nodes, &beside), (names(&[]), names(&[])));
        let there = [old("a"), pod("a", "new", true, "Running"), old("b")];
        assert_eq!(
            planned(&set(1), &nodes, &there),
            (names(&["b"]), names(&["a-old"]))
        );
    }
}
