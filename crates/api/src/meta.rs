//! The rules of `metadata`, the same for every kind (`k8s.io/apimachinery/pkg/api/validation`).
//!
//! The registry calls them before the kind's own rules, so that complaints come in upstream's order.

use std::{cell::LazyCell, collections::HashSet};

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::GroupVersion,
    meta,
};
use serde_json::Value;

use crate::{
    fields::{Fields, same_field},
    internal,
    kind::{Resource, Scope},
    names,
    validate::{ToldBytes, invalid_shown},
};

/// All annotations of an object together may take this many bytes.
pub const TOTAL_ANNOTATION_SIZE_LIMIT_BYTES: usize = 256 * 1024;

/// The complaint about a field that may not change.
pub const IMMUTABLE: &str = "field is immutable";

/// The `metadata` of a new object of a built-in kind whose rules are upstream's core: as [`validate_object_meta`], and a finalizer
/// without a prefix is one of the server's own.
pub fn validate_new(object: &Object, row: &Resource) -> ErrorList {
    let path = Path::new("metadata");
    let name_fn = |name: &str, prefix: bool| row.strategy.validate_name(name, prefix);
    let namespaced = row.scope == Scope::Namespaced;
    let mut errors = validate_object_meta(object, namespaced, &name_fn, &path);
    errors.extend(unqualified_finalizers(object));
    errors
}

/// The `metadata` of an updated object of such a kind.
pub fn validate_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate_object_meta_update(new, old, &Path::new("metadata"));
    errors.extend(unqualified_finalizers(new));
    errors
}

/// An updated object of such a kind, where upstream asks all that it asks of a new one before it looks at what has changed.
pub fn validate_renewed(new: &Object, old: &Object, row: &Resource) -> ErrorList {
    let mut errors = validate_new(new, row);
    errors.extend(row.strategy.validate(new));
    errors.extend(validate_update(new, old));
    errors
}

/// What objects of any kind are judged by, with any name that a path can have: changed ones before anything else, new ones at the end.
pub fn validate_any(new: &Object, namespaced: bool) -> ErrorList {
    let name_fn = |name: &str, prefix: bool| {
        if prefix {
            names::path_segment_prefix(name)
        } else {
            names::path_segment_name(name)
        }
    };
    validate_object_meta(new, namespaced, &name_fn, &Path::new("metadata"))
}

/// The `metadata` of a new object. `name_fn` judges a name; its flag says that more letters follow (`generateName`).
pub fn validate_object_meta(
    object: &Object,
    namespaced: bool,
    name_fn: &dyn Fn(&str, bool) -> Vec<String>,
    path: &Path,
) -> ErrorList {
    let empty = Object::new();
    let metadata = object.object("metadata").unwrap_or(&empty);
    validate_meta(metadata, namespaced, name_fn, path)
}

/// [`validate_object_meta`] on the metadata itself, for templates that carry one.
pub fn validate_meta(
    metadata: &Object,
    namespaced: bool,
    name_fn: &dyn Fn(&str, bool) -> Vec<String>,
    path: &Path,
) -> ErrorList {
    let mut errors = Vec::new();
    let generate_name = metadata.text("generateName");
    if !generate_name.is_empty() {
        let field = path.child("generateName");
        errors.extend(
            name_fn(generate_name, true)
                .into_iter()
                .map(|m| FieldError::invalid(&field, generate_name, m)),
        );
    }
    let name = metadata.text("name");
    let field = path.child("name");
    if name.is_empty() {
        errors.push(FieldError::required(
            &field,
            "name or generateName is required",
        ));
    } else {
        errors.extend(
            name_fn(name, false)
                .into_iter()
                .map(|m| FieldError::invalid(&field, name, m)),
        );
    }
    let namespace = metadata.text("namespace");
    let field = path.child("namespace");
    if namespaced {
        if namespace.is_empty() {
            errors.push(FieldError::required(&field, ""));
        } else {
            errors.extend(
                names::dns1123_label(namespace)
                    .into_iter()
                    .map(|m| FieldError::invalid(&field, namespace, m)),
            );
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden(&field, "not allowed on this type"));
    }
    errors.extend(validate_accessor(metadata, path));
    errors
}

/// What holds for new and updated metadata alike.
fn validate_accessor(metadata: &Object, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    if let Some(generation) = metadata.int("generation") {
        errors.extend(non_negative(generation, &path.child("generation")));
    }
    errors.extend(validate_labels(
        metadata.object("labels"),
        &path.child("labels"),
    ));
    errors.extend(validate_annotations(
        metadata.object("annotations"),
        &path.child("annotations"),
    ));
    errors.extend(validate_owner_references(
        metadata,
        &path.child("ownerReferences"),
    ));
    errors.extend(validate_finalizers(metadata, &path.child("finalizers")));
    errors.extend(validate_managed_fields(
        metadata,
        &path.child("managedFields"),
    ));
    errors
}

/// `must be greater than or equal to 0`.
pub fn non_negative(value: i64, path: &Path) -> Option<FieldError> {
    (value < 0).then(|| FieldError::invalid(path, value, "must be greater than or equal to 0"))
}

/// Labels: qualified names to label values, in the order of the keys.
pub fn validate_labels(labels: Option<&Object>, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    for (key, value) in labels.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        errors.extend(
            names::qualified_name(key)
                .into_iter()
                .map(|m| FieldError::invalid(path, key.as_str(), m)),
        );
        errors.extend(
            names::label_value(value)
                .into_iter()
                .map(|m| FieldError::invalid(path, value, m)),
        );
    }
    errors
}

/// Annotations: qualified names (in any case) to anything, with a limit on the sum.
pub fn validate_annotations(annotations: Option<&Object>, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        errors.extend(
            names::qualified_name(&key.to_lowercase())
                .into_iter()
                .map(|m| FieldError::invalid(path, key.as_str(), m)),
        );
    }
    if size > TOTAL_ANNOTATION_SIZE_LIMIT_BYTES {
        errors.push(FieldError::too_long(
            path,
            TOTAL_ANNOTATION_SIZE_LIMIT_BYTES,
        ));
    }
    errors
}

fn validate_owner_references(metadata: &Object, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    let shown = LazyCell::new(|| shown_references(metadata));
    let told = ToldBytes::default();
    for (_, reference) in metadata.objects("ownerReferences") {
        // Upstream names the list, not the item.
        let at = path;
        // What cannot be read as group and version has no version either.
        let api_version = reference.text("apiVersion");
        let version = GroupVersion::parse(api_version).map(|parsed| parsed.version);
        if version.is_none_or(|version| version.is_empty()) {
            errors.push(FieldError::invalid(
                &at.child("apiVersion"),
                api_version,
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            if reference.text(field).is_empty() {
                errors.push(FieldError::invalid(
                    &at.child(field),
                    "",
                    "must not be empty",
                ));
            }
        }
        if (reference.text("apiVersion"), reference.text("kind")) == ("v1", "Event") {
            errors.push(invalid_shown(
                at,
                &internal::shown(
                    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
                    Some(&Value::Object(reference.clone())),
                ),
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if reference.is_true("controller") {
            let name = format!("{}/{}", reference.text("kind"), reference.text("name"));
            match &controller {
                None => controller = Some(name),
                Some(first) if told.may_tell(shown.len()) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                    );
                    errors.push(invalid_shown(path, &shown, &detail));
                }
                Some(_) => {}
            }
        }
    }
    errors
}

/// The references as messages show them: a list of Go structs.
fn shown_references(metadata: &Object) -> String {
    let shown: Vec<String> = metadata
        .list("ownerReferences")
        .iter()
        .map(|reference| {
            let ty = "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference";
            internal::shown(ty, Some(reference))
        })
        .collect();
    format!("[{}]", shown.join(","))
}

/// References that stand twice, by uid: each stands once afterwards. The uids of those dropped.
pub fn remove_duplicate_owner_references(object: &mut Object) -> Vec<String> {
    let Some(references) = object
        .object_mut("metadata")
        .and_then(|m| m.get_mut("ownerReferences"))
        .and_then(Value::as_array_mut)
    else {
        return Vec::new();
    };
    let mut seen = HashSet::new();
    let kept: Vec<bool> = references.iter().map(|one| seen.insert(one)).collect();
    let dropped = references.iter().zip(&kept).filter(|(_, kept)| !**kept);
    let twice: Vec<String> = dropped
        .map(|(reference, _)| reference.get("uid").and_then(Value::as_str))
        .map(|uid| uid.unwrap_or_default().to_owned())
        .collect();
    if !twice.is_empty() {
        let mut kept = kept.into_iter();
        references.retain(|_| kept.next().unwrap_or(true));
    }
    twice
}

fn validate_finalizers(metadata: &Object, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in metadata.texts("finalizers") {
        // Upstream names the list, not the item.
        crate::validate::text(
            &mut errors,
            path,
            finalizer,
            names::qualified_name(finalizer),
        );
        orphan |= finalizer == "orphan";
        foreground |= finalizer == "foregroundDeletion";
    }
    if orphan && foreground {
        errors.push(FieldError::invalid(
            path,
            metadata.list("finalizers").to_vec(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
    errors
}

/// Finalizers that have no prefix and are none of the server's own: refused for the kinds of upstream's core.
pub fn unqualified_finalizers(object: &Object) -> ErrorList {
    let path = Path::new("metadata").child("finalizers");
    let metadata = meta::metadata(object);
    let finalizers = metadata.into_iter().flat_map(|m| m.texts("finalizers"));
    finalizers
        .enumerate()
        .filter_map(|(index, name)| unqualified_finalizer(name, &path.index(index)))
        .collect()
}

fn unqualified_finalizer(name: &str, path: &Path) -> Option<FieldError> {
    let known = matches!(name, "orphan" | "foregroundDeletion" | "kubernetes");
    (!known && !name.contains('/')).then(|| {
        FieldError::invalid(
            path,
            name,
            "name is neither a standard finalizer name nor is it fully qualified",
        )
    })
}

/// A finalizer in the spec of a namespace: a qualified name; without a prefix it is one that the server itself knows.
pub fn finalizer_name(name: &str, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    crate::validate::text(&mut errors, path, name, names::qualified_name(name));
    errors.extend(unqualified_finalizer(name, path));
    errors
}

fn validate_managed_fields(metadata: &Object, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    for (index, entry) in metadata.objects("managedFields") {
        let at = path.index(index);
        if !matches!(entry.text("operation"), "Apply" | "Update") {
            errors.push(FieldError::invalid(
                &at.child("operation"),
                entry.text("operation"),
                "must be `Apply` or `Update`",
            ));
        }
        if !matches!(entry.text("fieldsType"), "" | "FieldsV1") {
            errors.push(FieldError::invalid(
                &at.child("fieldsType"),
                entry.text("fieldsType"),
                "must be `FieldsV1`",
            ));
        }
        errors.extend(validate_field_manager(
            entry.text("manager"),
            &at.child("manager"),
        ));
        if entry.text("subresource").len() > 256 {
            errors.push(FieldError::too_long(&at.child("subresource"), 256));
        }
    }
    errors
}

/// The `fieldManager` of a write.
pub fn validate_field_manager(manager: &str, path: &Path) -> ErrorList {
    let mut errors = Vec::new();
    if manager.len() > 128 {
        errors.push(FieldError::too_long(path, 128));
    }
    // One complaint for each rune that cannot be printed, at its place in bytes.
    for (at, rune) in manager.char_indices().filter(|(_, c)| !is_printable(*c)) {
        errors.push(FieldError::invalid(
            path,
            manager,
            format!(
                "invalid character U+{:04X} (at position {at})",
                u32::from(rune)
            ),
        ));
    }
    errors
}

/// What Go calls printable, as far as names go: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'))
}

/// `field is immutable`, when a field of objects of this type differs; shown as upstream's own type shows it.
pub fn immutable_field(
    type_name: &str,
    new: &Object,
    old: &Object,
    name: &str,
    path: &Path,
) -> Option<FieldError> {
    let shown = || internal::shown_field(type_name, new, name);
    (!internal::same_field(type_name, new, old, name))
        .then(|| invalid_shown(&path.child(name), &shown(), IMMUTABLE))
}

/// `field is immutable`, when the two differ.
pub fn validate_immutable_field(new: &Object, old: &Object, name: &str, path: &Path) -> ErrorList {
    if same_field(new, old, name) {
        return Vec::new();
    }
    let shown = new.get(name).cloned().unwrap_or(Value::Null);
    vec![FieldError::invalid(&path.child(name), shown, IMMUTABLE)]
}

/// The `metadata` of an updated object, in the light of the old one.
pub fn validate_object_meta_update(new: &Object, old: &Object, path: &Path) -> ErrorList {
    let empty = Object::new();
    let new_meta = new.object("metadata").unwrap_or(&empty);
    let old_meta = old.object("metadata").unwrap_or(&empty);
    let mut errors = Vec::new();

    // A server that sets no finalizer after deletion began; those there may only go.
    if meta::is_deleting(old) {
        let before: Vec<&str> = old_meta.texts("finalizers").collect();
        let mut extra: Vec<&str> = new_meta
            .texts("finalizers")
            .filter(|f| !before.contains(f))
            .collect();
        if !extra.is_empty() {
            extra.sort_unstable();
            let listed: Vec<String> = extra.iter().map(|f| format!("{f:?}")).collect();
            errors.push(FieldError::forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    listed.join(", ")
                ),
            ));
        }
    }
    if new_meta.text("resourceVersion").is_empty() {
        errors.push(FieldError::invalid(
            &path.child("resourceVersion"),
            new_meta.text("resourceVersion"),
            "must be specified for an update",
        ));
    }
    let generation = new_meta.int("generation").unwrap_or(0);
    if generation < old_meta.int("generation").unwrap_or(0) {
        errors.push(FieldError::invalid(
            &path.child("generation"),
            generation,
            "must not be decremented",
        ));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        errors.extend(validate_immutable_field(new_meta, old_meta, field, path));
    }
    errors.extend(validate_labels(
        new_meta.object("labels"),
        &path.child("labels"),
    ));
    errors.extend(validate_annotations(
        new_meta.object("annotations"),
        &path.child("annotations"),
    ));
    errors.extend(validate_owner_references(
        new_meta,
        &path.child("ownerReferences"),
    ));
    errors.extend(validate_managed_fields(
        new_meta,
        &path.child("managedFields"),
    ));
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().cloned().unwrap()
    }

    fn subdomain(name: &str, _prefix: bool) -> Vec<String> {
        names::dns1123_subdomain(name)
    }

    #[test]
    fn complaints_come_in_upstreams_order() {
        let bad = object(json!({"metadata": {
            "namespace": "x",
            "labels": {"a b": "c", "d": "e f"},
            "finalizers": ["orphan", "no name"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}],
        }}));
        let fields: Vec<String> =
            validate_object_meta(&bad, false, &subdomain, &Path::new("metadata"))
                .iter()
                .map(|e| e.field.to_string())
                .collect();
        assert_eq!(
            fields,
            [
                "metadata.name",
                "metadata.namespace",
                "metadata.labels",
                "metadata.labels",
                "metadata.ownerReferences",
                "metadata.finalizers",
            ]
        );
    }

    #[test]
    fn identity_stays() {
        let old = object(json!({"metadata": {"name": "a", "uid": "1", "resourceVersion": "3"}}));
        let new = object(json!({"metadata": {"name": "a", "uid": "2", "resourceVersion": "3"}}));
        let errors = validate_object_meta_update(&new, &old, &Path::new("metadata"));
        assert_eq!(
            errors[0].to_string(),
            "metadata.uid: Invalid value: \"2\": field is immutable"
        );
        assert!(validate_object_meta_update(&old, &old, &Path::new("metadata")).is_empty());
    }
}
