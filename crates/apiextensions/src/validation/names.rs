//! Names of kinds: DNS labels, those of kinds in mixed case.

use api::{fields::Fields, names::dns1035_label};
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

/// What `spec.names` demands on top: all of them are there.
pub(super) fn validate_required(errors: &mut ErrorList, names: &Object, path: &Path) {
    for name in ["plural", "singular", "kind", "listKind"] {
        if names.text(name).is_empty() {
            errors.push(FieldError::required(&path.child(name), ""));
        }
    }
}

/// `spec.names` and `status.acceptedNames`.
pub(super) fn validate(errors: &mut ErrorList, names: &Object, path: &Path) {
    for name in ["plural", "singular"] {
        let text = names.text(name);
        if !text.is_empty() {
            label(errors, &path.child(name), text);
        }
    }
    for name in ["kind", "listKind"] {
        let text = names.text(name);
        let complaints = dns1035_label(&text.to_lowercase());
        if !text.is_empty() && !complaints.is_empty() {
            errors.push(FieldError::invalid(
                &path.child(name),
                text,
                format!(
                    "may have mixed case, but should otherwise match: {}",
                    complaints.join(",")
                ),
            ));
        }
    }
    for (index, name) in names.texts("shortNames").enumerate() {
        label(errors, &path.child("shortNames").index(index), name);
    }
    let (kind, list_kind) = (names.text("kind"), names.text("listKind"));
    if !kind.is_empty() && kind == list_kind {
        errors.push(FieldError::invalid(
            &path.child("listKind"),
            list_kind,
            "kind and listKind may not be the same",
        ));
    }
    for (index, name) in names.texts("categories").enumerate() {
        label(errors, &path.child("categories").index(index), name);
    }
}

/// A DNS-1035 label.
pub(super) fn label(errors: &mut ErrorList, path: &Path, text: &str) {
    let complaints = dns1035_label(text);
    if !complaints.is_empty() {
        errors.push(FieldError::invalid(path, text, complaints.join(",")));
    }
}
