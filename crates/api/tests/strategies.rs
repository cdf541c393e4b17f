//! Defaults, rules and lifecycle of the kinds that every cluster runs on, as a client meets them: an object goes in, complaints come out.

use api::{Resource, facts, kinds::TABLE};
use apimachinery::{Object, meta};
use serde_json::{Value, json};

fn row(kind: &str) -> &'static Resource {
    TABLE
        .iter()
        .find(|row| row.gvk.kind == kind)
        .expect("a built-in kind")
}

/// Completes `spec` (all but the metadata) to an object named `a`.
fn object(kind: &str, rest: Value) -> Object {
    let mut object = rest.as_object().cloned().unwrap_or_default();
    object.insert("kind".into(), kind.into());
    object
        .entry("metadata")
        .or_insert_with(|| json!({"name": "a", "namespace": "n", "uid": "u"}));
    object
}

fn created(kind: &str, rest: Value) -> Object {
    let mut object = object(kind, rest);
    row(kind).strategy.default(&mut object);
    row(kind).strategy.prepare_for_create(&mut object);
    object
}

fn complaints(kind: &str, rest: Value) -> Vec<String> {
    let object = created(kind, rest);
    row(kind)
        .strategy
        .validate(&object)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn changed(kind: &str, old: &Object, change: impl FnOnce(&mut Object)) -> (Object, Vec<String>) {
    let strategy = row(kind).strategy;
    let mut new = old.clone();
    change(&mut new);
    strategy.default(&mut new);
    strategy.prepare_for_update(&mut new, old);
    let complaints = strategy
        .validate_update(&new, old)
        .iter()
        .map(ToString::to_string)
        .collect();
    (new, complaints)
}

fn workload() -> Value {
    json!({
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        },
    })
}

#[test]
fn the_table_says_what_discovery_says() {
    assert_eq!(TABLE.len(), facts::resources().len());
    for row in TABLE {
        let facts = facts::resource(&row.gvr).expect("a fact for each row");
        assert_eq!(facts.gvk, row.gvk);
        assert_eq!(facts.singular, row.singular);
        assert_eq!(facts.scope, row.scope);
        assert_eq!(facts.verbs, row.verbs);
        assert_eq!(facts.short_names, row.short_names);
        assert_eq!(facts.categories, row.categories);
        let ours: Vec<_> = row
            .subresources
            .iter()
            .map(|s| (s.name, s.gvk.clone(), s.verbs))
            .collect();
        let theirs: Vec<_> = facts
            .subresources
            .iter()
            .map(|s| (s.name, s.gvk.clone(), s.verbs.as_slice()))
            .collect();
        assert_eq!(ours, theirs, "{}", row.gvr.resource);
    }
}

#[test]
fn defaulting_an_empty_object_twice_changes_nothing() {
    for row in TABLE {
        let mut object = object(&row.gvk.kind, json!({}));
        row.strategy.default(&mut object);
        let once = object.clone();
        row.strategy.default(&mut object);
        assert_eq!(object, once, "{}", row.gvr.resource);
        // An empty object may be wrong, but never breaks the rules themselves.
        row.strategy.prepare_for_create(&mut object);
        let _ = row.strategy.validate(&object);
        let _ = row.strategy.validate_update(&object, &once);
        let _ = row.strategy.validate_status_update(&object, &once);
    }
}

#[test]
fn hubs_lose_nothing() {
    for (kind, rest) in [
        (
            "HorizontalPodAutoscaler",
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3,
                "minReplicas": 1, "targetCPUUtilizationPercentage": 60}}),
        ),
        (
            "Event",
            json!({"regarding": {"kind": "Pod", "name": "p"}, "note": "hello", "reason": "r",
                "reportingController": "c", "reportingInstance": "i", "eventTime": "2030-01-01T00:00:00.000001Z"}),
        ),
    ] {
        let (row, hub) = TABLE
            .iter()
            .filter(|row| row.gvk.kind == kind)
            .find_map(|row| Some((row, row.storage.as_ref()?.hub.as_ref()?)))
            .expect("a row with a hub");
        let mut converted = object(kind, rest.clone());
        (hub.to_hub)(&mut converted);
        assert_eq!(
            meta::api_version(&converted),
            hub.gvk.group_version().to_string()
        );
        (hub.from_hub)(&mut converted);
        assert_eq!(meta::api_version(&converted), row.gvr_version());
        for (field, value) in rest.as_object().expect("an object") {
            assert_eq!(converted.get(field), Some(value), "{kind} {field}");
        }
    }
}

trait GroupVersionOf {
    fn gvr_version(&self) -> String;
}

impl GroupVersionOf for Resource {
    fn gvr_version(&self) -> String {
        self.gvk.group_version().to_string()
    }
}

#[test]
fn rules_of_new_objects() {
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let cases: Vec<(&str, Value, Vec<String>)> = vec![
        ("Pod", json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}), vec![]),
        ("Pod", json!({}), vec!["spec.containers: Required value".into()]),
        (
            "Pod",
            json!({"spec": {"restartPolicy": "Sometimes", "containers": [
                {"name": "C_", "image": "i", "ports": [{"containerPort": 70000}],
                 "volumeMounts": [{"name": "v", "mountPath": "/m"}]}]}}),
            vec![
                format!("spec.containers[0].name: Invalid value: \"C_\": {label}"),
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive".into(),
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"".into(),
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"".into(),
            ],
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "c", "image": "i",
                "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}},
                "livenessProbe": {"exec": {"command": []}, "successThreshold": 2}}]}}),
            vec![
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m".into(),
                "spec.containers[0].livenessProbe.exec.command: Required value".into(),
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1".into(),
            ],
        ),
        ("Deployment", json!({"spec": workload()}), vec![]),
        (
            "DaemonSet",
            json!({"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": workload()["template"]}}),
            vec!["spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`".into()],
        ),
        (
            "Service",
            json!({"spec": {"ports": [{"port": 80}, {"port": 80}]}}),
            vec![
                "spec.ports[0].name: Required value".into(),
                "spec.ports[1].name: Required value".into(),
                "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}".into(),
            ],
        ),
        (
            "EndpointSlice",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}),
            vec!["endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)".into()],
        ),
        (
            "RoleBinding",
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "Nope", "name": "x"}]}),
            vec!["subjects[0].kind: Unsupported value: \"Nope\": supported values: \"ServiceAccount\", \"User\", \"Group\"".into()],
        ),
        (
            "Secret",
            json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}}),
            vec!["data[tls.key]: Required value".into()],
        ),
        (
            "Lease",
            json!({"spec": {"leaseDurationSeconds": 0}}),
            vec!["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0".into()],
        ),
        (
            "CronJob",
            json!({"spec": {"schedule": "* * *", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
            vec!["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]".into()],
        ),
    ];
    for (kind, rest, expected) in cases {
        assert_eq!(complaints(kind, rest.clone()), expected, "{kind} {rest}");
    }
}

#[test]
fn a_pod_begins_pending_with_its_class() {
    let pod = created(
        "Pod",
        json!({"spec": {"schedulingGates": [{"name": "g"}], "containers": [{"name": "c", "image": "i",
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}, "status": {"phase": "Running"}}),
    );
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    assert_eq!(pod["status"]["conditions"][0]["reason"], "SchedulingGated");
    assert_eq!(pod["metadata"]["generation"], 1);
}

#[test]
fn pods_end_gracefully_only_where_something_runs() {
    let strategy = row("Pod").strategy;
    let mut pod = created(
        "Pod",
        json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}),
    );
    assert_eq!(strategy.graceful_deletion_seconds(&pod, None), Some(0));
    pod["spec"]["nodeName"] = "n".into();
    assert_eq!(strategy.graceful_deletion_seconds(&pod, None), Some(30));
    assert_eq!(strategy.graceful_deletion_seconds(&pod, Some(5)), Some(5));
    assert_eq!(strategy.graceful_deletion_seconds(&pod, Some(0)), Some(0));
    pod["status"]["phase"] = "Succeeded".into();
    assert_eq!(strategy.graceful_deletion_seconds(&pod, None), Some(0));
}

#[test]
fn updates_count_generations_and_keep_status() {
    let old = created("Deployment", json!({"spec": workload()}));
    let (same, complaints) = changed("Deployment", &old, |new| {
        new["status"] = json!({"replicas": 7});
    });
    assert_eq!((meta::generation(&same), complaints), (1, vec![]));
    assert_eq!(same["status"], old["status"]);
    let (scaled, _) = changed("Deployment", &old, |new| new["spec"]["replicas"] = 3.into());
    assert_eq!(meta::generation(&scaled), 2);
    let (_, complaints) = changed("Deployment", &old, |new| {
        new["spec"]["selector"]["matchLabels"] = json!({"app": "a", "b": "c"});
        new["spec"]["template"]["metadata"]["labels"] = json!({"app": "a", "b": "c"});
    });
    assert_eq!(
        complaints,
        [
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"a\",\"b\":\"c\"}}: field is immutable"
        ]
    );
}

#[test]
fn of_a_pod_little_may_change() {
    let old = created(
        "Pod",
        json!({"spec": {"containers": [{"name": "c", "image": "i:1"}]}}),
    );
    let (_, complaints) = changed("Pod", &old, |new| {
        new["spec"]["containers"][0]["image"] = "i:2".into()
    });
    assert_eq!(complaints, Vec::<String>::new());
    let (_, complaints) = changed("Pod", &old, |new| {
        new["spec"]["restartPolicy"] = "Never".into()
    });
    assert_eq!(complaints.len(), 1);
    assert!(
        complaints[0].starts_with("spec: Forbidden: pod updates may not change fields other than")
    );
}

#[test]
fn a_service_keeps_what_it_was_given() {
    let mut old = created(
        "Service",
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
    );
    old["spec"]["clusterIP"] = "10.0.0.1".into();
    old["spec"]["clusterIPs"] = json!(["10.0.0.1"]);
    old["spec"]["ports"][0]["nodePort"] = 30_001.into();
    // A PUT of the manifest names neither address nor node port.
    let (new, complaints) = changed("Service", &old, |new| {
        new["spec"] = json!({"type": "NodePort", "ports": [{"port": 80}]});
    });
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30_001);
    let (new, complaints) = changed("Service", &old, |new| {
        new["spec"]["type"] = "ClusterIP".into()
    });
    assert_eq!(complaints, Vec::<String>::new());
    assert!(new["spec"]["ports"][0].get("nodePort").is_none());
}

#[test]
fn a_namespace_is_labelled_and_finalized() {
    let namespace = created("Namespace", json!({"metadata": {"name": "a"}}));
    assert_eq!(
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "a"
    );
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
}

#[test]
fn a_job_makes_its_selector() {
    let job = created(
        "Job",
        json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}),
    );
    assert_eq!(
        job["spec"]["selector"]["matchLabels"],
        json!({"batch.kubernetes.io/controller-uid": "u"})
    );
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"]["job-name"],
        "a"
    );
    assert_eq!(row("Job").strategy.validate(&job), []);
}

#[test]
fn what_attaching_said_is_judged_with_the_status() {
    let kind = "VolumeAttachment";
    let old = created(
        kind,
        json!({
            "metadata": {"name": "a", "uid": "u"},
            "spec": {"attacher": "csi.test", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
        }),
    );
    let mut new = old.clone();
    new["status"]["attachError"] = json!({"errorCode": -1});
    let strategy = row(kind).strategy;
    strategy.prepare_for_status_update(&mut new, &old);
    let complaints = strategy.validate_status_update(&new, &old);
    let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    assert_eq!(
        complaints,
        [
            "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"
        ]
    );
}

#[test]
fn volumes_are_selected_by_name_and_namespace_and_pods_by_the_host_of_old() {
    let volume = row("PersistentVolume").strategy;
    assert!(volume.is_selectable("metadata.name") && volume.is_selectable("metadata.namespace"));
    assert!(!volume.is_selectable("name"));
    let pod = row("Pod").strategy;
    assert_eq!(pod.field_of_label("spec.host"), "spec.nodeName");
    assert_eq!(pod.field_of_label("status.phase"), "status.phase");
}
