//! `PodSpec` and `PodTemplateSpec`, which many kinds share: defaults, validation, quality of service.
//!
//! The rules stand by topic; [`validate`] calls them in upstream's order (`ValidatePodSpec`).

pub(super) mod annotations;
pub mod app_armor;
pub(super) mod containers;
pub mod defaults;
pub mod disabled;
mod environment;
mod ephemeral;
pub mod label_keys;
mod os;
mod probes;
mod projected;
pub mod qos;
pub(crate) mod resources;
pub(crate) mod scheduling;
mod security;
pub mod template;
mod totals;
pub(crate) mod volumes;
pub mod warnings;
mod windows;

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    names,
    validate::{one_of, text},
};
use resources::PodClaims;

/// What the rules of a container need to know of its pod.
struct Context<'a> {
    /// The volumes that can be mounted.
    volumes: BTreeSet<&'a str>,
    /// Those of them that can be used as block devices: claims, and claims made for the pod.
    claims: BTreeSet<&'a str>,
    /// The pod's claims to devices.
    resource_claims: PodClaims<'a>,
    /// How long a container has to stop.
    grace_seconds: Option<i64>,
    /// The pod's restart policy.
    restart_policy: &'a str,
    /// Whether the users of the containers are those of the host.
    host_users: bool,
    /// `spec.os.name`.
    os: Option<&'a str>,
}

/// The lists of containers in the order in which upstream visits them.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// All containers of a spec, with their paths.
fn all_containers<'a>(
    path: &'a Path,
    spec: &'a Object,
) -> impl Iterator<Item = (Path, &'a Object)> {
    CONTAINER_LISTS.into_iter().flat_map(move |list| {
        let at = path.child(list);
        spec.objects(list).map(move |(i, c)| (at.index(i), c))
    })
}

/// The rules of a whole pod but for those of creation and change: its annotations, and its spec in their light. Its metadata are the
/// caller's to judge.
pub fn validate_pod(errors: &mut ErrorList, pod: &Object) {
    let empty = Object::new();
    let at = Path::new("metadata").child("annotations");
    annotations::validate(errors, &at, pod);
    let spec = pod.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let metadata = pod.object("metadata").unwrap_or(&empty);
    validate(errors, &path, spec, Some(metadata));
    if spec.text("serviceAccountName").is_empty() {
        volumes::no_service_account_tokens(errors, &path.child("volumes"), spec);
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in spec.objects(list) {
            containers::image_of_pod(errors, &path.child(list).index(index), container);
        }
    }
}

/// A `PodSpec` at `path`, of a pod with `metadata` or of a template without.
pub fn validate(errors: &mut ErrorList, path: &Path, spec: &Object, metadata: Option<&Object>) {
    let grace = "terminationGracePeriodSeconds";
    if !spec.has(grace) {
        errors.push(FieldError::required(&path.child(grace), ""));
    }
    let volumes = volumes::validate(errors, &path.child("volumes"), spec, metadata);
    let context = Context {
        claims: spec
            .objects("volumes")
            .filter(|(_, v)| v.has("persistentVolumeClaim") || v.has("ephemeral"))
            .map(|(_, v)| v.text("name"))
            .filter(|name| volumes.contains(*name))
            .collect(),
        volumes,
        resource_claims: PodClaims::of(spec),
        grace_seconds: spec.int(grace),
        restart_policy: spec.text("restartPolicy"),
        host_users: spec.bool_opt("hostUsers") != Some(false),
        os: spec.object("os").map(|os| os.text("name")),
    };
    resources::claims_of_pod(errors, &path.child("resourceClaims"), spec, metadata);
    containers::validate(errors, &path.child("containers"), spec, &context);
    containers::validate_init(errors, &path.child("initContainers"), spec, &context);
    ephemeral::validate(errors, &path.child("ephemeralContainers"), spec, &context);
    totals::of_pod(errors, path, spec, &context);
    host_network(errors, &path.child("containers"), spec, metadata.is_some());
    restart_policy(
        errors,
        &path.child("restartPolicy"),
        spec.text("restartPolicy"),
    );
    dns_policy(errors, &path.child("dnsPolicy"), spec.text("dnsPolicy"));
    scheduling::node_selector(errors, &path.child("nodeSelector"), spec);
    if let Some(security_context) = spec.object("securityContext") {
        let at = path.child("securityContext");
        security::of_pod(errors, &at, security_context, spec);
    } else {
        security::shared_processes(errors, &path.child("securityContext"), spec);
    }
    if let Some(affinity) = spec.object("affinity") {
        scheduling::affinity(errors, &path.child("affinity"), affinity);
    }
    dns_config(errors, &path.child("dnsConfig"), spec);
    scheduling::gates(errors, path, spec);
    scheduling::topology_spread(errors, &path.child("topologySpreadConstraints"), spec);
    windows::host_processes(errors, path, spec);
    host_users(errors, path, spec);
    host_name(errors, path, spec);
    names_in_spec(errors, path, spec);
    scheduling::tolerations(errors, &path.child("tolerations"), spec);
    host_aliases(errors, &path.child("hostAliases"), spec);
    class_names(errors, path, spec);
    if let Some(system) = spec.object("os") {
        os::validate(errors, path, spec, system.text("name"));
    }
    environment::file_volumes(errors, path, spec);
}

/// With the host's network, a container's port is the host's.
fn host_network(errors: &mut ErrorList, path: &Path, spec: &Object, is_pod: bool) {
    if !spec.is_true("hostNetwork") {
        return;
    }
    for (ci, container) in spec.objects("containers") {
        for (pi, port) in container.objects("ports") {
            let on_host = port.int("hostPort").unwrap_or(0);
            let mismatch = on_host != port.int("containerPort").unwrap_or(0);
            if mismatch && (is_pod || on_host != 0) {
                let at = path.index(ci).child("ports").index(pi).child("hostPort");
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&at, on_host, detail));
            }
        }
    }
}

fn host_name(errors: &mut ErrorList, path: &Path, spec: &Object) {
    const FIELD: &str = "hostnameOverride";
    let Some(name) = spec.text_opt(FIELD) else {
        return;
    };
    let at = path.child(FIELD);
    let excludes = [
        (
            "setHostnameAsFQDN",
            "may not be specified when setHostnameAsFQDN is true",
        ),
        (
            "hostNetwork",
            "may not be specified when hostNetwork is true",
        ),
    ];
    for (field, detail) in excludes {
        if spec.is_true(field) {
            errors.push(FieldError::forbidden(&at, detail));
        }
    }
    if name.len() > 64 {
        errors.push(FieldError::too_long(&at, 64));
    }
    text(errors, &at, name, names::dns1123_subdomain(name));
}

fn restart_policy(errors: &mut ErrorList, path: &Path, policy: &str) {
    match policy {
        "" => errors.push(FieldError::required(path, "")),
        _ => one_of(errors, path, policy, &["Always", "OnFailure", "Never"]),
    }
}

fn dns_policy(errors: &mut ErrorList, path: &Path, policy: &str) {
    match policy {
        "" => errors.push(FieldError::required(path, "")),
        _ => one_of(
            errors,
            path,
            policy,
            &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        ),
    }
}

fn dns_config(errors: &mut ErrorList, path: &Path, spec: &Object) {
    const MAX_NAMESERVERS: usize = 3;
    const MAX_SEARCHES: usize = 32;
    const MAX_SEARCH_CHARACTERS: usize = 2048;
    let config = spec.object("dnsConfig");
    if spec.text("dnsPolicy") == "None" {
        match config {
            None => {
                errors.push(FieldError::required(
                    path,
                    "must provide `dnsConfig` when `dnsPolicy` is None",
                ));
                return;
            }
            Some(config) if config.list("nameservers").is_empty() => {
                errors.push(FieldError::required(
                    &path.child("nameservers"),
                    "must provide at least one DNS nameserver when `dnsPolicy` is None",
                ));
                return;
            }
            Some(_) => {}
        }
    }
    let Some(config) = config else { return };
    let servers = config.list("nameservers");
    if servers.len() > MAX_NAMESERVERS {
        errors.push(FieldError::invalid(
            &path.child("nameservers"),
            servers.to_vec(),
            format!("must not have more than {MAX_NAMESERVERS} nameservers"),
        ));
    }
    for (index, server) in config.texts("nameservers").enumerate() {
        text(
            errors,
            &path.child("nameservers").index(index),
            server,
            names::legacy_ip(server),
        );
    }
    let searches = config.list("searches");
    if searches.len() > MAX_SEARCHES {
        errors.push(FieldError::invalid(
            &path.child("searches"),
            searches.to_vec(),
            format!("must not have more than {MAX_SEARCHES} search paths"),
        ));
    }
    let listed: Vec<&str> = config.texts("searches").collect();
    if listed.join(" ").len() > MAX_SEARCH_CHARACTERS {
        errors.push(FieldError::invalid(
            &path.child("searches"),
            searches.to_vec(),
            format!("must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"),
        ));
    }
    for (index, search) in listed.into_iter().enumerate() {
        if search != "." {
            let bare = search.strip_suffix('.').unwrap_or(search);
            let messages = names::dns1123_subdomain_with_underscore(bare);
            text(errors, &path.child("searches").index(index), bare, messages);
        }
    }
    for (index, option) in config.objects("options") {
        if option.text("name").is_empty() {
            errors.push(FieldError::required(
                &path.child("options").index(index),
                "must not be empty",
            ));
        }
    }
}

fn host_users(errors: &mut ErrorList, path: &Path, spec: &Object) {
    if spec.bool_opt("hostUsers") != Some(false) {
        return;
    }
    const DETAIL: &str = "when `hostUsers` is false";
    // Two of the paths have upstream's capitals.
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec.is_true(field) {
            errors.push(FieldError::forbidden(&path.child(shown), DETAIL));
        }
    }
    for (at, container) in all_containers(path, spec) {
        if !container.list("volumeDevices").is_empty() {
            errors.push(FieldError::forbidden(&at.child("volumeDevices"), DETAIL));
        }
    }
}

fn names_in_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let check = |errors: &mut ErrorList, field: &str, rule: fn(&str) -> Vec<String>| {
        let value = spec.text(field);
        if !value.is_empty() {
            text(errors, &path.child(field), value, rule(value));
        }
    };
    check(errors, "serviceAccountName", names::dns1123_subdomain);
    check(errors, "nodeName", names::dns1123_subdomain);
    if let Some(seconds) = spec.int("activeDeadlineSeconds") {
        errors.extend(
            names::in_range(seconds, 1, i64::from(i32::MAX))
                .into_iter()
                .map(|m| FieldError::invalid(&path.child("activeDeadlineSeconds"), seconds, m)),
        );
    }
    check(errors, "hostname", names::dns1123_label);
    check(errors, "subdomain", names::dns1123_label);
}

fn host_aliases(errors: &mut ErrorList, path: &Path, spec: &Object) {
    for (index, alias) in spec.objects("hostAliases") {
        let at = path.index(index);
        let ip = alias.text("ip");
        text(errors, &at.child("ip"), ip, names::legacy_ip(ip));
        for (i, name) in alias.texts("hostnames").enumerate() {
            let path = at.child("hostnames").index(i);
            text(errors, &path, name, names::dns1123_subdomain(name));
        }
    }
}

fn class_names(errors: &mut ErrorList, path: &Path, spec: &Object) {
    for field in ["priorityClassName", "runtimeClassName"] {
        let name = spec.text(field);
        // An empty runtime class is one without a name; an empty priority class is none.
        if !name.is_empty() || (field == "runtimeClassName" && spec.has(field)) {
            let at = path.child(field);
            text(errors, &at, name, names::dns1123_subdomain(name));
        }
    }
    if let Some(policy) = spec.text_opt("preemptionPolicy") {
        let at = path.child("preemptionPolicy");
        match policy {
            "" => errors.push(FieldError::required(&at, "")),
            _ => one_of(errors, &at, policy, &["PreemptLowerPriority", "Never"]),
        }
    }
    if let Some(overhead) = spec.object("overhead") {
        resources::overhead(errors, &path.child("overhead"), overhead);
    }
}
