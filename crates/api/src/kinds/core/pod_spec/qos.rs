//! The quality of service class of a pod (`pkg/apis/core/helper/qos`).

use std::collections::BTreeMap;

use apimachinery::{Object, Quantity};

use crate::fields::{Fields, quantity};

/// `Guaranteed`, `Burstable` or `BestEffort`: what the pod asks for decides it, nothing else.
pub fn class(pod: &Object) -> &'static str {
    let Some(spec) = pod.object("spec") else {
        return "BestEffort";
    };
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    let mut guaranteed = true;
    // A pod that says nothing of itself as a whole, but says so, asks for nothing.
    let owners: Vec<&Object> = if spec.object("resources").is_some() {
        vec![spec]
    } else {
        ["containers", "initContainers"]
            .iter()
            .flat_map(|list| spec.objects(list).map(|(_, c)| c))
            .collect()
    };
    for owner in owners {
        let resources = owner.object("resources");
        add(resources.and_then(|r| r.object("requests")), &mut requests);
        let limited = add(resources.and_then(|r| r.object("limits")), &mut limits);
        guaranteed &= limited == 2;
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if guaranteed && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Adds what is more than nothing of processor and memory, and says how many of the two there were.
fn add<'a>(list: Option<&'a Object>, sum: &mut BTreeMap<&'a str, Quantity>) -> usize {
    let mut found = 0;
    for (name, value) in list.into_iter().flatten() {
        if !matches!(name.as_str(), "cpu" | "memory") {
            continue;
        }
        let Some(amount) = quantity(value) else {
            continue;
        };
        if amount.sign() > 0 {
            found += 1;
            let total = match sum.remove(name.as_str()) {
                Some(before) => before + amount,
                None => amount,
            };
            sum.insert(name.as_str(), total);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes() {
        for (resources, expected) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "0"}}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (
                json!({"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1024Mi"}}),
                "Guaranteed",
            ),
            (
                json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}),
                "Burstable",
            ),
        ] {
            let pod = json!({"spec": {"containers": [{"resources": resources}]}});
            assert_eq!(class(pod.as_object().unwrap()), expected, "{pod}");
        }
    }
}
