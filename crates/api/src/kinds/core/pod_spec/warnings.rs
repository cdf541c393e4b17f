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
    node_labels(&mut warnings, path, spec);
    annotations(&mut warnings, &metadata_path.child("annotations"), metadata);
    volumes(&mut warnings, &path.child("volumes"), spec);
    host_aliases(&mut warnings, &path.child("hostAliases"), spec);
    pull_secrets(&mut warnings, &path.child("imagePullSecrets"), spec);
    fractions(
        &mut warnings,
        path,
        spec,
        &[("overhead", "memory"), ("overhead", "ephemeral-storage")],
    );
    let mut ports = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in spec.objects(list) {
            let at = path.child(list).index(index);
            of_container(&mut warnings, &at, container);
            overlapping_ports(&mut warnings, &at.child("ports"), container, &mut ports);
        }
    }
    null_selectors(&mut warnings, &path.child("affinity"), spec);
    warnings
}

/// Selectors, affinities and topologies by labels that have newer names.
fn node_labels(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    for (label, advice) in NODE_LABELS.iter().map(advice) {
        if spec
            .object("nodeSelector")
            .is_some_and(|s| s.contains_key(label))
        {
            warnings.push(format!(
                "{}: {advice}",
                path.child("nodeSelector").key(label)
            ));
        }
    }
    let affinity = spec
        .object("affinity")
        .and_then(|a| a.object("nodeAffinity"));
    if let Some(affinity) = affinity {
        let path = path.child("affinity").child("nodeAffinity");
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let at = path.child(required).child("nodeSelectorTerms");
        for (index, term) in affinity
            .object(required)
            .into_iter()
            .flat_map(|r| r.objects("nodeSelectorTerms"))
        {
            of_node_selector_term(warnings, &at.index(index), term);
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (index, weighted) in affinity.objects(preferred) {
            if let Some(term) = weighted.object("preference") {
                let at = path.child(preferred).index(index).child("preference");
                of_node_selector_term(warnings, &at, term);
            }
        }
    }
    for (index, constraint) in spec.objects("topologySpreadConstraints") {
        let at = path.child("topologySpreadConstraints").index(index);
        let key = constraint.text("topologyKey");
        if let Some(advice) = deprecated_label(key) {
            warnings.push(format!("{}: {key} is {advice}", at.child("topologyKey")));
        }
        if !constraint.has("labelSelector") {
            warnings.push(null_selector(&at));
        }
    }
}

/// Of a term of a node selector, also of those of volumes.
pub fn of_node_selector_term(warnings: &mut Vec<String>, path: &Path, term: &Object) {
    for (index, expression) in term.objects("matchExpressions") {
        let key = expression.text("key");
        if let Some(advice) = deprecated_label(key) {
            let at = path.child("matchExpressions").index(index).child("key");
            warnings.push(format!("{at}: {key} is {advice}"));
        }
    }
}

fn advice((label, since, instead): &(&'static str, &str, &str)) -> (&'static str, String) {
    (
        label,
        format!("deprecated since {since}; use \"{instead}\" instead"),
    )
}

fn deprecated_label(key: &str) -> Option<String> {
    let known = NODE_LABELS.iter().find(|(label, ..)| *label == key)?;
    Some(advice(known).1)
}

fn null_selector(at: &Path) -> String {
    format!(
        "{}: a null labelSelector results in matching no pod",
        at.child("labelSelector")
    )
}

/// Terms of pod affinity that can never be met.
fn null_selectors(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec.object("affinity").and_then(|a| a.object(kind)) else {
            continue;
        };
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in affinity.objects(required) {
            if !term.has("labelSelector") {
                warnings.push(null_selector(
                    &path.child(kind).child(required).index(index),
                ));
            }
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (index, weighted) in affinity.objects(preferred) {
            let term = weighted.object("podAffinityTerm");
            if term.is_none_or(|t| !t.has("labelSelector")) {
                let at = path.child(kind).child(preferred).index(index);
                warnings.push(null_selector(&at.child("podAffinityTerm")));
            }
        }
    }
}

fn pull_secrets(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, secret) in spec.objects("imagePullSecrets") {
        let name = secret.text("name");
        if seen.contains(&name) {
            let at = path.index(index).child("name");
            warnings.push(format!("{at}: duplicate name {name:?}"));
        }
        seen.push(name);
    }
    for (index, _) in seen.iter().enumerate().filter(|(_, name)| name.is_empty()) {
        let at = path.index(index).child("name");
        warnings.push(format!("{at}: invalid empty name \"\""));
    }
}

/// Bytes come whole.
fn fractions(warnings: &mut Vec<String>, path: &Path, owner: &Object, amounts: &[(&str, &str)]) {
    for (part, name) in amounts {
        let value = owner.object(part).and_then(|p| p.get(*name));
        if let Some(value) = value
            && quantity(value).is_some_and(|q| q.milli_value() % 1000 != 0)
        {
            warnings.push(format!(
                "{}: fractional byte value {:?} is invalid, must be an integer",
                path.child(part).key(name),
                super::resources::shown(value)
            ));
        }
    }
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
    if let Some(resources) = container.object("resources") {
        fractions(
            warnings,
            &at.child("resources"),
            resources,
            &[
                ("limits", "memory"),
                ("requests", "memory"),
                ("limits", "ephemeral-storage"),
                ("requests", "ephemeral-storage"),
            ],
        );
    }
}

/// A port that a container of the pod names, and where.
struct Port<'a> {
    at: Path,
    number: i64,
    protocol: &'a str,
    host_port: i64,
    host_ip: &'a str,
}

/// Ports that are named before, by this container or another.
fn overlapping_ports<'a>(
    warnings: &mut Vec<String>,
    path: &Path,
    container: &'a Object,
    seen: &mut Vec<Port<'a>>,
) {
    for (index, port) in container.objects("ports") {
        let port = Port {
            at: path.index(index),
            number: port.int("containerPort").unwrap_or(0),
            protocol: port.text("protocol"),
            host_port: port.int("hostPort").unwrap_or(0),
            host_ip: port.text("hostIP"),
        };
        if port.number == 0 {
            continue;
        }
        for other in seen
            .iter()
            .filter(|o| (o.number, o.protocol) == (port.number, port.protocol))
        {
            let same_host_port = port.host_port == other.host_port;
            let relation = if same_host_port && port.host_ip == other.host_ip {
                "duplicate"
            } else if port.host_port == 0 || other.host_port == 0 {
                "overlapping"
            } else if same_host_port && port.host_ip.is_empty() != other.host_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            warnings.push(format!(
                "{}: {relation} port definition with {}",
                port.at, other.at
            ));
        }
        seen.push(port);
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
