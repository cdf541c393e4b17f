//! `matchLabelKeys` and `mismatchLabelKeys`: a new pod's own labels become part of the selectors of its affinity terms and spread constraints,
//! so that whoever reads them need not know the keys (KEP-3633, KEP-3243).

use apimachinery::{
    Object,
    meta::{self, StringMap},
};
use serde_json::{Value, json};

use crate::fields::Fields;

/// Merges the keys of a pod's affinity terms and spread constraints into their selectors.
pub fn merge_into_selectors(pod: &mut Object) {
    let Some(labels) = meta::labels(pod).cloned() else {
        return;
    };
    let Some(spec) = pod.object_mut("spec") else {
        return;
    };
    spec.each_object("topologySpreadConstraints", |constraint| {
        merge(constraint, &labels);
    });
    let Some(affinity) = spec.object_mut("affinity") else {
        return;
    };
    for side in ["podAffinity", "podAntiAffinity"] {
        let Some(side) = affinity.object_mut(side) else {
            continue;
        };
        side.each_object("requiredDuringSchedulingIgnoredDuringExecution", |term| {
            merge(term, &labels);
        });
        side.each_object(
            "preferredDuringSchedulingIgnoredDuringExecution",
            |weighted| {
                if let Some(term) = weighted.object_mut("podAffinityTerm") {
                    merge(term, &labels);
                }
            },
        );
    }
}

/// Keys that the pod has no label for say nothing, and without a selector there is nothing to say it of.
fn merge(term: &mut Object, labels: &StringMap) {
    let mut requirements = Vec::new();
    for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term.texts(list) {
            if let Some(value) = labels.get(key) {
                let requirement = json!({"key": key, "operator": operator, "values": [value]});
                requirements.push(requirement);
            }
        }
    }
    if requirements.is_empty() {
        return;
    }
    if let Some(selector) = term.object_mut("labelSelector") {
        let expressions = selector
            .entry("matchExpressions")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(expressions) = expressions.as_array_mut() {
            expressions.extend(requirements);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_pod_become_requirements() {
        let mut pod = json!({
            "metadata": {"labels": {"rev": "2"}},
            "spec": {
                "topologySpreadConstraints": [
                    {"matchLabelKeys": ["rev", "absent"], "labelSelector": {"matchLabels": {"a": "b"}}},
                    {"matchLabelKeys": ["rev"]},
                ],
                "affinity": {"podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"podAffinityTerm": {"mismatchLabelKeys": ["rev"], "labelSelector": {}}},
                    ],
                }},
            },
        });
        merge_into_selectors(pod.as_object_mut().unwrap());
        let spread = &pod["spec"]["topologySpreadConstraints"];
        assert_eq!(
            spread[0]["labelSelector"]["matchExpressions"],
            json!([{"key": "rev", "operator": "In", "values": ["2"]}])
        );
        assert!(spread[1].get("labelSelector").is_none());
        let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(
            terms[0]["podAffinityTerm"]["labelSelector"]["matchExpressions"],
            json!([{"key": "rev", "operator": "NotIn", "values": ["2"]}])
        );
    }
}
