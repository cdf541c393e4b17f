//! What the status of a quota is to be.

use std::collections::{BTreeMap, HashMap};

use api::quota::{Evaluator, Resources};
use apimachinery::Quantity;
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity as Text,
};

type Texts = BTreeMap<String, Text>;

/// The names in `spec.hard`, by what measures them. Nobody measures the rest.
pub(super) fn measured(quota: &ResourceQuota) -> HashMap<Evaluator, Vec<&str>> {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let mut measured: HashMap<Evaluator, Vec<&str>> = HashMap::new();
    for name in hard.into_iter().flat_map(BTreeMap::keys) {
        if let Some(evaluator) = Evaluator::counting(name) {
            measured.entry(evaluator).or_default().push(name);
        }
    }
    measured
}

/// The status, if it is to change: the limits of the spec, and of what they limit the measured use. What could not be measured now keeps
/// its last measure.
pub(super) fn status(quota: &ResourceQuota, usage: &Resources) -> Option<ResourceQuotaStatus> {
    let limits = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let old = quota.status.as_ref();
    let old_hard = old.and_then(|status| status.hard.as_ref());
    let old_used = old.and_then(|status| status.used.as_ref());
    let mut used = parsed(old_used);
    used.extend(usage.clone());
    used.retain(|name, _| limits.is_some_and(|limits| limits.contains_key(name)));
    let unchanged = old_hard.is_some()
        && old_used.is_some_and(|texts| texts.len() == used.len())
        && parsed(old_hard) == parsed(limits)
        && parsed(old_used) == used;
    if unchanged {
        return None;
    }
    let used = used
        .into_iter()
        .map(|(name, quantity)| (name, Text(quantity.to_string())))
        .collect();
    Some(ResourceQuotaStatus {
        hard: Some(limits.cloned().unwrap_or_default()),
        used: Some(used),
    })
}

fn parsed(texts: Option<&Texts>) -> Resources {
    let parse = |(name, text): (&String, &Text)| -> Option<(String, Quantity)> {
        Some((name.clone(), text.0.parse().ok()?))
    };
    texts.into_iter().flatten().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use client::Kind as _;
    use serde_json::{Value, json};

    use super::*;

    fn quota(value: Value) -> ResourceQuota {
        ResourceQuota::from_json(value.to_string().as_bytes()).unwrap()
    }

    fn planned(value: Value, usage: &[(&str, &str)]) -> Option<Value> {
        let usage = usage
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.parse().unwrap()))
            .collect();
        status(&quota(value), &usage).map(|status| serde_json::to_value(status).unwrap())
    }

    #[test]
    fn a_new_quota_learns_its_limits_and_what_is_used() {
        let new = json!({"spec": {"hard": {"pods": "2", "requests.memory": "1Gi"}}});
        assert_eq!(
            planned(new, &[("pods", "1"), ("requests.memory", "0")]),
            Some(json!({
                "hard": {"pods": "2", "requests.memory": "1Gi"},
                "used": {"pods": "1", "requests.memory": "0"},
            }))
        );
    }

    #[test]
    fn what_says_the_same_is_not_written() {
        let same = json!({
            "spec": {"hard": {"cpu": "2"}},
            "status": {"hard": {"cpu": "2000m"}, "used": {"cpu": "1000m"}},
        });
        assert_eq!(planned(same.clone(), &[("cpu", "1")]), None);
        assert_eq!(
            planned(same, &[("cpu", "500m")]),
            Some(json!({"hard": {"cpu": "2"}, "used": {"cpu": "500m"}}))
        );
        // A quota of nothing is written once.
        let nothing = json!({"spec": {"hard": {}}});
        assert_eq!(planned(nothing, &[]), Some(json!({"hard": {}, "used": {}})));
        let known = json!({"spec": {"hard": {}}, "status": {"hard": {}, "used": {}}});
        assert_eq!(planned(known, &[]), None);
    }

    #[test]
    fn what_cannot_be_measured_now_stays_and_what_is_not_limited_goes() {
        let changed = json!({
            "spec": {"hard": {"pods": "2", "count/gone.example.com": "1"}},
            "status": {
                "hard": {"pods": "2", "secrets": "1"},
                "used": {"pods": "1", "secrets": "1", "count/gone.example.com": "1"},
            },
        });
        assert_eq!(
            planned(changed, &[("pods", "1")]),
            Some(json!({
                "hard": {"pods": "2", "count/gone.example.com": "1"},
                "used": {"pods": "1", "count/gone.example.com": "1"},
            }))
        );
    }

    #[test]
    fn names_go_to_who_measures_them() {
        let quota = quota(json!({"spec": {"hard": {
            "pods": "1", "requests.cpu": "1", "count/deployments.apps": "1", "nonsense": "1",
        }}}));
        let measured = measured(&quota);
        assert_eq!(measured.len(), 2, "{measured:?}");
        assert_eq!(measured[&Evaluator::Pods], ["pods", "requests.cpu"]);
    }
}
