//! The status of a pod, which its kubelet writes.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kinds::core::pod_spec,
    names,
    validate::{one_of, text},
};

const LISTS: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", ""),
];

/// A changed status, in the light of the pod that is there.
pub(super) fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let annotations = Path::new("metadata").child("annotations");
    pod_spec::annotations::validate_update(&mut errors, &annotations, new, old);
    let status = new.object("status").unwrap_or(&empty);
    let before = old.object("status").unwrap_or(&empty);
    let spec = old.object("spec").unwrap_or(&empty);
    let path = Path::new("status");
    conditions(&mut errors, &path.child("conditions"), status);
    nominated_node(&mut errors, &path.child("nominatedNodeName"), new, old);
    let generation = status.int("observedGeneration").unwrap_or(0);
    if generation < 0 {
        errors.push(FieldError::invalid(
            &path.child("observedGeneration"),
            generation,
            "must be a non-negative integer",
        ));
    }
    let class = status.text("qosClass");
    if class != before.text("qosClass") {
        let at = path.child("qosClass");
        errors.push(FieldError::invalid(&at, class, "field is immutable"));
    }
    for (list, containers) in LISTS {
        transitions(
            &mut errors,
            &path.child(list),
            status.list(list),
            before.list(list),
            |status| may_restart(spec, containers, status),
        );
    }
    resource_claims(
        &mut errors,
        &path.child("resourceClaimStatuses"),
        status,
        spec,
    );
    if let Some(extended) = status.object("extendedResourceClaimStatus") {
        let at = path.child("extendedResourceClaimStatus");
        extended_resource_claim(&mut errors, &at, extended, spec);
    }
    addresses(&mut errors, &path.child("podIPs"), status, before, "podIPs");
    host_addresses(&mut errors, &path.child("hostIPs"), status, before);
    let os = spec.object("os").map_or("linux", |os| os.text("name"));
    for (list, _) in LISTS {
        users(&mut errors, &path.child(list), status, list, os);
    }
    for (list, containers) in LISTS {
        let at = path.child(list);
        for (index, container) in status.objects(list) {
            let at = at.index(index).child("allocatedResourcesStatus");
            if !containers.is_empty() {
                health(&mut errors, &at, container, spec, containers);
            } else if !container.list("allocatedResourcesStatus").is_empty() {
                let detail = "must not be specified in container status";
                errors.push(FieldError::forbidden(&at, detail));
            }
        }
    }
    errors
}

fn conditions(errors: &mut ErrorList, path: &Path, status: &Object) {
    for (index, condition) in status.objects("conditions") {
        let at = path.index(index);
        let generation = condition.int("observedGeneration").unwrap_or(0);
        if generation < 0 {
            errors.push(FieldError::invalid(
                &at.child("observedGeneration"),
                generation,
                "must be a non-negative integer",
            ));
        }
        let kind = condition.text("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            text(errors, &at.child("Type"), kind, names::qualified_name(kind));
        }
    }
}

/// The node that a pod may get, if it has none.
fn nominated_node(errors: &mut ErrorList, path: &Path, new: &Object, old: &Object) {
    let nominated = |pod: &Object| -> String {
        let status = pod.object("status");
        status
            .map_or("", |s| s.text("nominatedNodeName"))
            .to_owned()
    };
    let node = nominated(new);
    if node.is_empty() || node == nominated(old) {
        return;
    }
    text(errors, path, &node, names::dns1123_subdomain(&node));
    let bound = old
        .object("spec")
        .is_some_and(|spec| !spec.text("nodeName").is_empty());
    if bound {
        let detail = "may not be set on pods that are already bound to a node";
        errors.push(FieldError::forbidden(path, detail));
    }
}

/// What has ended stays ended, unless it may be started again.
fn transitions(
    errors: &mut ErrorList,
    path: &Path,
    now: &[Value],
    then: &[Value],
    may_restart: impl Fn(&Object) -> bool,
) {
    let terminated = |status: &Object| {
        status
            .object("state")
            .is_some_and(|state| state.has("terminated"))
    };
    let then = then.iter().filter_map(Value::as_object);
    for (index, before) in then.enumerate().filter(|(_, status)| terminated(status)) {
        let after = now
            .iter()
            .filter_map(Value::as_object)
            .find(|status| status.text("name") == before.text("name") && !terminated(status));
        if after.is_some() && !may_restart(before) {
            errors.push(FieldError::forbidden(
                &path.index(index).child("state"),
                "may not be transitioned to non-terminated state",
            ));
        }
    }
}

/// Whether a container that ended as `status` tells is started again.
fn may_restart(spec: &Object, list: &str, status: &Object) -> bool {
    let restarts_all = |container: &Object| {
        container
            .objects("restartPolicyRules")
            .any(|(_, rule)| rule.text("action") == "RestartAllContainers")
    };
    if list.is_empty() {
        return false;
    }
    let all = ["containers", "initContainers"];
    if all
        .iter()
        .any(|list| spec.objects(list).any(|(_, c)| restarts_all(c)))
    {
        return true;
    }
    let Some((_, container)) = spec
        .objects(list)
        .find(|(_, container)| container.text("name") == status.text("name"))
    else {
        return false;
    };
    let code = status
        .object("state")
        .and_then(|state| state.object("terminated"))
        .and_then(|ended| ended.int("exitCode"))
        .unwrap_or(0);
    let rule = container.objects("restartPolicyRules").any(|(_, rule)| {
        rule.object("exitCodes").is_some_and(|codes| {
            let listed = codes.list("values").contains(&code.into());
            match codes.text("operator") {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    });
    let policy = container
        .text_opt("restartPolicy")
        .unwrap_or_else(|| spec.text("restartPolicy"));
    rule || match policy {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn resource_claims(errors: &mut ErrorList, path: &Path, status: &Object, spec: &Object) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, claim) in status.objects("resourceClaimStatuses") {
        let at = path.index(index);
        let name = claim.text("name");
        let known = spec
            .objects("resourceClaims")
            .any(|(_, c)| c.text("name") == name);
        if !known {
            errors.push(FieldError::invalid(
                &at.child("name"),
                name,
                "must match the name of an entry in `spec.resourceClaims`",
            ));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        if let Some(made) = claim.text_opt("resourceClaimName") {
            let complaints = names::dns1123_subdomain(made);
            text(errors, &at.child("resourceClaimName"), made, complaints);
        }
    }
}

/// Which requests of the claim that was made for extended resources stand for which resources of containers.
fn extended_resource_claim(errors: &mut ErrorList, path: &Path, status: &Object, spec: &Object) {
    let mappings = path.child("requestMappings");
    if status.list("requestMappings").is_empty() {
        let detail = "at least one request mapping is required";
        errors.push(FieldError::required(&mappings, detail));
    }
    let container = |name: &str| {
        let mut lists = ["containers", "initContainers"].into_iter();
        lists.find_map(|list| {
            let mut containers = spec.objects(list).map(|(_, container)| container);
            containers.find(|container| container.text("name") == name)
        })
    };
    let fields = ["containerName", "resourceName", "requestName"];
    let mut seen = BTreeSet::new();
    for (index, mapping) in status.objects("requestMappings") {
        let at = mappings.index(index);
        let [name, resource, request] = fields.map(|field| mapping.text(field));
        match container(name) {
            None => errors.push(FieldError::invalid(
                &at.child("containerName"),
                name,
                "must match the name of an entry in spec.initContainers.name or spec.containers.name",
            )),
            Some(container) => {
                let resources = container.object("resources");
                let requests = resources.and_then(|r| r.object("requests"));
                if !requests.is_some_and(|requests| requests.has(resource)) {
                    errors.push(FieldError::invalid(
                        &at.child("resourceName"),
                        resource,
                        "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests",
                    ));
                }
            }
        }
        // Upstream names the status, not the mapping.
        let rule = names::dns1123_label(request);
        text(errors, &path.child("requestName"), request, rule);
        let key = [name, resource, request];
        if !seen.insert(key) {
            for (field, value) in fields.iter().zip(key) {
                errors.push(FieldError::duplicate(&at.child(field), value));
            }
        }
    }
    let (at, claim) = (
        path.child("resourceClaimName"),
        status.text("resourceClaimName"),
    );
    if claim.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        text(errors, &at, claim, names::dns1123_subdomain(claim));
    }
}

/// Addresses, at most one of a family; those that were there stay good.
fn addresses(errors: &mut ErrorList, path: &Path, status: &Object, before: &Object, list: &str) {
    let of = |status: &Object| -> Vec<String> {
        let addresses = status.objects(list);
        addresses.map(|(_, a)| a.text("ip").to_owned()).collect()
    };
    let (now, then) = (of(status), of(before));
    for (index, ip) in now.iter().enumerate().filter(|(_, ip)| !then.contains(ip)) {
        text(errors, &path.index(index), ip, names::legacy_ip(ip));
    }
    if now.len() < 2 {
        return;
    }
    let mut families = Vec::new();
    for (index, ip) in now.iter().enumerate() {
        match names::parse_ip_sloppy(ip) {
            Some(ip) => families.push(ip.is_ipv4()),
            None => {
                errors.push(FieldError::internal(
                    path,
                    format!("failed to check for dual stack with error:invalid IP[{index}]: {ip}"),
                ));
                families.clear();
                break;
            }
        }
    }
    let dual = families.contains(&true) && families.contains(&false);
    if !dual || now.len() > 2 {
        let shown = crate::internal::in_go_names(
            if list == "podIPs" {
                "io.k8s.api.core.v1.PodIP"
            } else {
                "io.k8s.api.core.v1.HostIP"
            },
            status.list(list),
        );
        errors.push(crate::validate::invalid_shown(
            path,
            &shown,
            "may specify no more than one IP for each IP family",
        ));
    }
}

fn host_addresses(errors: &mut ErrorList, path: &Path, status: &Object, before: &Object) {
    let Some((_, first)) = status.objects("hostIPs").next() else {
        return;
    };
    let first = first.text("ip");
    if first != status.text("hostIP") {
        errors.push(FieldError::invalid(
            &path.index(0).child("ip"),
            first,
            "must be equal to `hostIP`",
        ));
    }
    addresses(errors, path, status, before, "hostIPs");
}

/// Who the processes of containers run as.
fn users(errors: &mut ErrorList, path: &Path, status: &Object, list: &str, os: &str) {
    for (index, container) in status.objects(list) {
        let Some(user) = container
            .object("user")
            .and_then(|user| user.object("linux"))
        else {
            continue;
        };
        let at = path.index(index).child("user").child("linux");
        if os == "windows" {
            let detail = "cannot be set for a windows pod";
            errors.push(FieldError::forbidden(&at, detail));
            continue;
        }
        if os != "linux" {
            continue;
        }
        for field in ["uid", "gid"] {
            id(errors, &at.child(field), user.int(field).unwrap_or(0));
        }
        for (i, group) in user.list("supplementalGroups").iter().enumerate() {
            let at = at.child("supplementalGroups").index(i);
            id(errors, &at, group.as_i64().unwrap_or(0));
        }
    }
}

fn id(errors: &mut ErrorList, path: &Path, id: i64) {
    for complaint in names::in_range(id, 0, i64::from(i32::MAX)) {
        errors.push(FieldError::invalid(path, id, complaint));
    }
}

/// The health of devices (KEP-4680).
fn health(errors: &mut ErrorList, path: &Path, status: &Object, spec: &Object, list: &str) {
    let container = spec
        .objects(list)
        .find(|(_, container)| container.text("name") == status.text("name"))
        .map(|(_, container)| container);
    for (index, allocated) in status.objects("allocatedResourcesStatus") {
        let at = path.index(index);
        let name = allocated.text("name");
        if let Some(container) = container {
            let complaint = unknown_resource(container, name);
            errors.extend(complaint.map(|c| FieldError::invalid(&at.child("name"), name, c)));
        }
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (i, resource) in allocated.objects("resources") {
            let at = at.child("resources").index(i);
            let state = resource.text("health");
            let states = &["Healthy", "Unhealthy", "Unknown"];
            one_of(errors, &at.child("health"), state, states);
            let id = resource.text("resourceID");
            if !seen.insert(id) {
                errors.push(FieldError::duplicate(&at.child("resourceID"), id));
            }
        }
    }
}

fn unknown_resource(container: &Object, name: &str) -> Option<&'static str> {
    let resources = container.object("resources");
    let (known, complaint) = match name.strip_prefix("claim:") {
        Some(claim) => (
            resources.is_some_and(|r| {
                r.objects("claims").any(|(_, c)| match c.text("request") {
                    "" => c.text("name") == claim,
                    request => format!("{}/{request}", c.text("name")) == claim,
                })
            }),
            "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty",
        ),
        None => (
            resources
                .and_then(|r| r.object("requests"))
                .is_some_and(|requests| requests.has(name)),
            "must match one of the container's resource requests",
        ),
    };
    (!known).then_some(complaint)
}
