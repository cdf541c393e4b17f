//! What a StatefulSet does next: `plan(set, revisions, pods, now)`. Pure.
//!
//! With `OrderedReady` one pod at a time: none is created, replaced or removed while one before it is not ready. With `Parallel` pods are
//! created and removed together; updates go one by one either way, from the highest ordinal down.

use std::{collections::BTreeMap, sync::Arc};

use client::Object as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus},
    core::v1::Pod,
};

use crate::{history::REVISION_LABEL, pods};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Create the pod of an ordinal from the template of this revision.
    Create { ordinal: i32, revision: String },
    /// Delete a pod.
    Delete { pod: Arc<Pod>, why: Why },
}

/// Why a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It has ended, and is made again.
    Ended,
    /// There are too many.
    Surplus,
    /// It is of an old revision.
    Outdated,
}

/// What to do, and the status by what is there.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) status: StatefulSetStatus,
}

/// Names of the revisions that matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revisions<'a> {
    /// What a rollout comes from.
    pub(super) current: &'a str,
    /// What it goes to.
    pub(super) update: &'a str,
}

/// The ordinal in a pod's name, if it is a name of this set.
pub(super) fn ordinal_of(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let (parent, ordinal) = pod.name().rsplit_once('-')?;
    let number: i32 = ordinal.parse().ok()?;
    (parent == set.name() && number.to_string() == ordinal).then_some(number)
}

/// Whether the set is to have a pod of this ordinal.
pub(super) fn wants_ordinal(set: &StatefulSet, ordinal: i32) -> bool {
    set.spec.as_ref().is_some_and(|spec| {
        let first = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
        let first = first.unwrap_or_default();
        (first..first + spec.replicas.unwrap_or(1)).contains(&ordinal)
    })
}

fn revision_of(pod: &Pod) -> &str {
    pod.label(REVISION_LABEL).unwrap_or_default()
}

struct Facts<'a> {
    spec: &'a StatefulSetSpec,
    first: i32,
    replicas: i32,
    partition: i32,
    ordered: bool,
    on_delete: bool,
    now: Timestamp,
}

impl<'a> Facts<'a> {
    fn of(spec: &'a StatefulSetSpec, now: Timestamp) -> Self {
        let strategy = spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        Self {
            spec,
            first: spec
                .ordinals
                .as_ref()
                .and_then(|ordinals| ordinals.start)
                .unwrap_or_default(),
            replicas: spec.replicas.unwrap_or(1),
            partition: rolling
                .and_then(|rolling| rolling.partition)
                .unwrap_or_default(),
            ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
            on_delete: strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete"),
            now,
        }
    }

    fn available(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Running"
            && pods::is_available(
                pod,
                self.spec.min_ready_seconds.unwrap_or_default(),
                self.now,
            )
    }

    fn healthy(&self, pod: &Pod) -> bool {
        self.available(pod) && !pod.is_being_deleted()
    }
}

/// Plans the next step. `pods` are those that the set owns.
pub(super) fn plan(
    set: &StatefulSet,
    revisions: Revisions<'_>,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    let spec = set.spec.clone().unwrap_or_default();
    let facts = Facts::of(&spec, now);
    let last = facts.first + facts.replicas;
    let by_ordinal: BTreeMap<i32, &Arc<Pod>> = pods
        .iter()
        .filter_map(|pod| Some((ordinal_of(set, pod)?, pod)))
        .collect();
    let wanted: Vec<(i32, Option<&Arc<Pod>>)> = (facts.first..last)
        .map(|ordinal| (ordinal, by_ordinal.get(&ordinal).copied()))
        .collect();
    let condemned: Vec<&Arc<Pod>> = by_ordinal
        .iter()
        .filter(|(ordinal, _)| **ordinal < facts.first || **ordinal >= last)
        .map(|(_, pod)| *pod)
        .collect();

    let mut plan = Plan {
        actions: Vec::new(),
        status: status(set, &facts, revisions, pods),
    };
    if set.is_being_deleted() {
        return plan;
    }
    if steps(
        set,
        &facts,
        revisions,
        &wanted,
        &condemned,
        &mut plan.actions,
    ) && !facts.on_delete
    {
        update(&facts, revisions, &wanted, &mut plan.actions);
    }
    plan
}

/// Brings the number of pods to what is wanted; whether updates may go on.
fn steps(
    set: &StatefulSet,
    facts: &Facts<'_>,
    revisions: Revisions<'_>,
    wanted: &[(i32, Option<&Arc<Pod>>)],
    condemned: &[&Arc<Pod>],
    actions: &mut Vec<Action>,
) -> bool {
    for (ordinal, pod) in wanted {
        let ready_for_next = match pod {
            None => {
                let revision = revision_for(set, facts, revisions, *ordinal).to_owned();
                actions.push(Action::Create {
                    ordinal: *ordinal,
                    revision,
                });
                false
            }
            Some(pod) if pods::is_terminal(pod) => {
                // The same name cannot be had before the old one is gone.
                if !pod.is_being_deleted() {
                    actions.push(Action::Delete {
                        pod: (*pod).clone(),
                        why: Why::Ended,
                    });
                }
                false
            }
            Some(pod) => facts.healthy(pod),
        };
        if facts.ordered && !ready_for_next {
            return false;
        }
    }
    let first_unhealthy = condemned.iter().find(|pod| !facts.healthy(pod));
    for pod in condemned.iter().rev() {
        if pod.is_being_deleted() {
            if facts.ordered {
                return false;
            }
            continue;
        }
        // Of two broken ones the higher must not go before the lower has been looked after, unless it is the first itself.
        let is_first_unhealthy = first_unhealthy.is_some_and(|first| first.uid() == pod.uid());
        if facts.ordered && !facts.available(pod) && !is_first_unhealthy {
            return false;
        }
        actions.push(Action::Delete {
            pod: (*pod).clone(),
            why: Why::Surplus,
        });
        if facts.ordered {
            return false;
        }
    }
    true
}

/// Which template a new pod of this ordinal has: that of before, as long as the rollout has not come to it.
fn revision_for<'a>(
    set: &StatefulSet,
    facts: &Facts<'_>,
    revisions: Revisions<'a>,
    ordinal: i32,
) -> &'a str {
    let rolling = facts
        .spec
        .update_strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let not_reached = if rolling.is_some() {
        ordinal < facts.first + facts.partition
    } else {
        let current = set
            .status
            .as_ref()
            .and_then(|status| status.current_replicas)
            .unwrap_or_default();
        !facts.on_delete && ordinal < facts.first + current
    };
    if not_reached {
        revisions.current
    } else {
        revisions.update
    }
}

/// Replaces one pod of an old revision, from the top, after those above are healthy.
fn update(
    facts: &Facts<'_>,
    revisions: Revisions<'_>,
    wanted: &[(i32, Option<&Arc<Pod>>)],
    actions: &mut Vec<Action>,
) {
    for (ordinal, pod) in wanted.iter().rev() {
        if *ordinal < facts.first + facts.partition {
            return;
        }
        let Some(pod) = pod else { return };
        if revision_of(pod) != revisions.update && !pod.is_being_deleted() {
            let delete = Action::Delete {
                pod: (*pod).clone(),
                why: Why::Outdated,
            };
            if !actions.contains(&delete) {
                actions.push(delete);
            }
            return;
        }
        if !facts.healthy(pod) {
            return;
        }
    }
}

fn status(
    set: &StatefulSet,
    facts: &Facts<'_>,
    revisions: Revisions<'_>,
    all: &[Arc<Pod>],
) -> StatefulSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let count = |holds: &dyn Fn(&Pod) -> bool| {
        i32::try_from(all.iter().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
    };
    let nonzero = |count: i32| (count != 0).then_some(count);
    let running_ready = |pod: &Pod| pods::phase(pod) == "Running" && pods::is_ready(pod);
    let live = |pod: &Pod| !pod.is_being_deleted() && !pods::is_terminal(pod);
    let replicas = count(&|pod| !pods::is_terminal(pod));
    let ready = count(&running_ready);
    let updated = count(&|pod| live(pod) && revision_of(pod) == revisions.update);
    let current = count(&|pod| live(pod) && revision_of(pod) == revisions.current);
    let mut status = StatefulSetStatus {
        observed_generation: Some(set.generation()),
        replicas,
        ready_replicas: nonzero(ready),
        available_replicas: Some(count(&|pod| facts.available(pod))),
        current_replicas: nonzero(current),
        updated_replicas: nonzero(updated),
        current_revision: Some(revisions.current.to_owned()),
        update_revision: Some(revisions.update.to_owned()),
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    // The rollout is through: what it went to is where the next one comes from.
    let through =
        updated == facts.replicas && replicas == facts.replicas && ready == facts.replicas;
    if !facts.on_delete && through && facts.partition == 0 {
        status.current_replicas = nonzero(updated);
        status.current_revision = Some(revisions.update.to_owned());
    }
    status
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::{
            apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSetUpdateStrategy},
            core::v1::{PodCondition, PodStatus},
        },
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    };

    use super::*;

    const SAME: Revisions<'_> = Revisions {
        current: "r1",
        update: "r1",
    };
    const ROLLING: Revisions<'_> = Revisions {
        current: "r1",
        update: "r2",
    };

    fn set(replicas: i32, policy: &str, partition: i32) -> StatefulSet {
        let rolling = RollingUpdateStatefulSetStrategy {
            partition: Some(partition),
            max_unavailable: None,
        };
        StatefulSet {
            metadata: ObjectMeta {
                name: Some("db".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(StatefulSetSpec {
                replicas: Some(replicas),
                pod_management_policy: Some(policy.to_owned()),
                update_strategy: Some(StatefulSetUpdateStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    rolling_update: Some(rolling),
                }),
                ..StatefulSetSpec::default()
            }),
            status: None,
        }
    }

    fn pod(ordinal: i32, revision: &str, ready: bool) -> Arc<Pod> {
        let ready = PodCondition {
            type_: "Ready".to_owned(),
            status: if ready { "True" } else { "False" }.to_owned(),
            ..PodCondition::default()
        };
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(format!("db-{ordinal}")),
                uid: Some(format!("uid-{ordinal}")),
                labels: Some([(REVISION_LABEL.to_owned(), revision.to_owned())].into()),
                ..ObjectMeta::default()
            },
            status: Some(PodStatus {
                phase: Some("Running".to_owned()),
                conditions: Some(vec![ready]),
                ..PodStatus::default()
            }),
            ..Pod::default()
        })
    }

    fn ended(pod: &Pod) -> Arc<Pod> {
        let mut pod = pod.clone();
        pod.status.as_mut().unwrap().phase = Some("Failed".to_owned());
        Arc::new(pod)
    }

    fn leaving(pod: &Pod) -> Arc<Pod> {
        let mut pod = pod.clone();
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        Arc::new(pod)
    }

    fn planned(set: &StatefulSet, revisions: Revisions<'_>, pods: &[Arc<Pod>]) -> Vec<String> {
        plan(set, revisions, pods, Timestamp::UNIX_EPOCH)
            .actions
            .iter()
            .map(|action| match action {
                Action::Create { ordinal, revision } => format!("+{ordinal} {revision}"),
                Action::Delete { pod, why } => {
                    format!("-{} {why:?}", ordinal_of(set, pod).unwrap())
                }
            })
            .collect()
    }

    #[test]
    fn ordered_pods_come_and_go_one_by_one() {
        let three = set(3, "OrderedReady", 0);
        assert_eq!(planned(&three, SAME, &[]), ["+0 r1"]);
        assert_eq!(planned(&three, SAME, &[pod(0, "r1", false)]), [""; 0]);
        assert_eq!(planned(&three, SAME, &[pod(0, "r1", true)]), ["+1 r1"]);
        let full = [pod(0, "r1", true), pod(1, "r1", true), pod(2, "r1", true)];
        assert_eq!(planned(&three, SAME, &full), [""; 0]);
        let one = set(1, "OrderedReady", 0);
        assert_eq!(planned(&one, SAME, &full), ["-2 Surplus"]);
        assert_eq!(
            planned(
                &one,
                SAME,
                &[full[0].clone(), full[1].clone(), leaving(&full[2])]
            ),
            [""; 0]
        );
        assert_eq!(
            planned(&one, SAME, &[pod(0, "r1", false), full[1].clone()]),
            [""; 0],
            "0 is looked after first"
        );
        let broken = [full[0].clone(), pod(1, "r1", false), pod(2, "r1", false)];
        assert_eq!(planned(&one, SAME, &broken), [""; 0]);
        assert_eq!(planned(&one, SAME, &broken[..2]), ["-1 Surplus"]);
    }

    #[test]
    fn parallel_pods_do_not_wait() {
        assert_eq!(
            planned(&set(3, "Parallel", 0), SAME, &[pod(1, "r1", false)]),
            ["+0 r1", "+2 r1"]
        );
        let pods = [pod(0, "r1", false), pod(1, "r1", true), pod(2, "r1", true)];
        assert_eq!(
            planned(&set(1, "Parallel", 0), SAME, &pods),
            ["-2 Surplus", "-1 Surplus"]
        );
    }

    #[test]
    fn an_ended_pod_is_made_again() {
        let two = set(2, "OrderedReady", 0);
        let failed = ended(&pod(0, "r1", false));
        assert_eq!(
            planned(&two, SAME, &[failed.clone(), pod(1, "r1", true)]),
            ["-0 Ended"]
        );
        assert_eq!(
            planned(&two, SAME, &[leaving(&failed), pod(1, "r1", true)]),
            [""; 0]
        );
    }

    #[test]
    fn updates_go_from_the_top_down_to_the_partition() {
        let all = set(3, "OrderedReady", 0);
        let old = [pod(0, "r1", true), pod(1, "r1", true), pod(2, "r1", true)];
        assert_eq!(planned(&all, ROLLING, &old), ["-2 Outdated"]);
        assert_eq!(planned(&all, ROLLING, &old[..2]), ["+2 r2"]);
        let half = [old[0].clone(), old[1].clone(), pod(2, "r2", true)];
        assert_eq!(planned(&all, ROLLING, &half), ["-1 Outdated"]);
        let waiting = [old[0].clone(), old[1].clone(), pod(2, "r2", false)];
        assert_eq!(planned(&all, ROLLING, &waiting), [""; 0]);

        let partitioned = set(3, "OrderedReady", 2);
        assert_eq!(planned(&partitioned, ROLLING, &half), [""; 0]);
        assert_eq!(
            planned(&partitioned, ROLLING, &[old[0].clone(), half[2].clone()]),
            ["+1 r1"]
        );
    }

    #[test]
    fn a_rollout_that_is_through_is_the_current_one() {
        let two = set(2, "OrderedReady", 0);
        let status = |pods: &[Arc<Pod>]| plan(&two, ROLLING, pods, Timestamp::UNIX_EPOCH).status;
        let half = status(&[pod(0, "r1", true), pod(1, "r2", true)]);
        assert_eq!(
            (half.current_revision.as_deref(), half.updated_replicas),
            (Some("r1"), Some(1))
        );
        let through = status(&[pod(0, "r2", true), pod(1, "r2", true)]);
        assert_eq!(
            (
                through.current_revision.as_deref(),
                through.current_replicas
            ),
            (Some("r2"), Some(2))
        );
    }
}
