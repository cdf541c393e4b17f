//! `v1` Secret: like a ConfigMap, for what is secret; well-known types have keys that must be there.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::config_map::{MAX_SECRET_SIZE_BYTES, decoded_len, immutable_data},
    names,
    validate::text,
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let path = Path::new("data");
        let empty = Object::new();
        let data = object.object("data").unwrap_or(&empty);
        let mut size = 0;
        for (key, value) in data {
            text(&mut errors, &path.key(key), key, names::config_map_key(key));
            size += decoded_len(value);
        }
        if size > MAX_SECRET_SIZE_BYTES {
            errors.push(FieldError::too_long(&path, MAX_SECRET_SIZE_BYTES));
        }
        validate_type(&mut errors, object, data);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_immutable_field(new, old, "type", &Path::default());
        errors.extend(immutable_data(new, old, &["data"]));
        errors.extend(self.validate(new));
        errors
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

/// What the well-known types of secrets must hold.
fn validate_type(errors: &mut ErrorList, secret: &Object, data: &Object) {
    let path = Path::new("data");
    let mut required = |key: &str| {
        if !data.has(key) {
            errors.push(FieldError::required(&path.key(key), ""));
        }
    };
    match secret.text("type") {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            let annotations = secret
                .object("metadata")
                .and_then(|m| m.object("annotations"));
            if annotations.is_none_or(|a| a.text(NAME).is_empty()) {
                let at = Path::new("metadata").child("annotations").key(NAME);
                errors.push(FieldError::required(&at, ""));
            }
        }
        kind @ ("kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson") => {
            let key = if kind == "kubernetes.io/dockercfg" {
                ".dockercfg"
            } else {
                ".dockerconfigjson"
            };
            let Some(encoded) = data.text_opt(key) else {
                required(key);
                return;
            };
            let bytes = STANDARD.decode(encoded).unwrap_or_default();
            if let Err(complaint) = json_object(&bytes) {
                errors.push(FieldError::invalid(
                    &path.key(key),
                    "<secret contents redacted>",
                    complaint,
                ));
            }
        }
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            required("username");
            errors.push(FieldError::required(&path.key("password"), ""));
        }
        "kubernetes.io/ssh-auth" if data.text("ssh-privatekey").is_empty() => {
            errors.push(FieldError::required(&path.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            required("tls.crt");
            required("tls.key");
        }
        _ => {}
    }
}

/// Whether bytes are a JSON object, with the words in which Go's decoder refuses the commonest that are not.
fn json_object(bytes: &[u8]) -> Result<(), String> {
    if serde_json::from_slice::<Object>(bytes).is_ok() {
        return Ok(());
    }
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    Err(match first {
        None => "unexpected end of JSON input".to_owned(),
        Some(b) if b"{[\"-0123456789tfn".contains(b) => "must be a valid JSON object".to_owned(),
        Some(b) => format!(
            "invalid character '{}' looking for beginning of value",
            char::from(*b)
        ),
    })
}
