//! The finer points of defaults, updates and messages: what is empty but there, what is said of a change, what is filled only where
//! something else is left out. Each is an answer in which the reference server and this one once differed.

use api::{Resource, kinds::TABLE};
use apimachinery::{Object, meta};
use serde_json::{Value, json};

fn row(api_version: &str, kind: &str) -> &'static Resource {
    TABLE
        .iter()
        .find(|row| row.gvk.kind == kind && row.gvk.group_version().to_string() == api_version)
        .expect("a built-in kind")
}

fn made(api_version: &str, kind: &str, body: Value) -> Object {
    let mut object = body.as_object().cloned().unwrap_or_default();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    let name = json!({"name": "a", "namespace": "n", "uid": "u"});
    object.entry("metadata").or_insert(name);
    row(api_version, kind).strategy.default(&mut object);
    object
}

/// Stored as it was sent.
fn stored(api_version: &str, kind: &str, body: Value) -> Object {
    let mut object = made(api_version, kind, body);
    let strategy = row(api_version, kind).strategy;
    strategy.prepare_for_create(&mut object);
    object
}

fn update(api_version: &str, kind: &str, old: &Object, body: Value) -> (Object, Vec<String>) {
    let strategy = row(api_version, kind).strategy;
    let mut new = made(api_version, kind, body);
    strategy.prepare_for_update(&mut new, old);
    let errors = strategy.validate_update(&new, old);
    (new, errors.iter().map(ToString::to_string).collect())
}

fn complaints(api_version: &str, kind: &str, body: Value) -> Vec<String> {
    let object = stored(api_version, kind, body);
    let errors = row(api_version, kind).strategy.validate(&object);
    errors.iter().map(ToString::to_string).collect()
}

fn pods() -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

#[test]
fn what_is_empty_behind_a_pointer_is_a_change() {
    let old = stored("policy/v1", "PodDisruptionBudget", json!({"spec": {}}));
    for (spec, generation) in [(json!({}), 1), (json!({"selector": {}}), 2)] {
        let body = json!({"spec": spec});
        let (new, _) = update("policy/v1", "PodDisruptionBudget", &old, body);
        assert_eq!(meta::generation(&new), generation);
    }
}

#[test]
fn topology_of_an_endpoint_is_a_change_and_is_dropped() {
    let slice = |endpoint: Value| json!({"addressType": "IPv4", "endpoints": [endpoint]});
    let plain = json!({"addresses": ["192.0.2.1"]});
    let old = stored("discovery.k8s.io/v1", "EndpointSlice", slice(plain));
    let told = json!({"addresses": ["192.0.2.1"], "deprecatedTopology": {"a": "b"}});
    let (new, _) = update("discovery.k8s.io/v1", "EndpointSlice", &old, slice(told));
    assert_eq!(meta::generation(&new), 2);
    assert_eq!(new["endpoints"], old["endpoints"]);
}

#[test]
fn a_node_may_come_to_hold_more_volumes() {
    let node = |driver: Value| json!({"spec": {"drivers": [driver]}});
    let driver = |node_id: &str, count: u32| {
        node(
            json!({"name": "d", "nodeID": node_id, "topologyKeys": ["z"], "allocatable": {"count": count}}),
        )
    };
    let old = stored("storage.k8s.io/v1", "CSINode", driver("n", 1));
    let (_, errors) = update("storage.k8s.io/v1", "CSINode", &old, driver("n", 2));
    assert!(errors.is_empty(), "{errors:?}");
    let (_, errors) = update("storage.k8s.io/v1", "CSINode", &old, driver("m", 2));
    assert_eq!(
        errors,
        [
            "spec.drivers: Invalid value: {\"Name\":\"d\",\"NodeID\":\"m\",\"TopologyKeys\":[\"z\"],\"Allocatable\":null}: field is immutable"
        ]
    );
}

#[test]
fn the_name_of_an_attached_volume_is_judged_on_updates_too() {
    let body = |name: &str| json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": name}}});
    let old = stored("storage.k8s.io/v1", "VolumeAttachment", body("pv"));
    let (_, errors) = update("storage.k8s.io/v1", "VolumeAttachment", &old, body("p_v"));
    assert!(errors[0].starts_with("spec.source.persistentVolumeName: Invalid value: \"p_v\""));
}

#[test]
fn a_volume_that_stands_in_an_attachment_is_of_a_driver_and_of_nobody() {
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, "storageClassName": "c", "volumeMode": "Block",
        "persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": "/x"},
    });
    let body =
        json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"inlineVolumeSpec": spec}}});
    let errors = complaints("storage.k8s.io/v1", "VolumeAttachment", body);
    let fields = [
        "capacity",
        "csi",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeMode",
    ];
    assert_eq!(errors.len(), fields.len(), "{errors:?}");
    for (error, field) in errors.iter().zip(fields) {
        let at = format!("spec.source.inlineVolumeSpec.{field}: ");
        assert!(
            error.starts_with(&at) && error.ends_with("in the context of inline volumes"),
            "{error}"
        );
    }
}

#[test]
fn a_definition_always_has_stored_versions() {
    let versions = json!({"versions": [{"name": "v1", "storage": true}, {"name": "v2"}]});
    let body = json!({"spec": versions, "status": {"storedVersions": []}});
    let definition = made("apiextensions.k8s.io/v1", "CustomResourceDefinition", body);
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
}

#[test]
fn labels_that_a_job_has_from_its_pods_stay_theirs() {
    let template = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": []}});
    let strategy = row("batch/v1", "Job").strategy;
    for (labels, shares) in [
        (json!(null), true),
        (json!({}), true),
        (json!({"x": "y"}), false),
    ] {
        let body = json!({"metadata": {"name": "j", "uid": "u", "labels": labels}, "spec": {"template": template}});
        assert_eq!(strategy.shares_labels(body.as_object().unwrap()), shares);
        let mut job = stored("batch/v1", "Job", body);
        assert_eq!(job["metadata"]["labels"], json!({"x": "y"}));
        strategy.share_labels(&mut job);
        assert_eq!(job["metadata"]["labels"]["controller-uid"], "u");
    }
}

#[test]
fn a_job_whose_pods_had_no_labels_has_those_made_for_them() {
    let job = stored("batch/v1", "Job", json!({"spec": {"template": {}}}));
    assert_eq!(job["metadata"]["labels"]["controller-uid"], "u");
}

#[test]
fn labels_with_a_prefix_are_demanded_where_they_were() {
    let job = |manual: bool| json!({"spec": {"manualSelector": manual, "selector": {"matchLabels": {"app": "a"}}, "template": pods()}});
    let old = stored("batch/v1", "Job", job(true));
    let (_, errors) = update("batch/v1", "Job", &old, job(false));
    let demanded = |label: &str| {
        errors
            .iter()
            .any(|e| e.contains(&format!("labels[{label}]")))
    };
    assert!(demanded("job-name") && !demanded("batch.kubernetes.io/job-name"));
}

#[test]
fn no_failed_indexes_are_not_an_empty_list_of_them() {
    let old = stored("batch/v1", "Job", json!({"spec": {"template": pods()}}));
    let mut new = old.clone();
    new["status"]["failedIndexes"] = json!("");
    let strategy = row("batch/v1", "Job").strategy;
    let errors = strategy.validate_status_update(&new, &old);
    assert_eq!(
        errors[0].to_string(),
        "status.failedIndexes: Invalid value: \"\": cannot set non-null failedIndexes when backoffLimitPerIndex is null"
    );
}

#[test]
fn a_set_that_names_its_strategy_is_told_no_more() {
    let set = |strategy: Value| {
        let body = json!({"spec": {"updateStrategy": strategy, "template": pods()}});
        made("apps/v1", "StatefulSet", body)["spec"]["updateStrategy"].clone()
    };
    let full = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    assert_eq!(set(json!({})), full);
    assert_eq!(
        set(json!({"type": "RollingUpdate", "rollingUpdate": {}})),
        full
    );
    let named = json!({"type": "RollingUpdate"});
    assert_eq!(set(named.clone()), named);
}

#[test]
fn a_zone_that_is_none_is_complained_of_once() {
    let job = json!({"spec": {"template": pods(), "podFailurePolicy": {"rules": [{"onPodConditions": [{"type": "T"}]}]}}});
    let body = json!({"spec": {"schedule": "* * * * *", "timeZone": "Bad!", "startingDeadlineSeconds": -1, "jobTemplate": job}});
    let cron = made("batch/v1", "CronJob", body.clone());
    let policy = &cron["spec"]["jobTemplate"]["spec"]["podFailurePolicy"];
    assert_eq!(policy["rules"][0]["onPodConditions"][0]["status"], "True");
    let errors = complaints("batch/v1", "CronJob", body);
    assert!(
        errors[0].starts_with("spec.startingDeadlineSeconds"),
        "{errors:?}"
    );
    let of_zone = errors.iter().filter(|e| e.starts_with("spec.timeZone"));
    assert_eq!(of_zone.count(), 1);
}

#[test]
fn workloads_warn_of_names_that_pods_cannot_have() {
    for (api_version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "ReplicationController"),
    ] {
        let body = json!({"metadata": {"name": "a.b"}, "spec": {"template": pods()}});
        let object = stored(api_version, kind, body);
        let strategy = row(api_version, kind).strategy;
        assert!(strategy.warnings(&object, None)[0].starts_with("metadata.name: "));
        assert!(strategy.warnings(&object, Some(&object)).is_empty());
    }
}

#[test]
fn an_empty_protocol_of_a_policy_is_no_default() {
    let rule = json!({"ports": [{"protocol": ""}, {}]});
    let policy = made(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        json!({"spec": {"egress": [rule]}}),
    );
    let ports = &policy["spec"]["egress"][0]["ports"];
    assert_eq!(*ports, json!([{"protocol": ""}, {"protocol": "TCP"}]));
}

#[test]
fn a_set_warns_of_its_claims_and_of_endless_history() {
    let claim = json!({"metadata": {"name": "v"}, "kind": "Other", "spec": {"resources": {"requests": {"storage": "1500m"}}}});
    let spec =
        json!({"template": pods(), "revisionHistoryLimit": -1, "volumeClaimTemplates": [claim]});
    let set = stored("apps/v1", "StatefulSet", json!({ "spec": spec }));
    assert_eq!(
        set["spec"]["volumeClaimTemplates"][0]["kind"],
        "PersistentVolumeClaim"
    );
    let strategy = row("apps/v1", "StatefulSet").strategy;
    let (new, changed) = (
        strategy.warnings(&set, None),
        strategy.warnings(&set, Some(&set)),
    );
    assert!(
        new[0].starts_with("spec.volumeClaimTemplates[0].resources"),
        "{new:?}"
    );
    assert!(
        changed[0].starts_with("spec.volumeClaimTemplates[0].Spec.resources"),
        "{changed:?}"
    );
    assert!(new[1].starts_with("spec.revisionHistoryLimit"), "{new:?}");
}

#[test]
fn taints_of_devices_are_dated() {
    let device = json!({"name": "d", "taints": [{"key": "k"}, {"key": "l", "timeAdded": "then"}]});
    let body = json!({"spec": {"devices": [device]}});
    let mut slice = made("resource.k8s.io/v1", "ResourceSlice", body);
    let strategy = row("resource.k8s.io/v1", "ResourceSlice").strategy;
    strategy.default_times(&mut slice, "now");
    let taints = &slice["spec"]["devices"][0]["taints"];
    assert_eq!(
        (&taints[0]["timeAdded"], &taints[1]["timeAdded"]),
        (&json!("now"), &json!("then"))
    );
}

#[test]
fn names_judged_by_declaration_are_bounded_in_bytes() {
    for (api_version, kind) in [
        ("v1", "ReplicationController"),
        ("resource.k8s.io/v1", "DeviceClass"),
    ] {
        let strategy = row(api_version, kind).strategy;
        let long = strategy.validate_name(&"x".repeat(254), false);
        assert_eq!(long, ["must be no more than 253 bytes"]);
        assert!(strategy.validate_name("Bad_", true).is_empty());
    }
}

#[test]
fn variables_of_a_mutating_policy_are_always_known() {
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[variables.v]"}});
    let body = json!({"spec": {"mutations": [mutation]}});
    let errors = complaints(
        "admissionregistration.k8s.io/v1",
        "MutatingAdmissionPolicy",
        body,
    );
    assert!(
        errors.iter().any(|e| e.contains("undefined field 'v'")),
        "{errors:?}"
    );
}
