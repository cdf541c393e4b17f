//! Defaults of a pod's spec (`pkg/apis/core/v1/defaults.go`).
//!
//! [`pod`] is for pods alone; [`template`] for what a workload carries, where upstream leaves more open.

use apimachinery::Object;
use serde_json::{Map, Value};

use super::totals;
use crate::fields::Fields;

/// A template: its metadata is always written.
pub fn template(owner: &mut Object, field: &str) {
    let template = owner.ensure_object(field);
    template.ensure_object("metadata");
    spec(template.ensure_object("spec"));
}

/// The spec of a pod.
pub fn pod(object: &mut Object) {
    let spec_of_pod = object.ensure_object("spec");
    for list in ["containers", "initContainers"] {
        spec_of_pod.each_object(list, requests_from_limits);
    }
    totals_of_pod(spec_of_pod);
    spec_of_pod.set_default("enableServiceLinks", true);
    if spec_of_pod.is_true("hostNetwork") {
        for list in ["containers", "initContainers"] {
            spec_of_pod.each_object(list, |container| {
                container.each_object("ports", |port| {
                    let number = port.int("containerPort").unwrap_or(0);
                    port.set_default_zero("hostPort", number);
                });
            });
        }
    }
    spec(spec_of_pod);
}

/// A pod that says in part what it takes as a whole takes of the rest what its containers do.
fn totals_of_pod(spec: &mut Object) {
    let part = |name: &str| {
        let resources = spec.object("resources");
        let amounts = resources.and_then(|resources| resources.object(name));
        amounts.cloned().unwrap_or_default()
    };
    let (mut limits, mut requests) = (part("limits"), part("requests"));
    if limits.is_empty() && requests.is_empty() {
        return;
    }
    for (name, total) in totals::sum(spec, "limits") {
        if name.starts_with("hugepages-") && !requests.contains_key(name) {
            let entry = limits.entry(name);
            entry.or_insert_with(|| total.to_string().into());
        }
    }
    if !limits.is_empty() {
        for (name, total) in totals::sum(spec, "requests") {
            if matches!(name, "cpu" | "memory") {
                let entry = requests.entry(name);
                entry.or_insert_with(|| total.to_string().into());
            }
        }
        for (name, limit) in &limits {
            if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
                let entry = requests.entry(name.as_str());
                entry.or_insert_with(|| limit.clone());
            }
        }
    }
    let resources = spec.ensure_object("resources");
    for (name, amounts) in [("limits", limits), ("requests", requests)] {
        if !amounts.is_empty() {
            resources.insert(name.to_owned(), Value::Object(amounts));
        }
    }
}

/// What is limited and not requested is requested as much as it is limited to.
fn requests_from_limits(container: &mut Object) {
    let Some(resources) = container.object_mut("resources") else {
        return;
    };
    let Some(limits) = resources.object("limits").cloned() else {
        return;
    };
    let requests = resources.ensure_object("requests");
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// What pods and templates share.
pub fn spec(spec: &mut Object) {
    spec.set_default_zero("restartPolicy", "Always");
    spec.set_default("terminationGracePeriodSeconds", 30);
    spec.set_default_zero("dnsPolicy", "ClusterFirst");
    spec.set_default("securityContext", Map::new());
    spec.set_default_zero("schedulerName", "default-scheduler");
    service_account_alias(spec);
    spec.each_object("volumes", volume);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.each_object(list, container);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always written.
pub fn service_account_alias(spec: &mut Object) {
    let mut name = spec.text("serviceAccountName").to_owned();
    if name.is_empty() {
        name = spec.text("serviceAccount").to_owned();
    }
    if name.is_empty() {
        return;
    }
    spec.set("serviceAccountName", name.as_str());
    spec.set("serviceAccount", name);
}

fn container(container: &mut Object) {
    container.set_default("resources", Map::new());
    container.set_default_zero("terminationMessagePath", "/dev/termination-log");
    container.set_default_zero("terminationMessagePolicy", "File");
    let policy = pull_policy(container.text("image"));
    container.set_default_zero("imagePullPolicy", policy);
    container.each_object("ports", |port| port.set_default_zero("protocol", "TCP"));
    container.each_object("env", |env| {
        if let Some(source) = env.object_mut("valueFrom") {
            field_ref(source);
            if let Some(file) = source.object_mut("fileKeyRef") {
                file.set_default("optional", false);
            }
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.object_mut(name) {
            handler(probe);
            probe.set_default_zero("timeoutSeconds", 1);
            probe.set_default_zero("periodSeconds", 10);
            probe.set_default_zero("successThreshold", 1);
            probe.set_default_zero("failureThreshold", 3);
        }
    }
    if let Some(lifecycle) = container.object_mut("lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.object_mut(name) {
                handler(hook);
            }
        }
    }
}

/// Whether this names an image: a host perhaps, a path in small letters, a tag perhaps.
fn is_reference(image: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (first, after) = image.split_once('/').unwrap_or(("", image));
    let is_host =
        first.contains(['.', ':']) || first == "localhost" || first != first.to_lowercase();
    let path = if first.is_empty() || is_host {
        after
    } else {
        image
    };
    if image.starts_with('/') {
        return false;
    }
    let (path, tag) = path
        .split_once(':')
        .map_or((path, None), |(p, t)| (p, Some(t)));
    let tagged = tag.is_none_or(|tag| {
        tag.len() <= 128
            && tag.starts_with(word)
            && tag.chars().all(|c| word(c) || ".-".contains(c))
    });
    let hashed = path.len() == 64 && path.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let of_path = |part: &str| {
        let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let separators = part.split(small).filter(|between| !between.is_empty());
        part.starts_with(small)
            && part.ends_with(small)
            && separators
                .into_iter()
                .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
    };
    let host = first.split_once(':').unwrap_or((first, "1"));
    let of_host = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let hosted = !is_host
        || host.0.split('.').all(of_host)
            && !host.1.is_empty()
            && host.1.bytes().all(|b| b.is_ascii_digit());
    const MAX_PATH: usize = 255;
    path.len() <= MAX_PATH && hosted && tagged && !hashed && path.split('/').all(of_path)
}

/// `Always` for images that can change below their name: no tag, or `latest`. A digest never changes.
pub fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') || !is_reference(image) {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn handler(handler: &mut Object) {
    if let Some(http) = handler.object_mut("httpGet") {
        http.set_default_zero("path", "/");
        http.set_default_zero("scheme", "HTTP");
    }
    if let Some(grpc) = handler.object_mut("grpc") {
        grpc.set_default("service", "");
    }
}

/// `fieldRef` and `resourceFieldRef`, in environment variables and downward API files.
fn field_ref(source: &mut Object) {
    if let Some(field) = source.object_mut("fieldRef") {
        field.set_default_zero("apiVersion", "v1");
    }
    if let Some(resource) = source.object_mut("resourceFieldRef") {
        resource.set_default("divisor", "0");
    }
}

/// 0644, as JSON has no octal numbers.
const FILE_MODE: i64 = 0o644;

/// A volume, in a pod or (its source alone) in a PersistentVolume.
pub fn volume(volume: &mut Object) {
    let sourceless = !volume.iter().any(|(k, v)| k != "name" && !v.is_null());
    if sourceless {
        volume.set("emptyDir", Map::new());
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.object_mut(name) {
            source.set_default("defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = volume.object_mut("downwardAPI") {
        source.each_object("items", field_ref);
    }
    if let Some(projected) = volume.object_mut("projected") {
        projected.each_object("sources", |source| {
            if let Some(token) = source.object_mut("serviceAccountToken") {
                token.set_default("expirationSeconds", 3600);
            }
            if let Some(downward) = source.object_mut("downwardAPI") {
                downward.each_object("items", field_ref);
            }
        });
    }
    if let Some(image) = volume.object_mut("image") {
        let policy = pull_policy(image.text("reference"));
        image.set_default_zero("pullPolicy", policy);
    }
    if let Some(template) = volume
        .object_mut("ephemeral")
        .and_then(|e| e.object_mut("volumeClaimTemplate"))
    {
        template.ensure_object("metadata");
        template
            .ensure_object("spec")
            .set_default("volumeMode", "Filesystem");
    }
    volume_source(volume);
}

/// The sources that pods and PersistentVolumes share.
pub fn volume_source(owner: &mut Object) {
    const CONSTANTS: &[(&str, &[(&str, &str)])] = &[
        ("iscsi", &[("iscsiInterface", "default")]),
        (
            "rbd",
            &[
                ("pool", "rbd"),
                ("user", "admin"),
                ("keyring", "/etc/ceph/keyring"),
            ],
        ),
        (
            "scaleIO",
            &[("storageMode", "ThinProvisioned"), ("fsType", "xfs")],
        ),
    ];
    for (source, fields) in CONSTANTS {
        if let Some(source) = owner.object_mut(source) {
            for (field, value) in *fields {
                source.set_default_zero(field, Value::from(*value));
            }
        }
    }
    if let Some(disk) = owner.object_mut("azureDisk") {
        // Unlike the others, these are behind pointers: what is empty stays so.
        disk.set_default("cachingMode", "ReadWrite");
        disk.set_default("fsType", "ext4");
        disk.set_default("kind", "Shared");
        disk.set_default("readOnly", false);
    }
    if let Some(path) = owner.object_mut("hostPath") {
        path.set_default("type", "");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pull_policies() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
            ("registry.example/a/b__c:latest", "Always"),
            // What names no image has no tag.
            ("Nginx", "IfNotPresent"),
            (" ", "IfNotPresent"),
            ("a//b", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
        assert_eq!(pull_policy(&"x".repeat(256)), "IfNotPresent");
    }

    #[test]
    fn a_pod_takes_what_its_containers_do() {
        let mut object = json!({"spec": {
        "resources": {"limits": {"cpu": "2"}},
        "containers": [
            {"name": "c", "resources": {"limits": {"hugepages-2Mi": "2Mi", "memory": "1"}}},
            {"name": "d", "resources": {"requests": {"cpu": "500m"}}},
        ]}});
        pod(object.as_object_mut().unwrap());
        assert_eq!(
            object["spec"]["resources"],
            json!({
                "limits": {"cpu": "2", "hugepages-2Mi": "2Mi"},
                "requests": {"cpu": "500m", "hugepages-2Mi": "2Mi", "memory": "1"},
            })
        );
    }

    #[test]
    fn limits_are_requested() {
        let mut object = json!({"spec": {"hostNetwork": true, "containers": [{
            "name": "c", "image": "i:1", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "2"}, "requests": {"cpu": "500m"}},
        }]}})
        .as_object()
        .cloned()
        .unwrap();
        pod(&mut object);
        let container = &object["spec"]["containers"][0];
        assert_eq!(
            container["resources"]["requests"],
            json!({"cpu": "500m", "memory": "2"})
        );
        assert_eq!(
            container["ports"][0],
            json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"})
        );
        assert_eq!(object["spec"]["enableServiceLinks"], true);
    }

    #[test]
    fn defaulting_twice_changes_nothing() {
        let mut object = json!({"spec": {"serviceAccount": "x", "volumes": [{"name": "v"}],
            "containers": [{"name": "c", "image": "i", "livenessProbe": {"httpGet": {"port": 1}}}]}})
        .as_object()
        .cloned()
        .unwrap();
        pod(&mut object);
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once);
    }
}
