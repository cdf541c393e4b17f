//! Scaling: of a Deployment at rest its one ReplicaSet, in the middle of a rollout all of them in proportion, so that what
//! was risked before the scaling is risked after it.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::{
    annotations,
    bounds::{is_rolling, max_surge, replicas, set_replicas},
    plan::Rollout,
};

/// Whether the Deployment's size is another than when it last scaled its ReplicaSets.
pub(super) fn is_scaling_event(rollout: &Rollout<'_>) -> bool {
    let wanted = replicas(&rollout.deployment);
    rollout
        .sets
        .iter()
        .filter(|set| set_replicas(set) > 0)
        .any(|set| annotations::desired_replicas(set).is_some_and(|desired| desired != wanted))
}

pub(super) fn scale(rollout: &mut Rollout<'_>) {
    let wanted = replicas(&rollout.deployment);
    if let Some(index) = active_or_latest(rollout) {
        // Even at the right size: what is noted on it must be the size of now.
        rollout.resize(index, wanted);
        return;
    }
    if is_saturated(rollout) {
        // The new one carries all: what is left of the old ones can go.
        let active: Vec<usize> = rollout
            .old_sets()
            .filter(|index| set_replicas(&rollout.sets[*index]) > 0)
            .collect();
        for index in active {
            rollout.resize(index, 0);
        }
    } else if is_rolling(&rollout.deployment) {
        scale_in_proportion(rollout);
    }
}

/// The only ReplicaSet with pods; if none has, the new one, otherwise the latest. Nothing if several have.
fn active_or_latest(rollout: &Rollout<'_>) -> Option<usize> {
    let mut active =
        (0..rollout.sets.len()).filter(|index| set_replicas(&rollout.sets[*index]) > 0);
    match (active.next(), active.next()) {
        (None, _) => rollout.new.or_else(|| rollout.sets.len().checked_sub(1)),
        (Some(only), None) => Some(only),
        _ => None,
    }
}

fn is_saturated(rollout: &Rollout<'_>) -> bool {
    let wanted = replicas(&rollout.deployment);
    rollout.new_set().is_some_and(|set| {
        set_replicas(set) == wanted
            && annotations::desired_replicas(set) == Some(wanted)
            && set
                .status
                .as_ref()
                .and_then(|status| status.available_replicas)
                .unwrap_or_default()
                == wanted
    })
}

fn scale_in_proportion(rollout: &mut Rollout<'_>) {
    let deployment = rollout.deployment.clone();
    let mut active: Vec<usize> = (0..rollout.sets.len())
        .filter(|index| set_replicas(&rollout.sets[*index]) > 0)
        .collect();
    let total: i32 = active
        .iter()
        .map(|index| set_replicas(&rollout.sets[*index]))
        .sum();
    let wanted = replicas(&deployment);
    let allowed = if wanted > 0 {
        wanted + max_surge(&deployment)
    } else {
        0
    };
    let to_add = allowed - total;
    // Larger ones first; among equals growth goes to the newer, shrinking to the older. `sets` is in order of creation.
    active.sort_by_key(|&index| {
        let age = if to_add > 0 {
            usize::MAX - index
        } else {
            index
        };
        (std::cmp::Reverse(set_replicas(&rollout.sets[index])), age)
    });
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for &index in &active {
        let set = &rollout.sets[index];
        let share = proportion(&deployment, set, to_add, added);
        added += share;
        sizes.push(set_replicas(set) + share);
    }
    // What rounding left over goes to the largest.
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + to_add - added).max(0);
    }
    for (&index, size) in active.iter().zip(sizes) {
        rollout.resize(index, size);
    }
}

/// The part of `to_add` that is this ReplicaSet's.
fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if set_replicas(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(deployment, set);
    let left = to_add - added;
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let size = set_replicas(set);
    let wanted = replicas(deployment);
    if wanted == 0 {
        return -size;
    }
    let before = match annotations::max_replicas(set) {
        Some(max) if max > 0 => max,
        // The annotation is missing: what the Deployment last reported is the next best.
        _ => match deployment
            .status
            .as_ref()
            .and_then(|status| status.replicas)
        {
            None | Some(0) => return 0,
            Some(replicas) => replicas,
        },
    };
    let after = i64::from(wanted + max_surge(deployment));
    let product = i64::from(size) * after;
    let before = i64::from(before);
    let rounded = (2 * product + before).div_euclid(2 * before);
    i32::try_from(rounded).unwrap_or(i32::MAX) - size
}
