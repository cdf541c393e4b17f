//! One step of the `Recreate` strategy: stop everything old, wait until it is gone, then start everything new.

use std::sync::Arc;

use client::Object as _;
use k8s_openapi::api::core::v1::Pod;

use crate::pods;

use super::{
    bounds::{replicas, set_replicas},
    plan::Rollout,
    status::actual_replicas,
};

pub(super) fn step(rollout: &mut Rollout<'_>, pods: &[Arc<Pod>]) {
    let active: Vec<usize> = rollout
        .old_sets()
        .filter(|index| set_replicas(&rollout.sets[*index]) > 0)
        .collect();
    if !active.is_empty() {
        for index in active {
            rollout.resize(index, 0);
        }
        return;
    }
    if old_pods_run(rollout, pods) {
        return;
    }
    rollout.ensure_new_set();
    let wanted = replicas(&rollout.deployment);
    if let Some(index) = rollout.new
        && set_replicas(&rollout.sets[index]) != wanted
    {
        rollout.resize(index, wanted);
        return;
    }
    if rollout.is_complete() {
        rollout.clean_up_history();
    }
}

/// Whether a pod of an old ReplicaSet has not ended yet, though it may be on its way.
fn old_pods_run(rollout: &Rollout<'_>, pods: &[Arc<Pod>]) -> bool {
    let old: Vec<_> = rollout
        .old_sets()
        .map(|index| rollout.sets[index].clone())
        .collect();
    if actual_replicas(&old) > 0 {
        return true;
    }
    let of_old = |pod: &Pod| {
        pod.controller_ref()
            .is_some_and(|controller| old.iter().any(|set| set.uid() == controller.uid))
    };
    pods.iter()
        .any(|pod| of_old(pod) && !pods::is_terminal(pod))
}
