//! Which quotas an object falls under, by `scopes` and `scopeSelector`. An object falls under a quota if it is in all of its scopes.

use apimachinery::{Object, lookup};

use super::Evaluator;
use crate::kinds::core::pod_spec::qos;

/// Whether a quota counts an object.
pub fn matches(quota: &Object, evaluator: &Evaluator, object: &Object) -> bool {
    let scopes = lookup::list(quota, &["spec", "scopes"]).iter();
    let mut scopes = scopes.filter_map(serde_json::Value::as_str);
    let mut selectors = lookup::objects(quota, &["spec", "scopeSelector", "matchExpressions"]);
    scopes.all(|scope| matches_one(scope, "Exists", &[], evaluator, object))
        && selectors.all(|selector| matches_scope(selector, evaluator, object))
}

/// Whether an object is in the scope of a selector: `scopeName`, `operator`, `values`.
pub fn matches_scope(selector: &Object, evaluator: &Evaluator, object: &Object) -> bool {
    let values = lookup::strings(selector, &["values"]);
    let operator = lookup::text(selector, &["operator"]);
    let scope = lookup::text(selector, &["scopeName"]);
    matches_one(scope, operator, &values, evaluator, object)
}

/// The names of those of a quota's scopes that an object is in, whether or not the quota counts it.
pub fn scopes_of<'a>(quota: &'a Object, evaluator: &Evaluator, object: &Object) -> Vec<&'a str> {
    let scopes = lookup::list(quota, &["spec", "scopes"]).iter();
    let scopes = scopes
        .filter_map(serde_json::Value::as_str)
        .filter(|scope| matches_one(scope, "Exists", &[], evaluator, object));
    let selectors = lookup::objects(quota, &["spec", "scopeSelector", "matchExpressions"])
        .filter(|selector| matches_scope(selector, evaluator, object))
        .map(|selector| lookup::text(selector, &["scopeName"]));
    scopes.chain(selectors).collect()
}

fn matches_one(
    scope: &str,
    operator: &str,
    values: &[String],
    evaluator: &Evaluator,
    object: &Object,
) -> bool {
    let text = |path: &[&str]| lookup::text(object, path).to_owned();
    match (evaluator, scope) {
        (Evaluator::Pods, "Terminating") => is_terminating(object),
        (Evaluator::Pods, "NotTerminating") => !is_terminating(object),
        (Evaluator::Pods, "BestEffort") => is_best_effort(object),
        (Evaluator::Pods, "NotBestEffort") => !is_best_effort(object),
        (Evaluator::Pods, "PriorityClass") => {
            selects(operator, values, &text(&["spec", "priorityClassName"]))
        }
        (Evaluator::Pods, "CrossNamespacePodAffinity") => crosses_namespaces(object),
        (Evaluator::Claims, "VolumeAttributesClass") => {
            let classes = attributes_classes(object);
            classes.is_empty() && selects(operator, values, "")
                || classes.iter().any(|class| selects(operator, values, class))
        }
        // Objects that know no scopes fall under no quota that has any.
        _ => false,
    }
}

/// The classes that a claim has, wants, or is on its way to.
fn attributes_classes(claim: &Object) -> Vec<&str> {
    let (modify, target) = ("modifyVolumeStatus", "targetVolumeAttributesClassName");
    let mut classes = vec![
        lookup::text(claim, &["spec", "volumeAttributesClassName"]),
        lookup::text(claim, &["status", "currentVolumeAttributesClassName"]),
        lookup::text(claim, &["status", modify, target]),
    ];
    classes.retain(|class| !class.is_empty());
    classes
}

fn selects(operator: &str, values: &[String], value: &str) -> bool {
    let listed = values.iter().any(|listed| listed == value);
    match operator {
        "Exists" => !value.is_empty(),
        "DoesNotExist" => value.is_empty(),
        "In" => !value.is_empty() && listed,
        "NotIn" => value.is_empty() || !listed,
        _ => false,
    }
}

/// Whether a pod is to end by itself.
pub fn is_terminating(pod: &Object) -> bool {
    lookup::number(pod, &["spec", "activeDeadlineSeconds"]).is_some_and(|seconds| seconds >= 0)
}

fn is_best_effort(pod: &Object) -> bool {
    qos::class(pod) == "BestEffort"
}

fn crosses_namespaces(pod: &Object) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|sort| {
        let path = |list| ["spec", "affinity", sort, list];
        let required = path("requiredDuringSchedulingIgnoredDuringExecution");
        let preferred = path("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = lookup::objects(pod, &preferred)
            .filter_map(|term| lookup::map(term, &["podAffinityTerm"]));
        lookup::objects(pod, &required)
            .chain(preferred)
            .any(|term| {
                !lookup::list(term, &["namespaces"]).is_empty()
                    || lookup::map(term, &["namespaceSelector"]).is_some()
            })
    })
}
