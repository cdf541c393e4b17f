//! What upstream 1.36 says of objects that are wrong in more than one way: every cause, in its order, in its words (asked of a real server).

use api::kinds::TABLE;
use apimachinery::Object;
use serde_json::{Value, json};

/// The complaints about the spec (or what else is given) of a new object named `a`.
fn complaints(resource: &str, version: &str, rest: Value) -> Vec<String> {
    let row = TABLE
        .iter()
        .find(|row| row.gvr.resource == resource && row.gvr.version == version)
        .expect("a built-in kind");
    let mut object: Object = rest.as_object().cloned().unwrap_or_default();
    object.insert("kind".into(), row.gvk.kind.as_ref().into());
    object.insert(
        "metadata".into(),
        json!({"name": "a", "namespace": "n", "uid": "u"}),
    );
    row.strategy.default(&mut object);
    row.strategy.prepare_for_create(&mut object);
    let errors = row.strategy.validate(&object);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn workloads() {
    assert_eq!(
        complaints("daemonsets", "v1", json!({"spec": {}})),
        [
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            "spec.template.spec.containers: Required value",
        ]
    );
    assert_eq!(
        complaints(
            "jobs",
            "v1",
            json!({"spec": {"managedBy": "A_b", "template": {"spec": {
                "restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]}}}})
        ),
        [
            "spec.managedBy: Invalid value: \"A_b\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ]
    );
    assert_eq!(
        complaints("horizontalpodautoscalers", "v2", json!({"spec": {}})),
        [
            "spec.maxReplicas: Required value: must be set and greater than 0",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            "spec.scaleTargetRef.kind: Required value",
            "spec.scaleTargetRef.name: Required value",
            "spec.scaleTargetRef.apiVersion: Invalid value: \"\": apiVersion must specify API group",
        ]
    );
    assert_eq!(
        complaints(
            "poddisruptionbudgets",
            "v1",
            json!({"spec": {"minAvailable": "1.5%", "unhealthyPodEvictionPolicy": "No"}})
        ),
        [
            "spec.minAvailable: Invalid value: \"1.5%\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            "spec.unhealthyPodEvictionPolicy: Unsupported value: \"No\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
        ]
    );
}

#[test]
fn addresses_and_ports() {
    assert_eq!(
        complaints(
            "endpoints",
            "v1",
            json!({"subsets": [{"addresses": [{"ip": "1.2.3.400"}], "ports": [{"port": 0}]}]})
        ),
        [
            "subsets[0].addresses[0].ip: Invalid value: \"1.2.3.400\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "subsets[0].addresses[0].ip: Invalid value: \"1.2.3.400\": must be a valid IP address",
            "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ]
    );
    assert_eq!(
        complaints(
            "services",
            "v1",
            json!({"spec": {"ports": [{"port": 0}, {"port": 70000, "protocol": "X"}]}})
        ),
        [
            "spec.ports[0].name: Required value",
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1].name: Required value",
            "spec.ports[1].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ports[1].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ]
    );
}

#[test]
fn amounts() {
    assert_eq!(
        complaints(
            "resourcequotas",
            "v1",
            json!({"spec": {"hard": {"pods": "1.5"}, "scopes": ["Best"]}})
        ),
        [
            "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
            "spec.scopes: Invalid value: [\"Best\"]: unsupported scope",
        ]
    );
    assert_eq!(
        complaints(
            "limitranges",
            "v1",
            json!({"spec": {"limits": [
                {"type": "Pod", "default": {"cpu": "1"}, "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}})
        ),
        [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
        ]
    );
    assert_eq!(
        complaints(
            "persistentvolumes",
            "v1",
            json!({"spec": {"accessModes": ["Some"], "hostPath": {"path": "../x"}, "nfs": {"server": "", "path": "x"}}})
        ),
        [
            "spec.accessModes: Unsupported value: \"Some\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.capacity: Required value",
            "spec.capacity: Unsupported value: null: supported values: \"storage\"",
            "spec.hostPath.path: Invalid value: \"../x\": must not contain '..'",
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        ]
    );
}
