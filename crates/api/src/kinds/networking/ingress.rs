//! `networking.k8s.io/v1` Ingress: HTTP from outside to Services, by host and path.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::service::load_balancer_status,
    lifecycle, names,
    validate::{one_of, ports, required_text, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ingresses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "Ingress"),
    singular: "ingress",
    scope: Scope::Namespaced,
    short_names: &["ing"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "networking.k8s.io",
        "v1",
        "Ingress",
    ))],
    storage: Some(Storage::plain("ingress")),
    strategy: &IngressStrategy,
};

#[derive(Debug)]
struct IngressStrategy;

impl Strategy for IngressStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        object.ensure_object("status").ensure_object("loadBalancer");
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        object.ensure_object("status").ensure_object("loadBalancer");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_ingress(&mut errors, object);
        let class = object
            .object("spec")
            .and_then(|s| s.text_opt("ingressClassName"));
        if let (Some(annotated), Some(class)) = (annotated_class(object), class)
            && annotated != class
        {
            errors.push(FieldError::invalid(
                &Path::new("annotations").child(CLASS_ANNOTATION),
                annotated,
                "must match `ingressClassName` when both are specified",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_ingress(&mut errors, new);
        errors
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let balancer = new.object("status").and_then(|s| s.object("loadBalancer"));
        let path = Path::new("status").child("loadBalancer");
        load_balancer_status(&mut errors, &path, balancer);
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let class = new.object("spec").map(|spec| spec.has("ingressClassName"));
        if old.is_some() || annotated_class(new).is_none() || class == Some(true) {
            return Vec::new();
        }
        vec![format!(
            "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
        )]
    }
}

/// How the class was said before there was a field for it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

fn annotated_class(ingress: &Object) -> Option<&str> {
    ingress
        .object("metadata")?
        .object("annotations")?
        .text_opt(CLASS_ANNOTATION)
}

fn validate_ingress(errors: &mut ErrorList, ingress: &Object) {
    let empty = Object::new();
    let spec = ingress.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    if spec.list("rules").is_empty() && !spec.has("defaultBackend") {
        errors.push(FieldError::invalid(
            &path,
            spec.value("rules").cloned().unwrap_or_default(),
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if let Some(default) = spec.object("defaultBackend") {
        backend(errors, &path.child("defaultBackend"), default);
    }
    for (index, rule) in spec.objects("rules") {
        let at = path.child("rules").index(index);
        host(errors, &at.child("host"), rule.text("host"));
        if let Some(http) = rule.object("http") {
            let at = at.child("http").child("paths");
            if http.list("paths").is_empty() {
                errors.push(FieldError::required(&at, ""));
            }
            for (i, path) in http.objects("paths") {
                http_path(errors, &at.index(i), path);
            }
        }
    }
    for (index, tls) in spec.objects("tls") {
        let at = path.child("tls").index(index);
        for (i, name) in tls.texts("hosts").enumerate() {
            let rule = if name.contains('*') {
                names::wildcard_dns1123_subdomain
            } else {
                names::dns1123_subdomain
            };
            text(errors, &at.child("hosts").index(i), name, rule(name));
        }
        let secret = tls.text("secretName");
        if !secret.is_empty() {
            text(
                errors,
                &at.child("secretName"),
                secret,
                names::dns1123_subdomain(secret),
            );
        }
    }
    if let Some(class) = spec.text_opt("ingressClassName") {
        text(
            errors,
            &path.child("ingressClassName"),
            class,
            names::dns1123_subdomain(class),
        );
    }
}

fn host(errors: &mut ErrorList, path: &Path, host: &str) {
    if host.is_empty() {
        return;
    }
    if names::parse_ip_sloppy(host).is_some() {
        errors.push(FieldError::invalid(
            path,
            host,
            "must be a DNS name, not an IP address",
        ));
    }
    let rule = if host.contains('*') {
        names::wildcard_dns1123_subdomain
    } else {
        names::dns1123_subdomain
    };
    text(errors, path, host, rule(host));
}

fn http_path(errors: &mut ErrorList, at: &Path, path: &Object) {
    let value = path.text("path");
    let Some(sort) = path.text_opt("pathType") else {
        errors.push(FieldError::required(
            &at.child("pathType"),
            "pathType must be specified",
        ));
        return;
    };
    match sort {
        "Exact" | "Prefix" => {
            if !value.starts_with('/') {
                errors.push(FieldError::invalid(
                    &at.child("path"),
                    value,
                    "must be an absolute path",
                ));
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if value.contains(bad) {
                    errors.push(FieldError::invalid(
                        &at.child("path"),
                        value,
                        format!("must not contain '{bad}'"),
                    ));
                }
            }
            for bad in ["/..", "/."] {
                if value.ends_with(bad) {
                    errors.push(FieldError::invalid(
                        &at.child("path"),
                        value,
                        format!("cannot end with '{bad}'"),
                    ));
                }
            }
        }
        "ImplementationSpecific" => {
            if !value.is_empty() && !value.starts_with('/') {
                errors.push(FieldError::invalid(
                    &at.child("path"),
                    value,
                    "must be an absolute path",
                ));
            }
        }
        other => one_of(
            errors,
            &at.child("pathType"),
            other,
            &["Exact", "ImplementationSpecific", "Prefix"],
        ),
    }
    let empty = Object::new();
    backend(
        errors,
        &at.child("backend"),
        path.object("backend").unwrap_or(&empty),
    );
}

fn backend(errors: &mut ErrorList, path: &Path, backend: &Object) {
    match (backend.object("service"), backend.object("resource")) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            path,
            "",
            "cannot set both resource and service backends",
        )),
        (None, Some(resource)) => typed_reference(errors, &path.child("resource"), resource),
        (None, None) => errors.push(FieldError::invalid(
            path,
            "",
            "resource or service backend is required",
        )),
        (Some(service), None) => {
            let at = path.child("service");
            let name = service.text("name");
            if name.is_empty() {
                errors.push(FieldError::required(&at.child("name"), ""));
            } else {
                text(errors, &at.child("name"), name, names::dns1123_label(name));
            }
            let port = service.object("port");
            let (number, port_name) = (
                port.and_then(|p| p.int("number")).unwrap_or(0),
                port.map_or("", |p| p.text("name")),
            );
            if !port_name.is_empty() && number != 0 {
                errors.push(FieldError::invalid(
                    path,
                    "",
                    "cannot set both port name & port number",
                ));
            } else if !port_name.is_empty() {
                text(
                    errors,
                    &at.child("port").child("name"),
                    port_name,
                    names::port_name(port_name),
                );
            } else if number != 0 {
                ports::number(errors, &at.child("port").child("number"), number);
            } else {
                errors.push(FieldError::required(
                    path,
                    "port name or number is required",
                ));
            }
        }
    }
}

/// An object of any kind in the same namespace: the group, kind and name of it. Also what an IngressClass is configured by.
pub(super) fn typed_reference(errors: &mut ErrorList, at: &Path, reference: &Object) {
    if let Some(group) = reference.text_opt("apiGroup") {
        text(
            errors,
            &at.child("apiGroup"),
            group,
            names::dns1123_subdomain(group),
        );
    }
    for field in ["kind", "name"] {
        required_text(
            errors,
            &at.child(field),
            reference.text(field),
            names::path_segment_name,
        );
    }
}
