//! From kubectl's client-side apply to server-side apply: the annotation that the former left says what its user owns.
//!
//! For the manager `kubectl` alone: fields that the annotation names, and that are still as it says, are no conflict; and the annotation is
//! kept up, so that one can go back.

use serde_json::Value;

use super::{
    Conflict, Write, check,
    set::FieldSet,
    typed::{compare, field_set},
};
use crate::{Object, meta, schema::TypeRef};

/// The manager for whom all this is done.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations of an object together may take this many bytes.
const MAX_ANNOTATIONS_BYTES: usize = 256 << 10;

/// What the annotation names and is still as it says. `None` if there is no annotation of this version.
pub(super) fn own_fields(ty: TypeRef<'_>, live: &Object, write: &Write<'_>) -> Option<FieldSet> {
    let applied = meta::annotation(live, ANNOTATION)?;
    let applied: Object = serde_json::from_str(applied).ok()?;
    if meta::api_version(&applied) != write.api_version {
        return None;
    }
    check::configuration(&applied, ty, super::Nulls::Allowed).ok()?;
    let (applied, live) = (Value::Object(applied), Value::Object(live.clone()));
    let mut fields = field_set(&applied, Some(ty)).children;
    let differences = compare(Some(&applied), Some(&live), Some(ty));
    for different in [differences.modified, differences.added, differences.removed] {
        fields.subtract(&different.children);
    }
    Some(fields)
}

/// The conflicts that are left when some fields are none.
pub(super) fn without(conflicts: Vec<Conflict>, own: &FieldSet) -> Vec<Conflict> {
    let left = conflicts.into_iter().map(|mut conflict| {
        conflict.fields.subtract(own);
        conflict
    });
    left.filter(|conflict| !conflict.fields.is_empty())
        .collect()
}

/// Brings the annotation up to date, if there is one; drops it if there is no room for it.
pub(super) fn record(object: &mut Object, config: &Object) {
    if meta::annotation(object, ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config
        .get_mut("metadata")
        .and_then(|m| m.get_mut("annotations"))
    {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{}\n", Value::Object(config));
    meta::set_annotation(object, ANNOTATION, Some(&text));
    let size: usize = meta::annotations(object)
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > MAX_ANNOTATIONS_BYTES {
        meta::set_annotation(object, ANNOTATION, None);
    }
}
