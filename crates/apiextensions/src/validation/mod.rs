//! The rules of CustomResourceDefinitions.
//!
//! Upstream judges the internal version of a definition, into which what all versions have in common (schema, subresources,
//! columns) is moved to the top: complaints therefore say `spec.validation.openAPIV3Schema` where there is one version, and show values with
//! the names of Go's fields. [`internal`] is that view. Order and wording follow `pkg/apis/apiextensions/validation`; where upstream walks a
//! Go map, which has no order, names are walked sorted.

mod approval;
mod columns;
mod conversion;
mod defaults;
mod internal;
mod names;
mod rules;
mod schema;
mod spec;
mod structural;

use api::{
    Strategy,
    fields::Fields,
    kinds::apiextensions::custom_resource_definition::{CustomResourceDefinitionStrategy, Rules},
};
use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
};
use serde_json::Value;

use crate::schema::Interner;
use internal::Internal;
use spec::Options;

pub use approval::{Approval, approval, is_protected};

/// The strategy of CustomResourceDefinitions, which judges them.
pub static STRATEGY: &dyn Strategy = &CustomResourceDefinitionStrategy::new(&Judge);

/// These rules as the strategy asks for them.
#[derive(Debug)]
struct Judge;

impl Rules for Judge {
    fn validate(&self, definition: &Object) -> ErrorList {
        validate(definition)
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        validate_update(new, old)
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        validate_status_update(new, old)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        warnings(new, old)
    }
}

/// All complaints about a new definition, its metadata aside but for what `spec` demands of its name.
pub fn validate(definition: &Object) -> ErrorList {
    let internal = Internal::of(definition);
    let mut errors = name(definition);
    spec::validate(&mut errors, &internal, &Options::of_new());
    status(&mut errors, definition, &internal);
    approval::validate(&mut errors, definition, None);
    preserve_unknown_fields(&mut errors, definition, None);
    errors
}

/// All complaints about a definition in the light of the one that it replaces.
pub fn validate_update(definition: &Object, old: &Object) -> ErrorList {
    let internal = Internal::of(definition);
    let before = Internal::of(old);
    let mut errors = ErrorList::new();
    let options = Options::of_update(definition, old, &internal, &before);
    spec::validate(&mut errors, &internal, &options);
    spec::validate_immutable(&mut errors, &internal, &before, &options);
    status(&mut errors, definition, &internal);
    approval::validate(&mut errors, definition, Some(old));
    preserve_unknown_fields(&mut errors, definition, Some(old));
    errors
}

/// All complaints about a write through `status`.
pub fn validate_status_update(definition: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    accepted_names(&mut errors, definition);
    errors
}

/// What keeps the schemas of a definition from being structural.
///
/// # Errors
/// A schema that cannot be judged, in the words of the condition that says so.
pub fn structure(definition: &Object) -> Result<ErrorList, String> {
    let mut errors = ErrorList::new();
    let empty = Object::new();
    let spec = definition.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    if spec.is_true("preserveUnknownFields") {
        let path = path.child("preserveUnknownFields");
        errors.push(FieldError::invalid(&path, true, "must be false"));
    }
    for (index, version) in spec.objects("versions") {
        let schema = version.object("schema");
        let Some(schema) = schema.and_then(|schema| schema.object("openAPIV3Schema")) else {
            continue;
        };
        if let Some(why) = structural::unsupported(schema) {
            let name = version.text("name");
            return Err(format!(
                "failed to check validation schema for version {name}: {why}"
            ));
        }
        let path = path.child("versions").index(index);
        let path = path.child("schema").child("openAPIV3Schema");
        errors.extend(structural::validate(schema, &path));
    }
    Ok(errors)
}

/// What the client is warned of: formats that nobody knows. On update, those that are new.
pub fn warnings(definition: &Object, old: Option<&Object>) -> Vec<String> {
    let known = old.map(unrecognized_formats).unwrap_or_default();
    unrecognized_formats(definition)
        .into_iter()
        .filter(|format| !known.contains(format))
        .map(|format| format!("unrecognized format {}", apimachinery::quote(&format)))
        .collect()
}

fn unrecognized_formats(definition: &Object) -> Vec<String> {
    let internal = Internal::of(definition);
    let mut found = Vec::new();
    for schema in internal.schemas() {
        schema::visit(schema, &mut |schema| {
            let format = schema.text("format");
            if !format.is_empty() && !schema::is_known_format(schema) {
                found.push(format.to_owned());
            }
        });
    }
    found
}

fn name(definition: &Object) -> ErrorList {
    let empty = Object::new();
    let spec = definition.object("spec").unwrap_or(&empty);
    let plural = spec
        .object("names")
        .map_or("", |names| names.text("plural"));
    let required = format!("{plural}.{}", spec.text("group"));
    let metadata = definition.object("metadata").unwrap_or(&empty);
    // What a name is generated from is judged as the name is.
    let names = ["generateName", "name"].into_iter().filter_map(|field| {
        let name = metadata.text(field);
        (!name.is_empty() && name != required).then(|| {
            FieldError::invalid(
                &Path::new("metadata").child(field),
                name,
                r#"must be spec.names.plural+"."+spec.group"#,
            )
        })
    });
    names.collect()
}

fn accepted_names(errors: &mut ErrorList, definition: &Object) {
    if let Some(accepted) = definition
        .object("status")
        .and_then(|s| s.object("acceptedNames"))
    {
        let path = Path::new("status").child("acceptedNames");
        names::validate(errors, accepted, &path);
    }
}

fn status(errors: &mut ErrorList, definition: &Object, internal: &Internal<'_>) {
    accepted_names(errors, definition);
    let stored: Vec<&str> = definition
        .object("status")
        .map(|s| s.texts("storedVersions").collect())
        .unwrap_or_default();
    let path = Path::new("status").child("storedVersions");
    if stored.is_empty() {
        errors.push(FieldError::invalid(
            &path,
            Value::Null,
            "must have at least one stored version",
        ));
        return;
    }
    // A version that stands there twice is stored once.
    let mut missing = stored.clone();
    for version in internal.versions() {
        let name = version.text("name");
        let known = missing.contains(&name);
        missing.retain(|it| *it != name);
        if version.is_true("storage") && !known {
            errors.push(FieldError::invalid(
                &path,
                stored.clone(),
                format!("must have the storage version {name}"),
            ));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !internal.versions().any(|v| v.text("name") == *name) {
            errors.push(FieldError::invalid(
                &path.index(index),
                *name,
                format!(
                    "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
                ),
            ));
        }
    }
}

fn preserve_unknown_fields(errors: &mut ErrorList, definition: &Object, old: Option<&Object>) {
    let preserves = |d: &Object| {
        d.object("spec")
            .is_some_and(|spec| spec.is_true("preserveUnknownFields"))
    };
    if preserves(definition) && !old.is_some_and(preserves) {
        errors.push(FieldError::invalid(
            &Path::new("spec").child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
}

/// A complaint that shows a value as Go's JSON has it, which is not how ours orders fields.
fn invalid_shown(path: &Path, shown: &str, detail: impl std::fmt::Display) -> FieldError {
    FieldError {
        kind: ErrorType::Invalid,
        field: path.clone(),
        bad_value: None,
        detail: format!("{shown}: {detail}"),
    }
}

/// `Required` if it is empty, `Unsupported` if it is none of those accepted.
fn one_of(errors: &mut ErrorList, path: &Path, value: &str, accepted: &[&str]) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !accepted.contains(&value) {
        errors.push(FieldError::not_supported(path, value, accepted));
    }
}

/// For judging schemas that no server shares: nodes of a definition that is being written.
fn interner() -> Interner {
    Interner::default()
}

#[cfg(test)]
mod tests;
