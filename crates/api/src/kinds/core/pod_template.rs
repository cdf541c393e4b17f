//! `v1` PodTemplate: a template by itself, for those who keep them.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::pod_spec::{self, defaults},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "podtemplates"),
    gvk: GroupVersionKind::new("", "v1", "PodTemplate"),
    singular: "podtemplate",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("podtemplates")),
    strategy: &PodTemplateStrategy,
};

#[derive(Debug)]
struct PodTemplateStrategy;

impl Strategy for PodTemplateStrategy {
    fn default(&self, object: &mut Object) {
        defaults::template(object, "template");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        drop_disabled(object);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        drop_disabled(new);
        lifecycle::bump_generation(new, old, &["template"]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        pod_spec::template::validate_template(
            &mut errors,
            &Path::new("template"),
            object.object("template"),
        );
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some_and(|old| meta::generation(old) == meta::generation(new)) {
            return Vec::new();
        }
        let template = |object: &Object| object.object("template").cloned();
        pod_spec::warnings::of_template(
            &Path::new("template"),
            template(new).as_ref(),
            old.and_then(template).as_ref(),
        )
    }
}

fn drop_disabled(object: &mut Object) {
    if let Some(template) = object.object_mut("template") {
        pod_spec::disabled::drop_from_pod(template);
    }
}
