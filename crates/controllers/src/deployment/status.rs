//! The status of a Deployment: counts, and the conditions `Available`, `Progressing`, `ReplicaFailure`.

use std::time::Duration;

use client::Object as _;
use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::bounds::{max_unavailable, replicas, set_replicas};

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
pub(super) const NEW_RS_AVAILABLE: &str = "NewReplicaSetAvailable";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// A condition that begins now.
pub(super) fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The condition of a type.
pub(super) fn get<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
}

/// Puts a condition in, unless one with the same status and reason is there; the transition time moves with the status alone.
pub(super) fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = get(status, &condition.type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition.last_transition_time = current.last_transition_time.clone();
        }
    }
    remove(status, &condition.type_.clone());
    status.conditions.get_or_insert_default().push(condition);
}

/// Takes a condition out.
pub(super) fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
}

/// `spec.progressDeadlineSeconds`, unless it is the number that stands for "none".
pub(super) fn progress_deadline(deployment: &Deployment) -> Option<i64> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| seconds.into())
}

fn sum(sets: &[ReplicaSet], count: impl Fn(&ReplicaSet) -> Option<i32>) -> i32 {
    sets.iter().filter_map(count).sum()
}

/// Pods that all ReplicaSets together report as available.
pub(super) fn available_replicas(sets: &[ReplicaSet]) -> i32 {
    sum(sets, |set| set.status.as_ref()?.available_replicas)
}

/// Pods that all ReplicaSets together report.
pub(super) fn actual_replicas(sets: &[ReplicaSet]) -> i32 {
    sum(sets, |set| Some(set.status.as_ref()?.replicas))
}

/// Counts and the `Available` condition, over the conditions that are there.
pub(super) fn calculate(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let available = available_replicas(sets);
    let total: i32 = sets.iter().map(set_replicas).sum();
    // Reported by all or not at all: a partial sum would be wrong.
    let terminating = sets
        .iter()
        .map(|set| set.status.as_ref()?.terminating_replicas)
        .sum::<Option<i32>>();
    let mut status = DeploymentStatus {
        observed_generation: Some(deployment.generation()),
        replicas: Some(actual_replicas(sets)).filter(|count| *count != 0),
        updated_replicas: new
            .and_then(|set| Some(set.status.as_ref()?.replicas))
            .filter(|count| *count != 0),
        ready_replicas: Some(sum(sets, |set| set.status.as_ref()?.ready_replicas))
            .filter(|count| *count != 0),
        available_replicas: Some(available).filter(|count| *count != 0),
        unavailable_replicas: Some((total - available).max(0)).filter(|count| *count != 0),
        collision_count: old.collision_count,
        terminating_replicas: terminating,
        conditions: old.conditions,
    };
    let availability = if available >= replicas(deployment) - max_unavailable(deployment) {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    let (value, reason, message) = availability;
    set(
        &mut status,
        condition(AVAILABLE, value, reason, message.to_owned(), now),
    );
    status
}

/// All wanted pods are of the new template, and available, and no others are there.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    status.updated_replicas.unwrap_or_default() == wanted
        && status.replicas.unwrap_or_default() == wanted
        && status.available_replicas.unwrap_or_default() == wanted
        && status.observed_generation.unwrap_or_default() >= deployment.generation()
}

/// More new pods, fewer old ones, or more that are ready or available than before.
fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or_default();
    let of_old_template =
        |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || of_old_template(new) < of_old_template(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

/// Whether the last progress is longer ago than the deadline allows.
fn is_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(deadline) = progress_deadline(deployment) else {
        return false;
    };
    let Some(condition) = get(status, PROGRESSING) else {
        return false;
    };
    match condition.reason.as_deref() {
        Some(NEW_RS_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => {
            let last = condition
                .last_update_time
                .as_ref()
                .map_or(now, |time| time.0);
            now.as_second() - last.as_second() > deadline
        }
    }
}

/// The status in the course of a rollout: [`calculate`], the `Progressing` condition by what changed, and failures of ReplicaSets.
pub(super) fn rollout(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = calculate(deployment, sets, new, now);
    let current = get(&before, PROGRESSING).cloned();
    if progress_deadline(deployment).is_none() {
        remove(&mut status, PROGRESSING);
    }
    let was_completed = status.replicas == status.updated_replicas
        && current
            .as_ref()
            .is_some_and(|condition| condition.reason.as_deref() == Some(NEW_RS_AVAILABLE));
    // A rollout that is through does not time out, whatever becomes of its pods later.
    if progress_deadline(deployment).is_some() && !was_completed {
        let subject = match new {
            Some(set) => format!("ReplicaSet {:?}", set.name()),
            None => format!("Deployment {:?}", deployment.name()),
        };
        if is_complete(deployment, &status) {
            let message = format!("{subject} has successfully progressed.");
            set(
                &mut status,
                condition(PROGRESSING, "True", NEW_RS_AVAILABLE, message, now),
            );
        } else if is_progressing(&before, &status) {
            let message = format!("{subject} is progressing.");
            let mut progress = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
            // Progress is news even if the condition says the same: the deadline counts from here.
            if let Some(current) = current.filter(|current| current.status == "True") {
                progress.last_transition_time = current.last_transition_time;
            }
            remove(&mut status, PROGRESSING);
            set(&mut status, progress);
        } else if is_timed_out(deployment, &status, now) {
            let message = format!("{subject} has timed out progressing.");
            set(
                &mut status,
                condition(PROGRESSING, "False", TIMED_OUT, message, now),
            );
        }
    }
    match replica_failure(sets, new) {
        Some(failure) => set(&mut status, failure),
        None => remove(&mut status, REPLICA_FAILURE),
    }
    status
}

/// The failure of the new ReplicaSet, otherwise of any.
fn replica_failure(sets: &[ReplicaSet], new: Option<&ReplicaSet>) -> Option<DeploymentCondition> {
    let of = |set: &ReplicaSet| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let failure = conditions
            .iter()
            .find(|condition| condition.type_ == REPLICA_FAILURE)?;
        Some(DeploymentCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: failure.status.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            last_transition_time: failure.last_transition_time.clone(),
            last_update_time: failure.last_transition_time.clone(),
        })
    };
    new.and_then(of).or_else(|| sets.iter().find_map(of))
}

/// When the progress deadline must be looked at again, if a rollout is under way.
pub(super) fn recheck_after(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = progress_deadline(deployment)?;
    let condition = get(status, PROGRESSING)?;
    if is_complete(deployment, status) || condition.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    let last = condition
        .last_update_time
        .as_ref()
        .map_or(now, |time| time.0);
    let left = deadline - (now.as_second() - last.as_second());
    // A second more, since times in objects are whole seconds.
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1))
}
