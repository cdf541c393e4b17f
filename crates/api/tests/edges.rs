//! The finer points of defaults, updates and messages: what is empty but there, what is said of a change, what is filled only where
//! something else is left out. Each is an answer in which the reference server and this one once differed.

use api::{Resource, kind::Scope, kinds::TABLE};
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
fn a_class_by_annotation_is_warned_of_once() {
    let strategy = row("networking.k8s.io/v1", "Ingress").strategy;
    let ingress = |spec: Value| {
        let annotations = json!({"kubernetes.io/ingress.class": "a"});
        let body = json!({"metadata": {"annotations": annotations}, "spec": spec});
        stored("networking.k8s.io/v1", "Ingress", body)
    };
    let annotated = ingress(json!({}));
    assert_eq!(
        strategy.warnings(&annotated, None),
        [
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
        ]
    );
    assert!(strategy.warnings(&annotated, Some(&annotated)).is_empty());
    let both = ingress(json!({"ingressClassName": "a"}));
    assert!(strategy.warnings(&both, None).is_empty());
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

/// As it is when it was sent: what is empty is there until it is stored.
fn sent(api_version: &str, kind: &str, body: &Value) -> Value {
    let mut body = body.clone();
    if body.get("metadata").is_none() {
        body["metadata"] = json!({"name": "a", "namespace": "n", "uid": "u"});
    }
    let ty = api::facts::type_of(&row(api_version, kind).gvk).expect("a type");
    let decoded = apimachinery::decode::json_to_judge(body.to_string().as_bytes(), ty);
    let object = decoded.expect("an object of the kind").object;
    Value::Object(object)
}

#[test]
fn no_policies_are_not_the_usual_ones() {
    let scaler = |policies: Value| {
        let reference = json!({"kind": "Deployment", "name": "d"});
        let behavior = json!({"scaleUp": policies.clone(), "scaleDown": policies});
        let body =
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": reference, "behavior": behavior}});
        sent("autoscaling/v2", "HorizontalPodAutoscaler", &body)
    };
    let errors = |body| {
        let mut errors = complaints("autoscaling/v2", "HorizontalPodAutoscaler", body);
        errors.retain(|error| error.contains("Policy"));
        errors
    };
    assert!(errors(scaler(json!({}))).is_empty());
    let path = "spec.behavior";
    assert_eq!(
        errors(scaler(json!({"policies": []}))),
        ["scaleUp", "scaleDown"].map(|rules| format!(
            "{path}.{rules}.policies: Required value: must specify at least one Policy"
        ))
    );
}

#[test]
fn what_was_sent_empty_is_shown_empty() {
    let volume = |capacity: Value| {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": capacity, "hostPath": {"path": "/x"}});
        sent("v1", "PersistentVolume", &json!({"spec": spec}))
    };
    for (body, shown) in [(json!({}), "{}"), (Value::Null, "null")] {
        let errors = complaints("v1", "PersistentVolume", volume(body));
        let about = format!("spec.capacity: Unsupported value: {shown}: ");
        assert!(errors.iter().any(|e| e.starts_with(&about)), "{errors:?}");
    }
}

#[test]
fn what_json_would_drop_of_a_selector_is_not_shown() {
    let topology = |expressions: Value| json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "storageClassName": "c", "nodeTopology": {"matchLabels": {"a": "b"}, "matchExpressions": expressions}});
    let (version, kind) = ("storage.k8s.io/v1", "CSIStorageCapacity");
    let filled = json!([{"key": "k", "operator": "Exists"}]);
    let old = stored(version, kind, topology(filled));
    let now = sent(version, kind, &topology(json!([])));
    let (_, errors) = update(version, kind, &old, now);
    assert_eq!(
        errors,
        ["nodeTopology: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable"]
    );
}

#[test]
fn an_empty_list_in_place_of_none_raises_the_generation_of_some() {
    let (version, kind) = ("networking.k8s.io/v1", "NetworkPolicy");
    let policy = |selector: Value| json!({"spec": {"podSelector": selector}});
    let old = stored(version, kind, policy(json!({})));
    let (new, _) = update(version, kind, &old, policy(json!({})));
    assert_eq!(meta::generation(&new), 1);
    let empty = sent(version, kind, &policy(json!({"matchExpressions": []})));
    let (new, _) = update(version, kind, &old, empty);
    assert_eq!(meta::generation(&new), 2);
}

#[test]
fn empty_data_of_what_is_immutable_is_not_none() {
    for (kind, field, refused) in [
        ("ConfigMap", "data", false),
        ("ConfigMap", "binaryData", true),
        ("Secret", "data", true),
    ] {
        let old = stored("v1", kind, json!({"immutable": true}));
        let body = sent("v1", kind, &json!({"immutable": true, field: {}}));
        let (_, errors) = update("v1", kind, &old, body);
        assert_eq!(!errors.is_empty(), refused, "{kind} {field} {errors:?}");
    }
}

#[test]
fn a_pod_that_says_nothing_as_a_whole_asks_for_nothing() {
    let mut body = pods();
    body["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    let class = |body: &Value| stored("v1", "Pod", body.clone())["status"]["qosClass"].clone();
    assert_eq!(class(&body), "Burstable");
    body["spec"]["resources"] = json!({});
    assert_eq!(class(&body), "BestEffort");
}

#[test]
fn claims_of_one_name_make_one_volume() {
    let claim = json!({"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}});
    let template = pods();
    let body = json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "serviceName": "s", "template": template, "volumeClaimTemplates": [claim, claim]}});
    let errors = complaints("apps/v1", "StatefulSet", body);
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_node_of_a_volume_may_lose_the_key_that_has_no_newer_name() {
    let volume = |key: &str| {
        let term = json!({"matchExpressions": [{"key": key, "operator": "In", "values": ["a"]}]});
        let affinity = json!({"required": {"nodeSelectorTerms": [term]}});
        json!({"spec": {"capacity": {"storage": "1"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}, "nodeAffinity": affinity}})
    };
    let old = stored("v1", "PersistentVolume", volume("k"));
    let refused = |key: &str| {
        let (_, errors) = update("v1", "PersistentVolume", &old, volume(key));
        errors.iter().any(|e| e.starts_with("nodeAffinity: "))
    };
    assert!(refused("l"));
    assert!(!refused(""));
}

#[test]
fn a_runtime_class_may_come_to_have_any_finalizer() {
    let (version, kind) = ("node.k8s.io/v1", "RuntimeClass");
    let class = |metadata: Value| json!({"metadata": metadata, "handler": "h"});
    let old = stored(version, kind, class(json!({"name": "a", "uid": "u"})));
    let with = |finalizers, labels| json!({"name": "a", "uid": "u", "resourceVersion": "1", "finalizers": finalizers, "labels": labels});
    assert!(row(version, kind).strategy.demands_qualified_finalizers());
    let wanted = class(with(json!(["plain"]), json!({})));
    let (_, errors) = update(version, kind, &old, wanted);
    assert!(errors.is_empty(), "{errors:?}");
    let wanted = class(with(json!([]), json!({"Bad Key!": ""})));
    let (_, errors) = update(version, kind, &old, wanted);
    assert!(errors[0].starts_with("metadata.labels: Invalid value"));
}

/// Upstream judges updates of some kinds as it judges new objects first, and looks at what has changed afterwards, or the other way round.
#[test]
fn the_rules_of_new_objects_stand_where_upstream_asks_them() {
    let (rbac, group) = ("rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io");
    let role = |name: &str| json!({"apiGroup": group, "kind": "Role", "name": name});
    for (version, kind, before, after, expected) in [
        (
            rbac,
            "RoleBinding",
            json!({"roleRef": role("a")}),
            json!({"roleRef": role("b"), "subjects": [{"kind": "?", "name": "n"}]}),
            &[
                "labels",
                "finalizers",
                "kind",
                "labels",
                "finalizers",
                "roleRef",
            ][..],
        ),
        (
            "node.k8s.io/v1",
            "RuntimeClass",
            json!({"handler": "a"}),
            json!({"handler": "?"}),
            &["labels", "handler", "labels", "handler"],
        ),
        (
            "networking.k8s.io/v1",
            "IngressClass",
            json!({"spec": {"controller": "a.b/c"}}),
            json!({"spec": {"controller": "?"}}),
            &[
                "labels",
                "finalizers",
                "controller",
                "labels",
                "finalizers",
                "controller",
            ],
        ),
        (
            "resource.k8s.io/v1",
            "ResourceClaim",
            json!({"spec": {}}),
            json!({"spec": {"devices": {"requests": [{"name": "r"}]}}}),
            &["labels", "finalizers", "labels", "finalizers", "spec"],
        ),
    ] {
        let named = |mut body: Value, metadata: Value| {
            body["metadata"] = metadata;
            body
        };
        let mut metadata = json!({"name": "a", "uid": "u"});
        if row(version, kind).scope == Scope::Namespaced {
            metadata["namespace"] = json!("n");
        }
        let old = stored(version, kind, named(before, metadata.clone()));
        metadata["labels"] = json!({"?": ""});
        metadata["resourceVersion"] = json!("1");
        metadata["finalizers"] = json!(["plain"]);
        let (_, errors) = update(version, kind, &old, named(after, metadata));
        let fields: Vec<&str> = errors
            .iter()
            .filter_map(|e| e.split(": ").next()?.rsplit('.').next())
            .map(|field| field.trim_end_matches("[0]"))
            .collect();
        assert_eq!(fields, expected, "{kind}: {errors:?}");
    }
}

#[test]
fn an_external_name_shows_no_internal_traffic_policy() {
    let service = |kind: &str, policy: &str| json!({"spec": {"type": kind, "externalName": "a.b", "internalTrafficPolicy": policy}});
    let shown = |service: &Object| service["spec"].get("internalTrafficPolicy").cloned();
    let name = stored("v1", "Service", service("ExternalName", "Local"));
    assert_eq!(shown(&name), None);
    let inside = stored("v1", "Service", service("ClusterIP", "Local"));
    assert_eq!(shown(&inside), Some(json!("Local")));
    let body = service("ExternalName", "Cluster");
    let (changed, _) = update("v1", "Service", &inside, body);
    assert_eq!(shown(&changed), None);
    let errors = complaints("v1", "Service", service("ExternalName", "?"));
    assert!(
        errors
            .iter()
            .any(|e| e.starts_with("spec.internalTrafficPolicy: Unsupported"))
    );
}

#[test]
fn who_empties_what_is_empty_is_warned_of_nothing() {
    let template = |volumes: Value| {
        let containers = json!([{"name": "c", "image": "i:1"}]);
        let spec = json!({"containers": containers, "terminationGracePeriodSeconds": -1, "volumes": volumes});
        json!({"metadata": {"labels": {"app": "a"}}, "spec": spec})
    };
    let workload = |volumes| json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template(volumes)}});
    for (version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "DaemonSet"),
        ("v1", "PodTemplate"),
    ] {
        let body = |volumes: Value| match kind {
            "PodTemplate" => json!({"template": template(volumes)}),
            _ => workload(volumes),
        };
        let strategy = row(version, kind).strategy;
        let old = stored(version, kind, body(Value::Null));
        assert!(!strategy.warnings(&old, None).is_empty(), "{kind}");
        let (new, _) = update(version, kind, &old, body(json!([])));
        assert!(strategy.warnings(&new, Some(&old)).is_empty(), "{kind}");
        let (new, _) = update(
            version,
            kind,
            &old,
            body(json!([{"name": "v", "emptyDir": {}}])),
        );
        assert!(!strategy.warnings(&new, Some(&old)).is_empty(), "{kind}");
    }
}

#[test]
fn a_deployment_asks_for_nothing_new_with_no_annotations() {
    let body = |annotations: Value| {
        let mut body =
            json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": pods()}});
        body["metadata"] = json!({"name": "a", "annotations": annotations});
        body
    };
    let old = stored("apps/v1", "Deployment", body(Value::Null));
    for (annotations, generation) in [(json!({}), 1), (json!({"a": "b"}), 2)] {
        let (new, _) = update("apps/v1", "Deployment", &old, body(annotations));
        assert_eq!(meta::generation(&new), generation);
    }
}
