//! The disruption controller: how many pods of a PodDisruptionBudget may be evicted now.
//!
//! The API server's eviction takes from `status.disruptionsAllowed` and notes the pod in `status.disruptedPods`; this controller counts anew
//! when pods change. [`assess`] is the arithmetic.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{Event, EventType, Informer, Object as _, ObjectKey, selects};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::{Pod, ReplicationController},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
};

use crate::{
    context::ControllerContext,
    deployment::bounds::scaled,
    pods,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "disruption-controller";
/// An evicted pod that has not gone in this time is taken to stay.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// Whether the budget needs to know how many pods there should be, beyond those that are there.
fn needs_scale(spec: &PodDisruptionBudgetSpec) -> bool {
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// Counts anew. `expected` is how many pods their controllers want (only looked at where [`needs_scale`]).
fn assess(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    expected: i32,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let spec = budget.spec.clone().unwrap_or_default();
    let present = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    let expected = if needs_scale(&spec) {
        expected
    } else {
        present
    };
    let desired = match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => (expected - scaled(Some(max), expected, true)).max(0),
        (None, min) => scaled(min.as_ref(), expected, true),
    };
    let mut status = budget.status.clone().unwrap_or_default();
    let disrupted: BTreeMap<String, Time> = status
        .disrupted_pods
        .take()
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, since)| {
            let waiting = |pod: &Arc<Pod>| pod.name() == name.as_str() && !pod.is_being_deleted();
            pods.iter().any(waiting) && now.duration_since(since.0) < DELETION_TIMEOUT
        })
        .collect();
    let healthy = pods
        .iter()
        .filter(|pod| {
            !pod.is_being_deleted() && !disrupted.contains_key(pod.name()) && pods::is_ready(pod)
        })
        .count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    let allowed = if expected > 0 {
        (healthy - desired).max(0)
    } else {
        0
    };
    status.observed_generation = Some(budget.generation());
    status.current_healthy = Some(healthy);
    status.desired_healthy = Some(desired);
    status.expected_pods = Some(expected);
    status.disruptions_allowed = Some(allowed);
    status.disrupted_pods = (!disrupted.is_empty()).then_some(disrupted);
    let (value, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    set_condition(&mut status, budget.generation(), value, reason, "", now);
    status
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    generation: i64,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let since = conditions
        .iter()
        .find(|condition| condition.type_ == DISRUPTION_ALLOWED && condition.status == value)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    conditions.retain(|condition| condition.type_ != DISRUPTION_ALLOWED);
    conditions.push(Condition {
        type_: DISRUPTION_ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since,
        observed_generation: Some(generation),
    });
}

struct Disruption {
    ctx: ControllerContext,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    replication_controllers: Informer<ReplicationController>,
    stateful_sets: Informer<StatefulSet>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(Disruption {
        budgets: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        deployments: ctx.informers.informer(),
        replica_sets: ctx.informers.informer(),
        replication_controllers: ctx.informers.informer(),
        stateful_sets: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("disruption");
    queue_changes(&ctx, NAME, &controller.budgets, &queue);
    let (budgets, changed) = (controller.budgets.store().clone(), queue.clone());
    on_events(&ctx, NAME, &controller.pods, move |event: Event<Pod>| {
        for budget in budgets.list() {
            let concerned =
                |pod: &Pod| pod.namespace() == budget.namespace() && selected(&budget, pod);
            let concerns = match &event {
                Event::Resync => true,
                Event::Added(pod) | Event::Deleted(pod) => concerned(pod),
                Event::Updated { old, new } => concerned(old) || concerned(new),
            };
            if concerns {
                changed.add(budget.key());
            }
        }
    });
    run_workers(&ctx, NAME, 1, &queue, controller);
}

/// As of policy/v1: the empty selector selects all pods of the namespace, a missing one none.
fn selected(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| selects(selector, pod.labels())) && !pods::is_terminal(pod)
}

#[async_trait]
impl Reconciler for Disruption {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.budgets.has_synced().await;
        self.pods.has_synced().await;
        self.deployments.has_synced().await;
        self.replica_sets.has_synced().await;
        self.replication_controllers.has_synced().await;
        self.stateful_sets.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(budget) = self.budgets.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let mut pods = self.pods.store().list_namespace(budget.namespace());
        pods.retain(|pod| selected(&budget, pod));
        let now = self.ctx.clock.now();
        let needs_scale = budget.spec.as_ref().is_some_and(needs_scale);
        let expected = if needs_scale {
            self.expected(&pods)
        } else {
            Ok(0)
        };
        let status = match expected {
            Ok(expected) => assess(&budget, &pods, expected, now),
            Err(reason) => {
                self.ctx.recorder.event(
                    &*budget,
                    EventType::Warning,
                    "CalculateExpectedPodCountFailed",
                    reason.clone(),
                );
                let mut status = budget.status.clone().unwrap_or_default();
                status.disruptions_allowed = Some(0);
                status.observed_generation = Some(budget.generation());
                set_condition(
                    &mut status,
                    budget.generation(),
                    "False",
                    "SyncFailed",
                    &reason,
                    now,
                );
                status
            }
        };
        let waits = status
            .disrupted_pods
            .as_ref()
            .is_some_and(|pods| !pods.is_empty());
        if budget.status.as_ref() != Some(&status) {
            let desired = PodDisruptionBudget {
                status: Some(status),
                ..(*budget).clone()
            };
            self.ctx
                .client
                .api::<PodDisruptionBudget>(budget.namespace())
                .update_status(&desired)
                .await?;
        }
        Ok(if waits {
            Next::After(Duration::from_secs(120))
        } else {
            Next::OnEvent
        })
    }
}

impl Disruption {
    /// How many pods the controllers of `pods` want together, each counted once. The error tells of a pod that has none.
    fn expected(&self, pods: &[Arc<Pod>]) -> Result<i32, String> {
        let mut wanted: BTreeMap<String, i32> = BTreeMap::new();
        for pod in pods {
            match self.scale_of(pod) {
                Some((uid, replicas)) => wanted.insert(uid, replicas),
                None => return Err(format!("found no controller ref for pod {:?}", pod.name())),
            };
        }
        Ok(wanted.values().sum())
    }

    /// The uid and size of what controls a pod; of a Deployment's ReplicaSet, the Deployment's.
    fn scale_of(&self, pod: &Pod) -> Option<(String, i32)> {
        let owner = pod.controller_ref()?;
        let (namespace, name) = (pod.namespace(), owner.name.as_str());
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.replica_sets.store().get(namespace, name)?;
                if let Some(parent) = set
                    .controller_ref()
                    .filter(|parent| parent.kind == "Deployment")
                {
                    let deployment = self.deployments.store().get(namespace, &parent.name)?;
                    let replicas = deployment
                        .spec
                        .as_ref()
                        .and_then(|spec| spec.replicas)
                        .unwrap_or(1);
                    return Some((deployment.uid().to_owned(), replicas));
                }
                Some((
                    set.uid().to_owned(),
                    set.spec
                        .as_ref()
                        .and_then(|spec| spec.replicas)
                        .unwrap_or(1),
                ))
            }
            "StatefulSet" => {
                let set = self.stateful_sets.store().get(namespace, name)?;
                Some((
                    set.uid().to_owned(),
                    set.spec
                        .as_ref()
                        .and_then(|spec| spec.replicas)
                        .unwrap_or(1),
                ))
            }
            "ReplicationController" => {
                let rc = self.replication_controllers.store().get(namespace, name)?;
                Some((
                    rc.uid().to_owned(),
                    rc.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{PodCondition, PodStatus},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        (0..ready + unready)
            .map(|number| {
                let status = if number < ready { "True" } else { "False" };
                let condition = PodCondition {
                    type_: "Ready".to_owned(),
                    status: status.to_owned(),
                    ..PodCondition::default()
                };
                Arc::new(Pod {
                    metadata: ObjectMeta {
                        name: Some(format!("p{number}")),
                        ..ObjectMeta::default()
                    },
                    status: Some(PodStatus {
                        conditions: Some(vec![condition]),
                        ..PodStatus::default()
                    }),
                    ..Pod::default()
                })
            })
            .collect()
    }

    fn budget(min: Option<IntOrString>, max: Option<IntOrString>) -> PodDisruptionBudget {
        let spec = PodDisruptionBudgetSpec {
            min_available: min,
            max_unavailable: max,
            ..PodDisruptionBudgetSpec::default()
        };
        PodDisruptionBudget {
            spec: Some(spec),
            ..PodDisruptionBudget::default()
        }
    }

    #[test]
    fn budgets() {
        let percent = |text: &str| Some(IntOrString::String(text.to_owned()));
        let number = |number| Some(IntOrString::Int(number));
        let table = [
            // budget, ready, unready, wanted by controllers → desired, allowed
            (budget(number(2), None), 3, 0, 0, 2, 1),
            (budget(number(2), None), 1, 2, 0, 2, 0),
            (budget(percent("50%"), None), 3, 0, 5, 3, 0),
            (budget(None, number(1)), 3, 0, 3, 2, 1),
            (budget(None, number(1)), 2, 0, 3, 2, 0),
            (budget(None, percent("30%")), 10, 0, 10, 7, 3),
            (budget(None, number(1)), 0, 0, 0, 0, 0),
        ];
        for (budget, ready, unready, wanted, desired, allowed) in table {
            let status = assess(
                &budget,
                &pods(ready, unready),
                wanted,
                Timestamp::UNIX_EPOCH,
            );
            assert_eq!(
                (status.desired_healthy, status.disruptions_allowed),
                (Some(desired), Some(allowed)),
                "{:?} with {ready} ready, {unready} not",
                budget.spec
            );
        }
    }

    #[test]
    fn an_eviction_under_way_counts_until_it_times_out() {
        let mut budget = budget(Some(IntOrString::Int(1)), None);
        let at = |second| Timestamp::from_second(second).unwrap();
        let disrupted = Some(
            [
                ("p0".to_owned(), Time(at(0))),
                ("gone".to_owned(), Time(at(0))),
            ]
            .into(),
        );
        budget.status = Some(PodDisruptionBudgetStatus {
            disrupted_pods: disrupted,
            ..PodDisruptionBudgetStatus::default()
        });
        let under_way = assess(&budget, &pods(2, 0), 0, at(60));
        assert_eq!(
            (under_way.current_healthy, under_way.disruptions_allowed),
            (Some(1), Some(0))
        );
        assert_eq!(under_way.disrupted_pods.unwrap().len(), 1);
        assert_eq!(
            assess(&budget, &pods(2, 0), 0, at(120)).disruptions_allowed,
            Some(1)
        );
    }
}
