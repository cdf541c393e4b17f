//! The numbers of a rolling update: how far above and below the wanted count it may go.

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// `spec.replicas`; the server has defaulted it.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// `spec.replicas` of a ReplicaSet.
pub(super) fn set_replicas(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// Whether the strategy is `RollingUpdate`, which is the default.
pub(super) fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// A number, or a percentage of `total` rounded up or down. What cannot be read counts as 0; the server does not let it in.
pub(crate) fn scaled(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let Some(percent) = text
                .strip_suffix('%')
                .and_then(|percent| percent.parse::<i64>().ok())
            else {
                return 0;
            };
            let product = percent * i64::from(total);
            let rounded = if round_up {
                (product + 99).div_euclid(100)
            } else {
                product.div_euclid(100)
            };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

/// `maxSurge` and `maxUnavailable` as numbers; if both come out as 0, one pod may be unavailable, or nothing would ever move.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = replicas(deployment);
    let surge = scaled(rolling.and_then(|r| r.max_surge.as_ref()), wanted, true);
    let unavailable = scaled(
        rolling.and_then(|r| r.max_unavailable.as_ref()),
        wanted,
        false,
    );
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

/// Pods that may run beyond the wanted count.
pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) {
        fenceposts(deployment).0
    } else {
        0
    }
}

/// Pods that may be missing from the wanted count.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    let wanted = replicas(deployment);
    if !is_rolling(deployment) || wanted == 0 {
        0
    } else {
        fenceposts(deployment).1.min(wanted)
    }
}

/// How many pods the new ReplicaSet should have now; `all` is the sum of `spec.replicas` of all ReplicaSets.
pub(super) fn new_set_replicas(deployment: &Deployment, all: i32, current: i32) -> i32 {
    let wanted = replicas(deployment);
    if !is_rolling(deployment) {
        return wanted;
    }
    let ceiling = wanted + max_surge(deployment);
    if all >= ceiling {
        return current;
    }
    current + (ceiling - all).min(wanted - current)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::deployment, *};

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        let table = [
            // replicas, maxSurge, maxUnavailable → surge, unavailable
            (10, percent("25%"), percent("25%"), 3, 2),
            (1, percent("25%"), percent("25%"), 1, 0),
            (3, percent("0%"), percent("10%"), 0, 1),
            (3, IntOrString::Int(0), IntOrString::Int(5), 0, 3),
            (0, percent("25%"), percent("25%"), 0, 0),
            (4, IntOrString::Int(2), IntOrString::Int(1), 2, 1),
        ];
        for (replicas, surge, unavailable, expected_surge, expected_unavailable) in table {
            let mut deployment = deployment(replicas);
            let strategy = deployment.spec.as_mut().unwrap().strategy.as_mut().unwrap();
            let rolling = strategy.rolling_update.as_mut().unwrap();
            rolling.max_surge = Some(surge);
            rolling.max_unavailable = Some(unavailable);
            let got = (max_surge(&deployment), max_unavailable(&deployment));
            assert_eq!(
                got,
                (expected_surge, expected_unavailable),
                "{replicas} replicas"
            );
        }
    }

    #[test]
    fn the_new_set_grows_up_to_the_ceiling() {
        let deployment = deployment(10); // 25%: up to 13
        assert_eq!(new_set_replicas(&deployment, 10, 0), 3);
        assert_eq!(new_set_replicas(&deployment, 13, 3), 3);
        assert_eq!(
            new_set_replicas(&deployment, 11, 9),
            10,
            "never beyond what is wanted"
        );
    }
}
