//! `v1` Secret.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "secrets"),
    gvk: GroupVersionKind::new("", "v1", "Secret"),
    singular: "secret",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("secrets")),
    strategy: &SecretStrategy,
};

#[derive(Debug)]
struct SecretStrategy;

impl Strategy for SecretStrategy {
    fn default(&self, object: &mut Object) {
        object.set_default_zero("type", "Opaque");
        encode_string_data(object);
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("type", object.text("type").to_owned())]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "metadata.namespace" | "type")
    }
}

/// `stringData` is written, never read: it goes into `data`.
fn encode_string_data(secret: &mut Object) {
    let Some(plain) = secret.remove("stringData") else {
        return;
    };
    let Some(plain) = plain.as_object().filter(|p| !p.is_empty()) else {
        return;
    };
    let data = secret.ensure_object("data");
    for (key, value) in plain {
        data.set(key, STANDARD.encode(value.as_str().unwrap_or_default()));
    }
}
