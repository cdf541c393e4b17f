//! `PodSpec` and `PodTemplateSpec`, which many kinds share: defaults, validation, quality of service.
//!
//! The rules stand by topic; [`validate`] calls them in upstream's order (`ValidatePodSpec`).

pub mod app_armor;
mod containers;
pub mod defaults;
pub mod disabled;
mod environment;
pub mod label_keys;
mod probes;
pub mod qos;
pub(crate) mod resources;
pub(crate) mod scheduling;
mod security;
pub(crate) mod volumes;
pub mod warnings;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    meta, names,
    validate::{one_of, text},
};

/// What the rules of a container need to know of its pod.
struct Context<'a> {
    /// The volumes that can be mounted.
    volumes: Vec<&'a str>,
    /// Those of them that can be used as block devices: claims, and claims made for the pod.
    claims: Vec<&'a str>,
    /// How long a container has to stop.
    grace_seconds: i64,
    /// Whether a container may leave out its image.
    image_optional: bool,
}

/// A `PodTemplateSpec` at `path`.
pub fn validate_template(errors: &mut ErrorList, path: &Path, template: Option<&Object>) {
    let empty = Object::new();
    let template = template.unwrap_or(&empty);
    let metadata = template.object("metadata").unwrap_or(&empty);
    // Upstream leaves `metadata` out of these paths.
    errors.extend(meta::validate_labels(
        metadata.object("labels"),
        &path.child("labels"),
    ));
    errors.extend(meta::validate_annotations(
        metadata.object("annotations"),
        &path.child("annotations"),
    ));
    let spec = template.object("spec").unwrap_or(&empty);
    validate(errors, &path.child("spec"), spec);
    if !spec.list("ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}

/// The template of a workload that keeps its pods running for ever.
pub fn validate_template_of_service(
    errors: &mut ErrorList,
    path: &Path,
    template: Option<&Object>,
) {
    validate_template(errors, path, template);
    let spec = template.and_then(|t| t.object("spec"));
    let policy = spec.map_or("", |s| s.text("restartPolicy"));
    let at = path.child("spec");
    if policy != "Always" && !policy.is_empty() {
        errors.push(FieldError::not_supported(
            &at.child("restartPolicy"),
            policy,
            &["Always"],
        ));
    }
    if spec.is_some_and(|s| s.has("activeDeadlineSeconds")) {
        errors.push(FieldError::forbidden(
            &at.child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
}

/// A `PodSpec` at `path`.
pub fn validate(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let volumes = volumes::validate(errors, &path.child("volumes"), spec);
    let claims = spec
        .objects("volumes")
        .filter(|(_, v)| v.has("persistentVolumeClaim") || v.has("ephemeral"))
        .map(|(_, v)| v.text("name"))
        .collect();
    let context = Context {
        volumes,
        claims,
        grace_seconds: spec.int("terminationGracePeriodSeconds").unwrap_or(30),
        image_optional: false,
    };
    containers::validate(errors, &path.child("containers"), spec, &context);
    containers::validate_init(errors, &path.child("initContainers"), spec, &context);
    containers::validate_ephemeral(errors, &path.child("ephemeralContainers"), spec, &context);
    if let Some(requirements) = spec.object("resources") {
        resources::requirements(errors, &path.child("resources"), requirements);
    }
    restart_policy(
        errors,
        &path.child("restartPolicy"),
        spec.text("restartPolicy"),
    );
    dns_policy(errors, &path.child("dnsPolicy"), spec.text("dnsPolicy"));
    scheduling::node_selector(errors, &path.child("nodeSelector"), spec);
    if let Some(security_context) = spec.object("securityContext") {
        security::of_pod(
            errors,
            &path.child("securityContext"),
            security_context,
            spec,
        );
    }
    if let Some(affinity) = spec.object("affinity") {
        scheduling::affinity(errors, &path.child("affinity"), affinity);
    }
    dns_config(errors, &path.child("dnsConfig"), spec);
    scheduling::gates(errors, path, spec);
    scheduling::topology_spread(errors, &path.child("topologySpreadConstraints"), spec);
    host_users(errors, path, spec);
    names_in_spec(errors, path, spec);
    scheduling::tolerations(errors, &path.child("tolerations"), spec);
    host_aliases(errors, &path.child("hostAliases"), spec);
    class_names(errors, path, spec);
    if let Some(os) = spec.object("os") {
        operating_system(errors, path, spec, os.text("name"));
    }
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
    for (index, search) in config.texts("searches").enumerate() {
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
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec.is_true(field) {
            errors.push(FieldError::forbidden(
                &path.child(field),
                "when `hostUsers` is false",
            ));
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
        if !name.is_empty() {
            text(
                errors,
                &path.child(field),
                name,
                names::dns1123_subdomain(name),
            );
        }
    }
    if spec.has("preemptionPolicy") {
        one_of(
            errors,
            &path.child("preemptionPolicy"),
            spec.text("preemptionPolicy"),
            &["Never", "PreemptLowerPriority"],
        );
    }
    for (name, value) in spec.object("overhead").into_iter().flatten() {
        let at = path.child("overhead").key(name);
        resources::quantity_value(errors, &at, name, value);
    }
}

fn operating_system(errors: &mut ErrorList, path: &Path, spec: &Object, name: &str) {
    match name {
        "" => errors.push(FieldError::required(
            &path.child("os").child("name"),
            "cannot be empty",
        )),
        "linux" => {
            let context = spec.object("securityContext");
            if context.is_some_and(|c| c.has("windowsOptions")) {
                errors.push(FieldError::forbidden(
                    &path.child("securityContext").child("windowsOptions"),
                    "windows options cannot be set for a linux pod",
                ));
            }
        }
        "windows" => {
            for field in ["hostPID", "hostIPC"] {
                if spec.is_true(field) {
                    errors.push(FieldError::forbidden(
                        &path.child(field),
                        "cannot be set for a windows pod",
                    ));
                }
            }
        }
        other => {
            errors.push(FieldError::not_supported(
                &path.child("os"),
                other,
                &["linux", "windows"],
            ));
        }
    }
}
