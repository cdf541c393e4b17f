//! `networking.k8s.io/v1` IngressClass: which controller serves an Ingress.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::networking::ingress::typed_reference,
    lifecycle, names,
    validate::{domain_prefixed_path, one_of, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ingressclasses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "IngressClass"),
    singular: "ingressclass",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("ingressclasses")),
    strategy: &IngressClassStrategy,
};

#[derive(Debug)]
struct IngressClassStrategy;

impl Strategy for IngressClassStrategy {
    fn default(&self, object: &mut Object) {
        if let Some(parameters) = object.ensure_object("spec").object_mut("parameters") {
            parameters.set_default("scope", "Cluster");
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        let controller = spec.text("controller");
        let at = path.child("controller");
        if controller.len() > 250 {
            errors.push(FieldError::too_long(&at, 250));
        }
        domain_prefixed_path(&mut errors, &at, controller);
        if let Some(parameters) = spec.object("parameters") {
            let at = path.child("parameters");
            typed_reference(&mut errors, &at, parameters);
            let namespace = parameters.text_opt("namespace");
            let inner = at.child("namespace");
            match (parameters.text_opt("scope"), namespace) {
                (None, _) => errors.push(FieldError::required(&at.child("scope"), "")),
                (Some("Namespace"), None) => errors.push(FieldError::required(
                    &inner,
                    "`parameters.scope` is set to 'Namespace'",
                )),
                (Some("Namespace"), Some(name)) => {
                    text(&mut errors, &inner, name, names::dns1123_label(name));
                }
                (Some("Cluster"), Some(_)) => errors.push(FieldError::forbidden(
                    &inner,
                    "`parameters.scope` is set to 'Cluster'",
                )),
                (Some(scope), _) => one_of(
                    &mut errors,
                    &at.child("scope"),
                    scope,
                    &["Cluster", "Namespace"],
                ),
            }
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_update(new, old);
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        {
            let field = "controller";
            errors.extend(crate::meta::immutable_field(
                "io.k8s.api.networking.v1.IngressClassSpec",
                after,
                before,
                field,
                &Path::new("spec"),
            ));
        }
        errors.extend(crate::meta::validate_new(new, &RESOURCE));
        errors.extend(self.validate(new));
        errors
    }
}
