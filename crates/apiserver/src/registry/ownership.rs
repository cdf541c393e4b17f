//! Who set which field: `metadata.managedFields`, kept up at every write.

use apimachinery::{Object, meta};

use super::{Call, options::WriteOptions};

/// Of a new object.
pub(super) fn created(_call: &Call<'_>, _options: &WriteOptions, object: &mut Object) {
    meta::remove(object, "managedFields");
}

/// Of a changed one.
pub(super) fn updated(
    _call: &Call<'_>,
    _options: &WriteOptions,
    _subresource: &str,
    new: &mut Object,
    old: &Object,
) {
    match meta::metadata(old).and_then(|m| m.get("managedFields")) {
        Some(entries) => {
            meta::metadata_mut(new).insert("managedFields".to_owned(), entries.clone());
        }
        None => {
            meta::remove(new, "managedFields");
        }
    }
}

/// Takes over the times of entries that are otherwise the same.
pub(super) fn keep_times(new: &mut Object, old: &Object) {
    let before = meta::managed_fields(old).to_vec();
    let mut entries = meta::managed_fields(new).to_vec();
    if entries.len() != before.len() {
        return;
    }
    for (entry, before) in entries.iter_mut().zip(&before) {
        if let (Some(entry), Some(time)) = (entry.as_object_mut(), before.get("time")) {
            entry.insert("time".to_owned(), time.clone());
        }
    }
    if !entries.is_empty() {
        meta::set_managed_fields(new, entries);
    }
}
