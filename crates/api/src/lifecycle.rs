//! What most strategies do to an object on its way in: generation and status.
//!
//! The registry fills name, uid and creationTimestamp before `prepare_for_create`, as upstream does.

use apimachinery::{Object, meta};
use serde_json::Value;

use crate::{fields::Fields, internal};

/// A new object of a kind whose desired state is counted: generation 1.
pub fn first_generation(object: &mut Object) {
    meta::set_generation(object, 1);
}

/// Raises the generation when one of `desired` differs, keeps it otherwise.
pub fn bump_generation(new: &mut Object, old: &Object, desired: &[&str]) {
    let changed = desired
        .iter()
        .any(|field| !internal::same_field_of_kind(new, old, field));
    meta::set_generation(new, meta::generation(old) + i64::from(changed));
}

/// The same for kinds that upstream compares by reflection: an empty list in place of none is a difference.
pub fn bump_generation_by_reflection(new: &mut Object, old: &Object, desired: &[&str]) {
    let changed = desired
        .iter()
        .any(|field| !internal::identical_field_of_kind(new, old, field));
    meta::set_generation(new, meta::generation(old) + i64::from(changed));
}

/// Takes `fields` as they were.
pub fn keep(new: &mut Object, old: &Object, fields: &[&str]) {
    for field in fields {
        new.set_or_remove(field, old.get(*field).cloned());
    }
}

/// A status update: everything but `status` is as it was; of the metadata what upstream lets through a status update.
pub fn keep_all_but_status(new: &mut Object, old: &Object) {
    let fields: Vec<String> = new
        .keys()
        .chain(old.keys())
        .filter(|k| !matches!(k.as_str(), "status" | "metadata" | "apiVersion" | "kind"))
        .cloned()
        .collect();
    for field in fields {
        let before = old.get(&field);
        if new.get(&field) != before {
            new.set_or_remove(&field, before.cloned());
        }
    }
}

/// Of the metadata of a status update, labels, annotations and the rest are as they were where the kind's strategy says so.
pub fn keep_metadata(new: &mut Object, old: &Object, fields: &[&str]) {
    let before: Vec<(&str, Option<Value>)> = fields
        .iter()
        .map(|f| (*f, meta::metadata(old).and_then(|m| m.get(*f)).cloned()))
        .collect();
    let metadata = meta::metadata_mut(new);
    for (field, value) in before {
        metadata.set_or_remove(field, value);
    }
}

/// A status update that takes nothing of the metadata but who owns what.
pub fn keep_all_metadata(new: &mut Object, old: &Object) {
    let owners = meta::managed_fields(new).to_vec();
    keep(new, old, &["metadata"]);
    meta::set_managed_fields(new, owners);
}

/// A status update that leaves the metadata alone, but for who owns what (upstream's `ResetObjectMetaForStatus`).
pub fn reset_metadata_for_status(new: &mut Object, old: &Object) {
    keep_metadata(
        new,
        old,
        &[
            "deletionTimestamp",
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
        ],
    );
}

/// Numbers that upstream always writes, because their field has neither pointer nor `omitempty`.
pub fn zeroes(object: &mut Object, fields: &[&str]) {
    for field in fields {
        object.set_default(field, 0);
    }
}
