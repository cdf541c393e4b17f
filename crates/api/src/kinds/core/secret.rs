//! `v1` Secret: like a ConfigMap, for what is secret; well-known types have keys that must be there.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
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
        errors.extend(immutable_data(
            new,
            old,
            &[("data", internal::identical_field_of_kind)],
        ));
        errors.extend(crate::meta::validate_new(new, &RESOURCE));
        errors.extend(self.validate(new));
        errors
    }
    fn warnings(&self, new: &Object, _old: Option<&Object>) -> Vec<String> {
        let empty = Object::new();
        if new.text("type") != "kubernetes.io/tls" {
            return Vec::new();
        }
        let data = new.object("data").unwrap_or(&empty);
        let part = |key: &str| STANDARD.decode(data.text(key)).unwrap_or_default();
        key_pair_warning(&part("tls.crt"), &part("tls.key"))
            .into_iter()
            .collect()
    }
}

/// What Go's `tls.X509KeyPair` would say of a certificate and a key that it cannot even find.
fn key_pair_warning(certificate: &[u8], key: &[u8]) -> Option<String> {
    let certificates = pem_types(certificate);
    if certificates.is_empty() {
        return Some("tls: failed to find any PEM data in certificate input".to_owned());
    }
    if !certificates.iter().any(|kind| kind == "CERTIFICATE") {
        return Some(match &certificates[..] {
            [one] if one.ends_with("PRIVATE KEY") => {
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned()
            }
            others => format!(
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
                others.join(" ")
            ),
        });
    }
    let keys = pem_types(key);
    if keys.is_empty() {
        return Some("tls: failed to find any PEM data in key input".to_owned());
    }
    let is_key = |kind: &String| kind == "PRIVATE KEY" || kind.ends_with(" PRIVATE KEY");
    if keys.iter().any(is_key) {
        return None;
    }
    Some(match &keys[..] {
        [one] if one == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        others => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            others.join(" ")
        ),
    })
}

/// The types of the PEM blocks in a text.
fn pem_types(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut types = Vec::new();
    while let Some(line) = lines.next() {
        let kind = line
            .trim_end()
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"));
        if let Some(kind) = kind
            && lines.any(|line| line.trim_end() == format!("-----END {kind}-----"))
        {
            types.push(kind.to_owned());
        }
    }
    types
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
    let noun = match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_) | Value::Null) => return Ok(()),
        Ok(Value::Array(_)) => Some("array"),
        Ok(Value::String(_)) => Some("string"),
        Ok(Value::Number(_)) => Some("number"),
        Ok(Value::Bool(_)) => Some("bool"),
        Err(_) => None,
    };
    if let Some(noun) = noun {
        return Err(format!(
            "json: cannot unmarshal {noun} into Go value of type map[string]interface {{}}"
        ));
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
