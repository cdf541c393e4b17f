//! One step of a rolling update: grow the new ReplicaSet if there is room, otherwise shrink old ones as availability allows.

use super::{
    bounds::{max_unavailable, new_set_replicas, replicas, set_replicas},
    plan::Rollout,
    status::available_replicas,
};

pub(super) fn step(rollout: &mut Rollout<'_>) {
    rollout.ensure_new_set();
    if grow_new(rollout) || shrink_old(rollout) {
        return;
    }
    if rollout.is_complete() {
        rollout.clean_up_history();
    }
}

/// Brings the new ReplicaSet to the size it may have now; whether that is another than it has.
fn grow_new(rollout: &mut Rollout<'_>) -> bool {
    let Some(index) = rollout.new else {
        return false;
    };
    let current = set_replicas(&rollout.sets[index]);
    let wanted = replicas(&rollout.deployment);
    let size = if current > wanted {
        wanted
    } else {
        new_set_replicas(&rollout.deployment, rollout.total(), current)
    };
    if size != current {
        rollout.resize(index, size);
    }
    size != current
}

/// Shrinks old ReplicaSets: first by the pods that are not available anyway, then by as many as availability allows.
fn shrink_old(rollout: &mut Rollout<'_>) -> bool {
    let old: Vec<usize> = rollout.old_sets().collect();
    if old
        .iter()
        .map(|index| set_replicas(&rollout.sets[*index]))
        .sum::<i32>()
        == 0
    {
        return false;
    }
    let min_available = replicas(&rollout.deployment) - max_unavailable(&rollout.deployment);
    let unavailable_new = rollout
        .new_set()
        .map_or(0, |set| set_replicas(set) - available(set));
    // New pods that are not available yet count as if they never would be: they must not make room for the removal of old ones.
    let max_scaled_down = rollout.total() - min_available - unavailable_new;
    if max_scaled_down <= 0 {
        return false;
    }
    let cleaned_up = clean_up_unhealthy(rollout, &old, max_scaled_down);
    let scaled_down = scale_down_available(rollout, &old, min_available);
    cleaned_up + scaled_down > 0
}

fn available(set: &k8s_openapi::api::apps::v1::ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or_default()
}

fn clean_up_unhealthy(rollout: &mut Rollout<'_>, old: &[usize], max: i32) -> i32 {
    let mut total = 0;
    for &index in old {
        let size = set_replicas(&rollout.sets[index]);
        let unhealthy = size - available(&rollout.sets[index]);
        let by = unhealthy.min(max - total);
        if by > 0 {
            rollout.resize(index, size - by);
            total += by;
        }
    }
    total
}

fn scale_down_available(rollout: &mut Rollout<'_>, old: &[usize], min_available: i32) -> i32 {
    let spare = available_replicas(&rollout.sets) - min_available;
    let mut total = 0;
    for &index in old {
        let size = set_replicas(&rollout.sets[index]);
        let by = size.min(spare - total);
        if by > 0 {
            rollout.resize(index, size - by);
            total += by;
        }
    }
    total
}
