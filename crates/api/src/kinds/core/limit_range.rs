//! `v1` LimitRange.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "limitranges"),
    gvk: GroupVersionKind::new("", "v1", "LimitRange"),
    singular: "limitrange",
    scope: Scope::Namespaced,
    short_names: &["limits"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("limitranges")),
    strategy: &LimitRangeStrategy,
};

#[derive(Debug)]
struct LimitRangeStrategy;

impl Strategy for LimitRangeStrategy {
    fn default(&self, object: &mut Object) {
        object
            .ensure_object("spec")
            .each_object("limits", default_item);
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
}

/// For containers, a maximum is the default limit, the default limit the default request, and a minimum the default request too.
fn default_item(item: &mut Object) {
    if item.text("type") != "Container" {
        return;
    }
    fill(item, "max", "default");
    fill(item, "default", "defaultRequest");
    fill(item, "min", "defaultRequest");
}

fn fill(item: &mut Object, from: &str, to: &str) {
    let Some(source) = item.object(from).cloned() else {
        return;
    };
    let target = item.ensure_object(to);
    for (name, value) in source {
        target.entry(name).or_insert(value);
    }
}
