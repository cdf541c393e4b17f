//! What objects use, and which quotas count them.

use apimachinery::gvk::GroupResource;
use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> Object {
    value.as_object().cloned().unwrap()
}

fn evaluator(group: &'static str, plural: &'static str) -> Evaluator {
    Evaluator::of(&GroupResource::new(group, plural)).unwrap()
}

fn used(group: &'static str, plural: &'static str, value: Value) -> String {
    shown(&evaluator(group, plural).usage(&object(value)))
}

fn shown(resources: &Resources) -> String {
    let parts: Vec<String> = resources
        .iter()
        .map(|(name, quantity)| format!("{name}={quantity}"))
        .collect();
    parts.join(",")
}

#[test]
fn pods_use_what_they_request() {
    let pod = json!({"spec": {
        "containers": [
            {"name": "a", "resources": {"requests": {"cpu": "100m", "nvidia.com/gpu": "1"}, "limits": {"memory": "1Gi"}}},
            {"name": "b", "resources": {"requests": {"cpu": "200m"}}}],
        "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}],
        "overhead": {"cpu": "10m", "memory": "1Mi"},
    }});
    assert_eq!(
        used("", "pods", pod),
        "count/pods=1,cpu=1010m,limits.memory=1025Mi,memory=1Mi,pods=1,requests.cpu=1010m,requests.memory=1Mi,requests.nvidia.com/gpu=1"
    );
    let ended = json!({"status": {"phase": "Failed"}, "spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
    assert_eq!(used("", "pods", ended), "count/pods=1");
}

#[test]
fn pods_must_state_what_is_counted() {
    let pod = object(json!({"spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": "1"}}}, {"name": "d"}]}}));
    let pods = evaluator("", "pods");
    assert_eq!(
        pods.constraints(&["pods", "limits.memory", "requests.cpu"], &pod),
        Err("must specify limits.memory for: c,d; requests.cpu for: d".to_owned())
    );
    assert_eq!(pods.constraints(&["pods"], &pod), Ok(()));
    let whole = object(json!({"spec": {
        "containers": [{"name": "c"}], "resources": {"limits": {"memory": "1Gi"}}}}));
    assert_eq!(pods.constraints(&["cpu"], &whole), Ok(()));
}

#[test]
fn services_claims_and_others() {
    assert_eq!(
        used(
            "",
            "services",
            json!({"spec": {"type": "NodePort", "ports": [{}, {}]}})
        ),
        "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2"
    );
    assert_eq!(
        used(
            "",
            "persistentvolumeclaims",
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "4Gi"}}}})
        ),
        "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         fast.storageclass.storage.k8s.io/requests.storage=4Gi,persistentvolumeclaims=1,requests.storage=4Gi"
    );
    assert_eq!(used("", "secrets", json!({})), "count/secrets=1,secrets=1");
    assert_eq!(
        used("apps", "deployments", json!({})),
        "count/deployments.apps=1"
    );
    assert_eq!(Evaluator::of(&GroupResource::new("", "events")), None);
}

#[test]
fn names_tell_what_is_counted() {
    for (name, expected) in [
        (
            "count/deployments.apps",
            Some(evaluator("apps", "deployments")),
        ),
        (
            "count/roles.rbac.authorization.k8s.io",
            Some(evaluator("rbac.authorization.k8s.io", "roles")),
        ),
        ("count/pods", Some(Evaluator::Pods)),
        ("count/events", None),
        ("requests.nvidia.com/gpu", Some(Evaluator::Pods)),
        ("services.nodeports", Some(Evaluator::Services)),
        (
            "fast.storageclass.storage.k8s.io/requests.storage",
            Some(Evaluator::Claims),
        ),
        ("secrets", Some(evaluator("", "secrets"))),
        ("deployments", None),
    ] {
        assert_eq!(Evaluator::counting(name), expected, "{name}");
        if let Some(evaluator) = expected {
            assert!(evaluator.counts(name), "{name}");
        }
    }
}

#[test]
fn scopes_decide_what_is_counted() {
    let pod = object(
        json!({"spec": {"activeDeadlineSeconds": 5, "priorityClassName": "high", "containers": [{}]}}),
    );
    let priority = |operator: &str, values: Value| {
        let expression =
            json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
        json!({"scopeSelector": {"matchExpressions": [expression]}})
    };
    for (spec, expected) in [
        (json!({}), true),
        (json!({"scopes": ["BestEffort"]}), true),
        (json!({"scopes": ["NotBestEffort"]}), false),
        (json!({"scopes": ["Terminating", "NotTerminating"]}), false),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), false),
        (priority("In", json!(["high"])), true),
        (priority("NotIn", json!(["high"])), false),
        (priority("Exists", json!(null)), true),
    ] {
        let quota = object(json!({ "spec": spec }));
        assert_eq!(
            matches(&quota, &evaluator("", "pods"), &pod),
            expected,
            "{quota:?}"
        );
    }
}

#[test]
fn claims_fall_under_the_class_they_have_and_the_one_they_get() {
    let none = json!({"spec": {}});
    let fast = json!({"spec": {"volumeAttributesClassName": "fast"}});
    let changing = json!({"spec": {"volumeAttributesClassName": "slow"}, "status": {
        "currentVolumeAttributesClassName": "slow",
        "modifyVolumeStatus": {"targetVolumeAttributesClassName": "fast"}}});
    for (operator, values, expected) in [
        ("In", json!(["fast"]), [false, true, true]),
        ("NotIn", json!(["fast"]), [true, false, true]),
        ("Exists", json!(null), [false, true, true]),
        ("DoesNotExist", json!(null), [true, false, false]),
    ] {
        let scope = "VolumeAttributesClass";
        let expression = json!({"scopeName": scope, "operator": operator, "values": values});
        let selector = json!({"matchExpressions": [expression]});
        let quota = object(json!({"spec": {"scopeSelector": selector}}));
        let claims = evaluator("", "persistentvolumeclaims");
        let found =
            [&none, &fast, &changing].map(|claim| matches(&quota, &claims, &object(claim.clone())));
        assert_eq!(found, expected, "{operator}");
    }
}

#[test]
fn totals_have_what_is_asked_for_and_zero_for_the_rest() {
    let pods = [
        object(json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "600m"}}}]}})),
        object(
            json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]}}),
        ),
        object(json!({"spec": {"containers": [{}]}})),
    ];
    let names = ["pods", "requests.cpu", "limits.memory"];
    let quota = object(json!({"spec": {}}));
    assert_eq!(
        shown(&total(&quota, &evaluator("", "pods"), &names, &pods)),
        "limits.memory=0,pods=3,requests.cpu=1100m"
    );
    let best_effort = object(json!({"spec": {"scopes": ["BestEffort"]}}));
    assert_eq!(
        shown(&total(
            &best_effort,
            &evaluator("", "pods"),
            &["pods"],
            &pods
        )),
        "pods=1"
    );
    // Objects that know no scopes are not counted by a quota that has any.
    let none = Object::new();
    assert_eq!(
        shown(&total(
            &best_effort,
            &evaluator("", "secrets"),
            &["secrets"],
            [&none]
        )),
        "secrets=0"
    );
}
