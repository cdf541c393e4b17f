//! Warnings about pods and templates: what is deprecated, without effect, or probably not meant (`pkg/api/pod/warnings.go`).
//!
//! They change nothing; a client shows them to its user.

use apimachinery::{Object, field::Path};

use crate::{
    fields::{Fields, quantity},
    names,
};

/// Node labels that have newer names.
const NODE_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    (
        "beta.kubernetes.io/instance-type",
        "v1.17",
        "node.kubernetes.io/instance-type",
    ),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "v1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "v1.17",
        "topology.kubernetes.io/zone",
    ),
];

/// Volumes that no longer work, or soon will not.
const VOLUMES: &[(&str, &str)] = &[
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Of a template, when it is new or changed.
pub fn of_template(path: &Path, new: Option<&Object>, old: Option<&Object>) -> Vec<String> {
    match new {
        Some(template) if Some(template) != old => {
            of(&path.child("spec"), &path.child("metadata"), template)
        }
        _ => Vec::new(),
    }
}

/// Of a new pod.
pub fn of_pod(pod: &Object) -> Vec<String> {
    of(&Path::new("spec"), &Path::new("metadata"), pod)
}

fn of(path: &Path, metadata_path: &Path, owner: &Object) -> Vec<String> {
    let empty = Object::new();
    let spec = owner.object("spec").unwrap_or(&empty);
    let metadata = owner.object("metadata").unwrap_or(&empty);
    let mut warnings = Vec::new();
    for (label, since, instead) in NODE_LABELS {
        if spec
            .object("nodeSelector")
            .is_some_and(|s| s.contains_key(*label))
        {
            let at = path.child("nodeSelector").key(label);
            warnings.push(format!(
                "{at}: deprecated since {since}; use \"{instead}\" instead"
            ));
        }
    }
    annotations(&mut warnings, &metadata_path.child("annotations"), metadata);
    volumes(&mut warnings, &path.child("volumes"), spec);
    host_aliases(&mut warnings, &path.child("hostAliases"), spec);
    for (index, secret) in spec.objects("imagePullSecrets") {
        if secret.text("name").is_empty() {
            let at = path.child("imagePullSecrets").index(index).child("name");
            warnings.push(format!("{at}: invalid empty name \"\""));
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in spec.objects(list) {
            of_container(&mut warnings, &path.child(list).index(index), container);
        }
    }
    warnings
}

fn annotations(warnings: &mut Vec<String>, path: &Path, metadata: &Object) {
    for key in metadata
        .object("annotations")
        .into_iter()
        .flat_map(|a| a.keys())
    {
        let at = path.key(key);
        if key.starts_with("container.apparmor.security.beta.kubernetes.io/") {
            warnings.push(format!(
                "{at}: deprecated since v1.30; use the \"appArmorProfile\" field instead"
            ));
        } else if key == "scheduler.alpha.kubernetes.io/critical-pod" {
            warnings.push(format!(
                "{at}: non-functional in v1.16+; use the \"priorityClassName\" field instead"
            ));
        } else if key.starts_with("container.seccomp.security.alpha.kubernetes.io/")
            || key == "seccomp.security.alpha.kubernetes.io/pod"
        {
            warnings.push(format!(
                "{at}: non-functional in v1.27+; use the \"seccompProfile\" field instead"
            ));
        }
    }
}

fn volumes(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    for (index, volume) in spec.objects("volumes") {
        for (source, words) in VOLUMES {
            if volume.has(source) {
                warnings.push(format!("{}: {words}", path.index(index).child(source)));
            }
        }
        let sources = volume
            .object("projected")
            .map_or(&[][..], |p| p.list("sources"));
        let empty = sources
            .iter()
            .any(|s| s.as_object().is_none_or(Object::is_empty));
        if empty || (volume.has("projected") && sources.is_empty()) {
            warnings.push(format!(
                "volume {:?} (Projected) has no sources provided",
                volume.text("name")
            ));
        }
    }
}

fn host_aliases(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, alias) in spec.objects("hostAliases") {
        let ip = alias.text("ip");
        if seen.contains(&ip) {
            warnings.push(format!(
                "{}: duplicate ip {ip:?}",
                path.index(index).child("ip")
            ));
        }
        seen.push(ip);
    }
}

fn of_container(warnings: &mut Vec<String>, at: &Path, container: &Object) {
    let mut variables: Vec<&str> = Vec::new();
    for (index, variable) in container.objects("env") {
        let name = variable.text("name");
        if variables.contains(&name) {
            warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                at.child("env").index(index)
            ));
        }
        variables.push(name);
    }
    for part in ["limits", "requests"] {
        let amounts = container.object("resources").and_then(|r| r.object(part));
        for (name, value) in amounts.into_iter().flatten() {
            let bytes = matches!(name.as_str(), "memory" | "ephemeral-storage");
            if bytes && quantity(value).is_some_and(|q| q.milli_value() % 1000 != 0) {
                warnings.push(format!(
                    "{}: fractional byte value {:?} is invalid, must be an integer",
                    at.child("resources").child(part).key(name),
                    super::resources::shown(value)
                ));
            }
        }
    }
    let ports: Vec<_> = container
        .objects("ports")
        .map(|(_, p)| {
            (
                p.int("containerPort"),
                p.int("hostPort"),
                p.text("hostIP"),
                p.text("protocol"),
            )
        })
        .collect();
    for (index, port) in ports.iter().enumerate() {
        if let Some(first) = ports[..index].iter().position(|p| p == port) {
            let path = at.child("ports");
            warnings.push(format!(
                "{}: duplicate port definition with {}",
                path.index(index),
                path.index(first)
            ));
        }
    }
}

/// A pod's name is its host name, and most programs want that to be one label.
pub fn of_name(name: &str) -> Option<String> {
    let messages = names::dns1123_label(name);
    (!messages.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            messages.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn warns() {
        let pod = json!({"spec": {
            "nodeSelector": {"beta.kubernetes.io/arch": "amd64"},
            "volumes": [{"name": "v", "rbd": {}}],
            "containers": [{"env": [{"name": "A"}, {"name": "A"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80}],
                "resources": {"requests": {"memory": "100m"}}}],
        }});
        assert_eq!(
            of_pod(pod.as_object().unwrap()),
            [
                "spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \"kubernetes.io/arch\" instead",
                "spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ]
        );
    }
}
