//! `flowcontrol.apiserver.k8s.io/v1` FlowSchema: which requests belong together, and to which level.

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
    go,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::flowcontrol::{mandatory::fixed_flow_schema, priority_level_configuration::conditions},
    lifecycle, names,
    validate::{shown_as, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"),
    gvk: GroupVersionKind::new("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema"),
    singular: "flowschema",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "FlowSchema",
    ))],
    storage: Some(Storage::plain("flowschemas")),
    strategy: &FlowSchemaStrategy,
};

#[derive(Debug)]
struct FlowSchemaStrategy;

impl Strategy for FlowSchemaStrategy {
    fn default(&self, object: &mut Object) {
        object
            .ensure_object("spec")
            .set_default_zero("matchingPrecedence", 1000);
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        precedence(&mut errors, &path.child("matchingPrecedence"), object, spec);
        if let Some(method) = spec.object("distinguisherMethod") {
            let kind = method.text("type");
            if !matches!(kind, "ByNamespace" | "ByUser") {
                errors.push(shown_as(
                    ErrorType::NotSupported,
                    &path.child("distinguisherMethod").child("type"),
                    &format!("{{\"Type\":{}}}", go::json(&kind.into())),
                    "supported values: \"ByNamespace\", \"ByUser\"",
                ));
            }
        }
        let level = spec
            .object("priorityLevelConfiguration")
            .map_or("", |p| p.text("name"));
        let at = path.child("priorityLevelConfiguration").child("name");
        if level.is_empty() {
            errors.push(FieldError::required(&at, "must reference a priority level"));
        } else {
            text(&mut errors, &at, level, names::dns1123_subdomain(level));
        }
        for (index, rule) in spec.objects("rules") {
            policy_rule(&mut errors, &path.child("rules").index(index), rule);
        }
        fixed_flow_schema(&mut errors, meta::name(object), object.get("spec"));
        conditions(&mut errors, object);
        errors
    }

    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_all_metadata(new, old);
    }
    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        conditions(&mut errors, new);
        errors
    }
}

/// The schema of the exempt alone comes first.
fn precedence(errors: &mut ErrorList, path: &Path, object: &Object, spec: &Object) {
    const MAX: i64 = 10_000;
    let precedence = spec.int("matchingPrecedence").unwrap_or(0);
    if precedence <= 0 {
        errors.push(FieldError::invalid(
            path,
            precedence,
            "must be a positive value",
        ));
    }
    if precedence > MAX {
        errors.push(FieldError::invalid(
            path,
            precedence,
            format!("must not be greater than {MAX}"),
        ));
    }
    if precedence == 1 && meta::name(object) != "exempt" {
        errors.push(FieldError::invalid(
            path,
            precedence,
            "only the schema named 'exempt' may have matchingPrecedence 1",
        ));
    }
}

fn policy_rule(errors: &mut ErrorList, at: &Path, rule: &Object) {
    if rule.list("subjects").is_empty() {
        errors.push(FieldError::required(
            &at.child("subjects"),
            "subjects must contain at least one value",
        ));
    }
    for (index, one) in rule.objects("subjects") {
        subject(errors, &at.child("subjects").index(index), one);
    }
    if rule.list("resourceRules").is_empty() && rule.list("nonResourceRules").is_empty() {
        errors.push(FieldError::required(
            at,
            "at least one of resourceRules and nonResourceRules has to be non-empty",
        ));
    }
    for (index, rule) in rule.objects("resourceRules") {
        resource_rule(errors, &at.child("resourceRules").index(index), rule);
    }
    for (index, rule) in rule.objects("nonResourceRules") {
        non_resource_rule(errors, &at.child("nonResourceRules").index(index), rule);
    }
}

/// A subject has the part of its kind, and no other.
fn subject(errors: &mut ErrorList, at: &Path, subject: &Object) {
    const PARTS: [(&str, &str); 3] = [
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
        ("Group", "group"),
    ];
    let kind = subject.text("kind");
    let Some((_, own)) = PARTS.iter().find(|(k, _)| *k == kind) else {
        errors.push(FieldError::not_supported(
            &at.child("kind"),
            kind,
            &["Group", "ServiceAccount", "User"],
        ));
        return;
    };
    match subject.object(own) {
        None => errors.push(FieldError::required(
            &at.child(own),
            format!("{own} is required when subject kind is '{kind}'"),
        )),
        Some(part) if kind == "ServiceAccount" => service_account(errors, &at.child(own), part),
        Some(part) if part.text("name").is_empty() => {
            errors.push(FieldError::required(&at.child(own).child("name"), ""));
        }
        Some(_) => {}
    }
    for (other_kind, other) in PARTS.iter().filter(|(k, _)| *k != kind) {
        if subject.has(other) {
            errors.push(FieldError::forbidden(
                &at.child(other),
                format!("{other} is forbidden when subject kind is not '{other_kind}'"),
            ));
        }
    }
}

fn service_account(errors: &mut ErrorList, at: &Path, account: &Object) {
    let (name, namespace) = (account.text("name"), account.text("namespace"));
    if name.is_empty() {
        errors.push(FieldError::required(&at.child("name"), ""));
    } else if name != "*" {
        let messages = names::dns1123_subdomain(name);
        text(errors, &at.child("name"), name, messages);
    }
    if namespace.is_empty() {
        errors.push(FieldError::required(
            &at.child("namespace"),
            "must specify namespace for service account",
        ));
    } else {
        let messages = names::dns1123_label(namespace);
        text(errors, &at.child("namespace"), namespace, messages);
    }
}

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

/// A list that must not be empty, and in which `*` stands alone.
fn wildcard_list(errors: &mut ErrorList, at: &Path, owner: &Object, field: &str, texts: [&str; 2]) {
    let [missing, others] = texts;
    let at = at.child(field);
    let values = owner.list(field);
    if values.is_empty() {
        errors.push(FieldError::required(&at, missing));
    } else if values.len() > 1 && values.iter().any(|v| v == "*") {
        errors.push(FieldError::invalid(
            &at,
            values.to_vec(),
            format!("if '*' is present, must not specify other {others}"),
        ));
    }
}

fn verbs_of(errors: &mut ErrorList, at: &Path, rule: &Object) {
    let texts = ["verbs must contain at least one value", "verbs"];
    wildcard_list(errors, at, rule, "verbs", texts);
    let anything = rule.texts("verbs").any(|verb| verb == "*");
    if !anything && !rule.texts("verbs").all(|verb| VERBS.contains(&verb)) {
        errors.push(FieldError::not_supported(
            &at.child("verbs"),
            rule.list("verbs").to_vec(),
            VERBS,
        ));
    }
}

fn resource_rule(errors: &mut ErrorList, at: &Path, rule: &Object) {
    verbs_of(errors, at, rule);
    let texts = [
        "resource rules must supply at least one api group",
        "api groups",
    ];
    wildcard_list(errors, at, rule, "apiGroups", texts);
    let texts = [
        "resource rules must supply at least one resource",
        "resources",
    ];
    wildcard_list(errors, at, rule, "resources", texts);
    if rule.list("namespaces").is_empty() && rule.is_true("clusterScope") {
        return;
    }
    let texts = [
        "resource rules that are not cluster scoped must supply at least one namespace",
        "namespaces",
    ];
    wildcard_list(errors, at, rule, "namespaces", texts);
    if rule.texts("namespaces").any(|namespace| namespace == "*") {
        return;
    }
    for (index, namespace) in rule.texts("namespaces").enumerate() {
        for message in names::dns1123_label(namespace) {
            errors.push(FieldError::invalid(
                &at.child("namespaces").index(index),
                namespace,
                format!("each member of this list must be '*' or a DNS-1123 label; {message}"),
            ));
        }
    }
}

fn non_resource_rule(errors: &mut ErrorList, at: &Path, rule: &Object) {
    verbs_of(errors, at, rule);
    let texts = [
        "nonResourceURLs must contain at least one value",
        "non-resource URLs",
    ];
    wildcard_list(errors, at, rule, "nonResourceURLs", texts);
    if rule.texts("nonResourceURLs").any(|url| url == "*") {
        return;
    }
    for (index, url) in rule.texts("nonResourceURLs").enumerate() {
        if let Some(complaint) = url_complaint(url) {
            let at = at.child("nonResourceURLs").index(index);
            errors.push(FieldError::invalid(&at, url, complaint));
        }
    }
}

fn url_complaint(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}
