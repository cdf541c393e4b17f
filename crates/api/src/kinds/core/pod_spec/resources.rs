//! Rules of resource requests and limits.

use std::collections::BTreeSet;

use apimachinery::{
    Object, Quantity,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::annotations::MIRROR;
use crate::{
    fields::{Fields, quantity},
    internal, names,
    validate::{ToldBytes, invalid_shown, text},
};

/// A quantity as it stands in messages.
pub(crate) fn shown(value: &Value) -> String {
    quantity(value).map_or_else(|| value.to_string(), |q| q.to_string())
}

/// Resources that are the cluster's own, as opposed to those that a device plugin offers.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether more may be promised than is there.
pub(crate) fn is_overcommitable(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

fn is_standard_container_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_pages(name)
}

/// What a device plugin may call its resources: a name that a quota can have `requests.` before.
fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Resources that are counted for a quota, by what is there of each.
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Whether a quota knows the name.
pub(crate) fn is_standard_quota_resource(name: &str) -> bool {
    const MEASURED: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    ];
    MEASURED.contains(&name)
        || COUNTED.contains(&name)
        || is_huge_pages(name)
        || name.starts_with("requests.hugepages-")
}

/// A resource of any sort: one that the API knows, or a qualified name.
pub(crate) fn resource_name(errors: &mut ErrorList, path: &Path, name: &str) {
    let complaints = names::qualified_name(name);
    let known = name.contains('/') || name == "storage" || is_standard_quota_resource(name);
    if !complaints.is_empty() {
        text(errors, path, name, complaints);
    } else if !known {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(path, name, detail));
    }
}

/// The name of a resource that a container may ask for.
pub(crate) fn container_resource_name(errors: &mut ErrorList, path: &Path, name: &str) {
    resource_name(errors, path, name);
    let complaint = if !name.contains('/') {
        (!is_standard_container_resource(name))
            .then_some("must be a standard resource for containers")
    } else {
        (!is_native(name) && !is_extended(name))
            .then_some("doesn't follow extended resource name standard")
    };
    errors.extend(complaint.map(|detail| FieldError::invalid(path, name, detail)));
}

/// The name of a resource that a pod as a whole may ask for.
fn pod_resource_name(errors: &mut ErrorList, path: &Path, name: &str) {
    let before = errors.len();
    resource_name(errors, path, name);
    if errors.len() == before && !matches!(name, "cpu" | "memory") && !is_huge_pages(name) {
        let supported = &["cpu", "hugepages-", "memory"];
        errors.push(FieldError::not_supported(path, name, supported));
    }
}

/// No quantity is negative, and what is counted comes in whole numbers.
pub(crate) fn quantity_value(errors: &mut ErrorList, path: &Path, name: &str, value: &Value) {
    let Some(amount) = quantity(value) else {
        return;
    };
    if amount.sign() < 0 {
        errors.push(FieldError::invalid(
            path,
            shown(value),
            "must be greater than or equal to 0",
        ));
    }
    let counted = COUNTED.contains(&name) || is_extended(name);
    if counted && amount.milli_value() % 1000 != 0 {
        errors.push(FieldError::invalid(
            path,
            shown(value),
            "must be an integer",
        ));
    }
}

/// Huge pages come whole.
fn huge_pages(errors: &mut ErrorList, path: &Path, name: &str, value: &Value) {
    let Some(size) = name.strip_prefix("hugepages-") else {
        return;
    };
    let size = size
        .parse::<Quantity>()
        .ok()
        .filter(|size| size.sign() > 0 && size.milli_value() % 1000 == 0);
    let Some(amount) = quantity(value) else {
        return;
    };
    if size.is_none_or(|size| amount.value() % size.value() != 0) {
        let amount = shown(value);
        let detail = format!("{amount} is not positive integer multiple of {name}");
        errors.push(FieldError::invalid(path, amount, detail));
    }
}

/// `resources` of a container; its claims are some of its pod's.
pub(super) fn of_container(
    errors: &mut ErrorList,
    path: &Path,
    requirements: &Object,
    claims: &PodClaims<'_>,
) {
    amounts(errors, path, requirements, container_resource_name);
    claims_of_container(errors, &path.child("claims"), requirements, claims);
}

/// `resources` of a pod.
pub(super) fn of_pod(
    errors: &mut ErrorList,
    path: &Path,
    requirements: &Object,
    claims: &PodClaims<'_>,
) {
    amounts(errors, path, requirements, pod_resource_name);
    claims_of_container(errors, &path.child("claims"), requirements, claims);
}

/// What a sandbox takes by itself, judged as the limits of a container.
pub(crate) fn overhead(errors: &mut ErrorList, path: &Path, overhead: &Object) {
    let mut limits = Object::new();
    limits.set("limits", overhead.clone());
    amounts(errors, path, &limits, container_resource_name);
}

fn amounts(
    errors: &mut ErrorList,
    path: &Path,
    requirements: &Object,
    name_rule: fn(&mut ErrorList, &Path, &str),
) {
    let empty = Object::new();
    let limits = requirements.object("limits").unwrap_or(&empty);
    let requests = requirements.object("requests").unwrap_or(&empty);
    for (name, value) in limits {
        let at = path.child("limits").key(name);
        name_rule(errors, &at, name);
        quantity_value(errors, &at, name, value);
        huge_pages(errors, &at, name, value);
    }
    for (name, value) in requests {
        let at = path.child("requests").key(name);
        name_rule(errors, &at, name);
        quantity_value(errors, &at, name, value);
        let limit = limits.get(name).and_then(quantity);
        if let (Some(limit), Some(request)) = (&limit, quantity(value)) {
            let relation = if request != *limit && !is_overcommitable(name) {
                Some("equal to")
            } else if request > *limit {
                Some("less than or equal to")
            } else {
                None
            };
            if let Some(relation) = relation {
                let detail = format!("must be {relation} {name} limit of {limit}");
                let at = path.child("requests");
                errors.push(FieldError::invalid(&at, shown(value), detail));
            }
        } else if limit.is_none() && !is_overcommitable(name) {
            errors.push(FieldError::required(
                &path.child("limits"),
                "Limit must be set for non overcommitable resources",
            ));
        }
        huge_pages(errors, &at, name, value);
    }
    let asked = || limits.keys().chain(requests.keys());
    let computes = asked().any(|name| matches!(name.as_str(), "cpu" | "memory"));
    if asked().any(|name| is_huge_pages(name)) && !computes {
        errors.push(FieldError::forbidden(
            path,
            "HugePages require cpu or memory",
        ));
    }
}

/// `resources.claims`: some of the pod's claims, each whole or by its requests.
fn claims_of_container(
    errors: &mut ErrorList,
    path: &Path,
    requirements: &Object,
    of_pod: &PodClaims<'_>,
) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (index, claim) in requirements.objects("claims") {
        let at = path.index(index);
        let (name, request) = (claim.text("name"), claim.text("request"));
        if name.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        if seen.contains(name) {
            errors.push(FieldError::duplicate(&at, name));
        } else {
            let mut key = name.to_owned();
            if !request.is_empty() {
                let complaints = names::dns1123_label(request);
                text(errors, &at.child("request"), request, complaints);
                key = format!("{name}/{request}");
            }
            if seen.contains(&key) {
                errors.push(FieldError::duplicate(&at, key.as_str()));
            } else if request.is_empty() {
                // Whole, after one of its requests.
                let parts = format!("{name}/");
                let parts = seen
                    .range(parts.clone()..)
                    .take_while(|key| key.starts_with(&parts));
                errors.extend(parts.map(|_| FieldError::duplicate(&at, name)));
            }
            seen.insert(key);
        }
        if !of_pod.names.contains(name) {
            errors.extend(of_pod.missing(&at, name));
        }
    }
}

/// The claims to devices that a pod has, as the rules of its containers need them.
pub(super) struct PodClaims<'a> {
    names: BTreeSet<&'a str>,
    /// Of all names together.
    bytes: usize,
    told: ToldBytes,
}

impl<'a> PodClaims<'a> {
    pub(super) fn of(spec: &'a Object) -> Self {
        let claims = spec.objects("resourceClaims");
        let names = claims.map(|(_, claim)| claim.text("name"));
        let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
        Self {
            bytes: names.iter().map(|name| name.len()).sum(),
            names,
            told: ToldBytes::default(),
        }
    }

    /// That a claim is none of them, which names them all.
    fn missing(&self, at: &Path, name: &str) -> Option<FieldError> {
        if !self.told.may_tell(self.bytes) {
            return None;
        }
        let mut error = FieldError::not_found(at, name);
        error.detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
        if self.names.is_empty() {
            error.detail.push_str(" which is empty");
        } else {
            error.detail.push_str(": ");
            let names: Vec<&str> = self.names.iter().copied().collect();
            error.detail.push_str(&names.join(", "));
        }
        Some(error)
    }
}

/// `spec.resourceClaims`.
pub(super) fn claims_of_pod(
    errors: &mut ErrorList,
    path: &Path,
    spec: &Object,
    metadata: Option<&Object>,
) {
    let is_mirror = metadata
        .and_then(|m| m.object("annotations"))
        .is_some_and(|a| a.has(MIRROR));
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, claim) in spec.objects("resourceClaims") {
        if is_mirror {
            let detail = "static pods do not support resource claims";
            errors.push(FieldError::forbidden(&Path::new("[]"), detail));
            continue;
        }
        let at = path.index(index);
        let name = claim.text("name");
        if name.is_empty() {
            errors.push(FieldError::required(&at.child("name"), ""));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        } else {
            text(errors, &at.child("name"), name, names::dns1123_label(name));
            seen.insert(name);
        }
        let fields = ["resourceClaimName", "resourceClaimTemplateName"];
        let complaint = match fields.map(|field| claim.has(field)) {
            [true, true] => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            [false, false] => {
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            }
            _ => "",
        };
        if !complaint.is_empty() {
            let claim = Value::Object(claim.clone());
            let shown = internal::shown("io.k8s.api.core.v1.PodResourceClaim", Some(&claim));
            errors.push(invalid_shown(&at, &shown, complaint));
        }
        for field in fields {
            if let Some(name) = claim.text_opt(field) {
                let complaints = names::dns1123_subdomain(name);
                text(errors, &at.child(field), name, complaints);
            }
        }
    }
}
