//! Defaults must be valid by their own schema, and hold nothing that would be pruned.

use apimachinery::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use crate::{
    embedded, prune, rules,
    schema::{SchemaRef, Structural},
    validate as values,
};

/// All complaints about the defaults in a schema.
pub(super) fn validate(root: &SchemaRef, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if root.default.is_some() && !root.embedded {
        // What a whole object defaults to is judged as an embedded one.
        let mut resource = Structural::clone(root);
        resource.embedded = true;
        resource.contains.embedded = true;
        node(&mut errors, &resource, path, Meta::Root);
    } else {
        node(&mut errors, root, path, Meta::Root);
    }
    errors
}

/// Where a schema stands in respect of `metadata`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meta {
    /// The root, or an embedded resource.
    Root,
    /// `apiVersion`, `kind`, `metadata`, and what is in it.
    Inside,
    Outside,
}

fn node(errors: &mut ErrorList, schema: &Structural, path: &Path, meta: Meta) {
    if !schema.contains.defaults {
        return;
    }
    let meta = if schema.embedded { Meta::Root } else { meta };
    if let Some(default) = &schema.default {
        value(errors, schema, default, &path.child("default"), meta);
    }
    if let Some(items) = &schema.items {
        let inner = if meta == Meta::Inside {
            meta
        } else {
            Meta::Outside
        };
        node(errors, items, &path.child("items"), inner);
    }
    for (name, property) in &schema.properties {
        let inner = match meta {
            Meta::Root if matches!(&**name, "apiVersion" | "kind" | "metadata") => Meta::Inside,
            Meta::Inside => Meta::Inside,
            _ => Meta::Outside,
        };
        let at = path.child("properties").key(name);
        node(errors, property, &at, inner);
    }
}

fn value(errors: &mut ErrorList, schema: &Structural, default: &Value, path: &Path, meta: Meta) {
    if meta != Meta::Inside {
        let mut pruned = default.clone();
        prune::prune_value(&mut pruned, schema);
        if pruned != *default {
            errors.push(FieldError::invalid(
                path,
                default.clone(),
                "must not have unknown fields",
            ));
        }
    }
    let complaints = embedded::validate_default(default, schema, path);
    if !complaints.is_empty() {
        errors.extend(complaints);
        return;
    }
    let complaints = values::validate(path, default, None, schema);
    if !complaints.is_empty() {
        errors.extend(complaints);
        return;
    }
    // Valid as what stays, and as what comes to be.
    let complaints = rules::validate_value(path, default, Some(default), schema);
    let new = complaints.is_empty();
    errors.extend(complaints);
    if new {
        errors.extend(rules::validate_value(path, default, None, schema));
    }
}
