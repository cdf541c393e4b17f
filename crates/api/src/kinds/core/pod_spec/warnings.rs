//! Warnings about pods and templates: what is deprecated, without effect, or probably not meant (`pkg/api/pod/warnings.go`).
//!
//! They change nothing; a client shows them to its user.

mod overlaps;
mod ports;

use std::collections::BTreeSet;

use apimachinery::{Object, field::Path, meta, quote};

use super::{all_containers, app_armor};
use crate::{
    fields::{Fields, quantity},
    kinds::core::persistent_volume_claim,
    names,
};

/// More warnings than the headers of an answer carry: what else could be said of pairs is left unsaid, since pairs may be billions.
const ENOUGH: usize = 4096;

/// Node labels that are on their way out.
const NODE_LABELS: &[(&str, &str)] = &[
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// Volumes that no longer work, or soon will not: the field, its name in warnings, what is said. Claims made for the pod are judged
/// between those before [`CEPH`] and those after.
const VOLUMES: &[(&str, &str, &str)] = &[
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    (
        "scaleIO",
        "scaleIO",
        "deprecated in v1.16, non-functional in v1.22+",
    ),
    (
        "flocker",
        "flocker",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "storageos",
        "storageOS",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "quobyte",
        "quobyte",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "glusterfs",
        "glusterfs",
        "deprecated in v1.25, non-functional in v1.26+",
    ),
    (
        "cephfs",
        "cephfs",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
    (
        "rbd",
        "rbd",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
];
const CEPH: usize = 7;

/// Of a template, when it is new or changed.
pub fn of_template(path: &Path, new: Option<&Object>, old: Option<&Object>) -> Vec<String> {
    match new {
        Some(template) if Some(template) != old => {
            of(&path.child("spec"), &path.child("metadata"), template, true)
        }
        _ => Vec::new(),
    }
}

/// Of a workload whose pods have their names from its own: of its name, when it is new, and of its template, when its generation is.
pub fn of_workload(new: &Object, old: Option<&Object>) -> Vec<String> {
    if old.is_some_and(|old| meta::generation(old) == meta::generation(new)) {
        return Vec::new();
    }
    let template = |owner: &Object| owner.object("spec")?.object("template").cloned();
    let path = Path::new("spec").child("template");
    let mut warnings = Vec::new();
    if old.is_none() {
        warnings.extend(of_name_of_pods(meta::name(new)));
    }
    let old = old.and_then(template);
    warnings.extend(of_template(&path, template(new).as_ref(), old.as_ref()));
    warnings
}

/// Of a new pod.
pub fn of_pod(pod: &Object) -> Vec<String> {
    of(&Path::new("spec"), &Path::new("metadata"), pod, false)
}

fn of(path: &Path, metadata_path: &Path, owner: &Object, is_template: bool) -> Vec<String> {
    let empty = Object::new();
    let spec = owner.object("spec").unwrap_or(&empty);
    let metadata = owner.object("metadata").unwrap_or(&empty);
    let annotations = metadata.object("annotations").unwrap_or(&empty);
    let at = metadata_path.child("annotations");
    let mut warnings = Vec::new();
    node_labels(&mut warnings, path, spec);
    old_annotations(&mut warnings, &at, annotations);
    volumes(&mut warnings, &path.child("volumes"), spec);
    overlaps::of_volumes(&mut warnings, spec);
    host_aliases(&mut warnings, &path.child("hostAliases"), spec);
    pull_secrets(&mut warnings, &path.child("imagePullSecrets"), spec);
    fractions(
        &mut warnings,
        path,
        spec,
        &[("overhead", "memory"), ("overhead", "ephemeral-storage")],
    );
    let context = spec.object("securityContext").unwrap_or(&empty);
    if !context.has("seccompProfile") && annotations.has(SECCOMP_OF_POD) {
        warnings.push(no_seccomp(&at.key(SECCOMP_OF_POD)));
    }
    for (path, container) in all_containers(path, spec) {
        profiles(
            &mut warnings,
            &at,
            annotations,
            container,
            context,
            is_template,
        );
        of_container(&mut warnings, &path, container);
    }
    ports::of_pod(&mut warnings, path, spec);
    if spec
        .int("terminationGracePeriodSeconds")
        .is_some_and(|s| s < 0)
    {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            path.child("terminationGracePeriodSeconds")
        ));
    }
    null_selectors(&mut warnings, &path.child("affinity"), spec);
    addresses(&mut warnings, path, spec);
    warnings
}

/// Addresses that are good, but not as they should be written.
fn addresses(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    let at = path.child("dnsConfig").child("nameservers");
    let servers = spec.object("dnsConfig").into_iter();
    for (index, ip) in servers.flat_map(|c| c.texts("nameservers")).enumerate() {
        let said = names::ip_warning(ip);
        warnings.extend(said.map(|said| format!("{}: {said}", at.index(index))));
    }
    for (index, alias) in spec.objects("hostAliases") {
        let at = path.child("hostAliases").index(index).child("ip");
        let said = names::ip_warning(alias.text("ip"));
        warnings.extend(said.map(|said| format!("{at}: {said}")));
    }
}

const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

fn no_seccomp(at: &Path) -> String {
    format!("{at}: non-functional in v1.27+; use the \"seccompProfile\" field instead")
}

/// Profiles that stand in annotations alone.
fn profiles(
    warnings: &mut Vec<String>,
    at: &Path,
    annotations: &Object,
    container: &Object,
    of_pod: &Object,
    is_template: bool,
) {
    let has = |field| {
        container
            .object("securityContext")
            .is_some_and(|c| c.has(field))
    };
    let name = container.text("name");
    let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
    if !has("seccompProfile") && annotations.has(&key) {
        warnings.push(no_seccomp(&at.key(&key)));
    }
    // The field of a pod is filled from its annotation, so nothing is lost there.
    let key = format!("{}{name}", super::annotations::APP_ARMOR);
    if is_template
        && !has("appArmorProfile")
        && let Some(annotation) = annotations.text_opt(&key)
    {
        let meant = app_armor::profile(annotation);
        if of_pod.get("appArmorProfile").is_none()
            || of_pod.get("appArmorProfile") != meant.as_ref()
        {
            warnings.push(format!(
                "{}: deprecated since v1.30; use the \"appArmorProfile\" field instead",
                at.key(&key)
            ));
        }
    }
}

/// Selectors, affinities and topologies by labels that have newer names.
fn node_labels(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    for (label, _) in spec.object("nodeSelector").into_iter().flatten() {
        if let Some(advice) = deprecated_label(label) {
            let at = path.child("nodeSelector").key(label);
            warnings.push(format!("{at}: {advice}"));
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
            of_node_selector_term(warnings, &at.index(index), term, false);
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (index, weighted) in affinity.objects(preferred) {
            if let Some(term) = weighted.object("preference") {
                let at = path.child(preferred).index(index).child("preference");
                of_node_selector_term(warnings, &at, term, true);
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

/// Of a term of a node selector, also of those of volumes. Values that no label can have are refused elsewhere, or warned of.
pub fn of_node_selector_term(
    warnings: &mut Vec<String>,
    path: &Path,
    term: &Object,
    with_values: bool,
) {
    for (index, expression) in term.objects("matchExpressions") {
        let at = path.child("matchExpressions").index(index);
        let key = expression.text("key");
        if let Some(advice) = deprecated_label(key) {
            warnings.push(format!("{}: {key} is {advice}", at.child("key")));
        }
        if with_values {
            for (i, value) in expression.texts("values").enumerate() {
                for complaint in names::label_value(value) {
                    let at = at.child("values").index(i);
                    warnings.push(format!("{at}: {value} is invalid, {complaint}"));
                }
            }
        }
    }
}

/// What is said of a label of nodes that is on its way out.
pub fn deprecated_label(key: &str) -> Option<&'static str> {
    let known = NODE_LABELS.iter().find(|(label, _)| *label == key)?;
    Some(known.1)
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
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, secret) in spec.objects("imagePullSecrets") {
        let name = secret.text("name");
        if !seen.insert(name) {
            let at = path.index(index).child("name");
            warnings.push(format!("{at}: duplicate name {}", quote(name)));
        }
    }
    let secrets = spec.objects("imagePullSecrets");
    for (index, _) in secrets.filter(|(_, secret)| secret.text("name").is_empty()) {
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

fn old_annotations(warnings: &mut Vec<String>, path: &Path, annotations: &Object) {
    const GONE: &[(&str, &str)] = &[
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/unsafe-sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
    ];
    for (key, message) in GONE {
        if annotations.has(key) {
            warnings.push(format!("{}: {message}", path.key(key)));
        }
    }
}

fn volumes(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    for (index, volume) in spec.objects("volumes") {
        let at = path.index(index);
        let gone = |rows: &[(&str, &str, &str)]| -> Vec<String> {
            let there = rows.iter().filter(|(field, ..)| volume.has(field));
            there
                .map(|(_, shown, message)| format!("{}: {message}", at.child(shown)))
                .collect()
        };
        warnings.extend(gone(&VOLUMES[..CEPH]));
        let claim = volume
            .object("ephemeral")
            .and_then(|source| source.object("volumeClaimTemplate"))
            .and_then(|template| template.object("spec"));
        if let Some(claim) = claim {
            let at = at.child("ephemeral").child("volumeClaimTemplate");
            warnings.extend(persistent_volume_claim::warnings_of_spec(
                &at.child("spec"),
                claim,
            ));
        }
        warnings.extend(gone(&VOLUMES[CEPH..]));
    }
}

fn host_aliases(warnings: &mut Vec<String>, path: &Path, spec: &Object) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, alias) in spec.objects("hostAliases") {
        let ip = alias.text("ip");
        if !seen.insert(ip) {
            warnings.push(format!(
                "{}: duplicate ip {}",
                path.index(index).child("ip"),
                quote(ip)
            ));
        }
    }
}

fn of_container(warnings: &mut Vec<String>, at: &Path, container: &Object) {
    let mut variables: BTreeSet<&str> = BTreeSet::new();
    for (index, variable) in container.objects("env") {
        let name = variable.text("name");
        if variables.insert(name) {
            continue;
        }
        // A value that goes on from the one before does not hide it.
        let (value, own) = (variable.text("value"), format!("$({name})"));
        if variable.has("valueFrom") || value == own || !value.contains(&own) {
            warnings.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                at.child("env").index(index),
                quote(name)
            ));
        }
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

/// A pod's name is its host name, and most programs want that to be one label.
pub fn of_name(name: &str) -> Option<String> {
    of_host_name(name, "the Pod's hostname")
}

/// Likewise of the name of a workload after which its pods are named.
pub fn of_name_of_pods(name: &str) -> Option<String> {
    of_host_name(name, "Pod names and hostnames")
}

fn of_host_name(name: &str, used_in: &str) -> Option<String> {
    let messages = names::dns1123_label(name);
    (!messages.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
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
