//! `metadata` of an object, read and written in place.
//!
//! Objects are trees of JSON; these accessors are how the rest of the house reads names, labels and owners without
//! cloning. Readers give empty values where a field is absent or of the wrong type: decoding has checked types before.
//! Writers remove a field when it becomes empty, as upstream's `omitempty` does.

use serde_json::{Map, Value};

use crate::Object;

/// A map of strings as it stands in an object: labels, annotations.
pub type StringMap = Map<String, Value>;

/// What owns an object; see [`owner_references`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerReference<'a> {
    /// `apps/v1`.
    pub api_version: &'a str,
    /// `ReplicaSet`.
    pub kind: &'a str,
    /// Name of the owner, in the same namespace or without one.
    pub name: &'a str,
    /// Uid of the owner.
    pub uid: &'a str,
    /// Whether this owner manages the object; at most one does.
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

impl<'a> OwnerReference<'a> {
    /// Reads one; absent fields are empty.
    pub fn of(value: &'a Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or_default();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            controller: flag("controller"),
            block_owner_deletion: flag("blockOwnerDeletion"),
        }
    }
}

/// `apiVersion`.
pub fn api_version(object: &Object) -> &str {
    object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `kind`.
pub fn kind(object: &Object) -> &str {
    object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata`, if there is any.
pub fn metadata(object: &Object) -> Option<&Map<String, Value>> {
    object.get("metadata").and_then(Value::as_object)
}

/// `metadata`, made if absent or no object.
pub fn metadata_mut(object: &mut Object) -> &mut Map<String, Value> {
    let value = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
        .as_object_mut()
        .expect("it was made an object just above")
}

fn field<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    metadata(object)?.get(key)
}

fn text<'a>(object: &'a Object, key: &str) -> &'a str {
    field(object, key)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Sets a field of the metadata; the empty string removes it.
pub fn set_text(object: &mut Object, key: &str, value: &str) {
    if value.is_empty() {
        remove(object, key);
    } else {
        metadata_mut(object).insert(key.to_owned(), Value::from(value));
    }
}

/// Removes a field of the metadata and gives it back.
pub fn remove(object: &mut Object, key: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(key)
}

macro_rules! text_fields {
    ($($get:ident $set:ident $key:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        pub fn $get(object: &Object) -> &str {
            text(object, $key)
        }

        #[doc = concat!("Sets it; the empty string removes it. ", $doc)]
        pub fn $set(object: &mut Object, value: &str) {
            set_text(object, $key, value);
        }
    )*};
}

text_fields! {
    name set_name "name" "`metadata.name`.";
    generate_name set_generate_name "generateName" "`metadata.generateName`.";
    namespace set_namespace "namespace" "`metadata.namespace`.";
    uid set_uid "uid" "`metadata.uid`.";
    resource_version set_resource_version "resourceVersion" "`metadata.resourceVersion`; never compared as text.";
    creation_timestamp set_creation_timestamp "creationTimestamp" "`metadata.creationTimestamp`, RFC 3339.";
    self_link set_self_link "selfLink" "`metadata.selfLink`, which the server no longer fills.";
}

/// `metadata.deletionTimestamp`: since it stands there, the object is being deleted.
pub fn deletion_timestamp(object: &Object) -> Option<&str> {
    field(object, "deletionTimestamp")?.as_str()
}

/// Sets `metadata.deletionTimestamp`.
pub fn set_deletion_timestamp(object: &mut Object, time: &str) {
    set_text(object, "deletionTimestamp", time);
}

/// Whether the object is being deleted.
pub fn is_deleting(object: &Object) -> bool {
    deletion_timestamp(object).is_some()
}

/// `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace_period_seconds(object: &Object) -> Option<i64> {
    field(object, "deletionGracePeriodSeconds")?.as_i64()
}

/// Sets `metadata.deletionGracePeriodSeconds`; zero stays, `None` removes it.
pub fn set_deletion_grace_period_seconds(object: &mut Object, seconds: Option<i64>) {
    match seconds {
        Some(seconds) => {
            metadata_mut(object).insert(
                "deletionGracePeriodSeconds".to_owned(),
                Value::from(seconds),
            );
        }
        None => {
            remove(object, "deletionGracePeriodSeconds");
        }
    }
}

/// `metadata.generation`; 0 where the kind has none.
pub fn generation(object: &Object) -> i64 {
    field(object, "generation")
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Sets `metadata.generation`; 0 removes it.
pub fn set_generation(object: &mut Object, generation: i64) {
    if generation == 0 {
        remove(object, "generation");
    } else {
        metadata_mut(object).insert("generation".to_owned(), Value::from(generation));
    }
}

/// `metadata.labels`.
pub fn labels(object: &Object) -> Option<&StringMap> {
    field(object, "labels")?.as_object()
}

/// One label.
pub fn label<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// `metadata.annotations`.
pub fn annotations(object: &Object) -> Option<&StringMap> {
    field(object, "annotations")?.as_object()
}

/// One annotation.
pub fn annotation<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

fn set_entry(object: &mut Object, map: &str, key: &str, value: Option<&str>) {
    let metadata = metadata_mut(object);
    match value {
        Some(value) => {
            let entry = metadata
                .entry(map)
                .or_insert_with(|| Value::Object(Map::new()));
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            if let Some(entries) = entry.as_object_mut() {
                entries.insert(key.to_owned(), Value::from(value));
            }
        }
        None => {
            if let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) {
                entries.remove(key);
                if entries.is_empty() {
                    metadata.remove(map);
                }
            }
        }
    }
}

/// Sets a label, or removes it.
pub fn set_label(object: &mut Object, key: &str, value: Option<&str>) {
    set_entry(object, "labels", key, value);
}

/// Sets an annotation, or removes it.
pub fn set_annotation(object: &mut Object, key: &str, value: Option<&str>) {
    set_entry(object, "annotations", key, value);
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Object) -> impl Iterator<Item = &str> {
    items(object, "finalizers").iter().filter_map(Value::as_str)
}

/// Whether a finalizer stands there.
pub fn has_finalizer(object: &Object, name: &str) -> bool {
    finalizers(object).any(|f| f == name)
}

/// Adds a finalizer at the end, once.
pub fn add_finalizer(object: &mut Object, name: &str) {
    if has_finalizer(object, name) {
        return;
    }
    let entry = metadata_mut(object)
        .entry("finalizers")
        .or_insert_with(|| Value::Array(Vec::new()));
    match entry {
        Value::Array(list) => list.push(Value::from(name)),
        other => *other = Value::Array(vec![Value::from(name)]),
    }
}

/// Removes a finalizer, and says whether it was there.
pub fn remove_finalizer(object: &mut Object, name: &str) -> bool {
    let Some(list) = metadata_mut(object)
        .get_mut("finalizers")
        .and_then(Value::as_array_mut)
    else {
        return false;
    };
    let before = list.len();
    list.retain(|f| f.as_str() != Some(name));
    let removed = list.len() != before;
    if list.is_empty() {
        remove(object, "finalizers");
    }
    removed
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Object) -> impl Iterator<Item = OwnerReference<'_>> {
    items(object, "ownerReferences")
        .iter()
        .map(OwnerReference::of)
}

/// The owner that manages the object.
pub fn controller_of(object: &Object) -> Option<OwnerReference<'_>> {
    owner_references(object).find(|o| o.controller)
}

/// `metadata.managedFields` as they stand.
pub fn managed_fields(object: &Object) -> &[Value] {
    items(object, "managedFields")
}

/// Sets `metadata.managedFields`; none removes the field.
pub fn set_managed_fields(object: &mut Object, entries: Vec<Value>) {
    if entries.is_empty() {
        remove(object, "managedFields");
    } else {
        metadata_mut(object).insert("managedFields".to_owned(), Value::Array(entries));
    }
}

fn items<'a>(object: &'a Object, key: &str) -> &'a [Value] {
    field(object, key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn empty_values_leave_no_trace() {
        let mut o =
            object(json!({"metadata": {"name": "a", "labels": {"x": "1"}, "finalizers": ["f"]}}));
        set_label(&mut o, "x", None);
        assert!(remove_finalizer(&mut o, "f"));
        assert!(!remove_finalizer(&mut o, "f"));
        set_uid(&mut o, "");
        set_generation(&mut o, 0);
        assert_eq!(Value::Object(o), json!({"metadata": {"name": "a"}}));
    }

    #[test]
    fn the_controller_is_found_among_the_owners() {
        let o = object(json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "2", "controller": true}]}}));
        assert_eq!(controller_of(&o).unwrap().uid, "2");
        assert_eq!(owner_references(&o).count(), 2);
        assert_eq!(controller_of(&Object::new()), None);
    }
}
