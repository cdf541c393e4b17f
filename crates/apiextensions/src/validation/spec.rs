//! `spec`: the group, the versions with their schemas, the names, the conversion; and what an update may not change.

use std::collections::BTreeSet;

use api::{fields::Fields, names as dns};
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::{
    columns, conversion,
    internal::Internal,
    invalid_shown, names, one_of,
    schema::{self, Limits},
};
use crate::schema::{SchemaRef, Structural};

/// What a definition is held to: on update, what was accepted before is not refused for what it was accepted with.
#[derive(Debug, Default)]
pub(super) struct Options<'d> {
    /// The webhook must speak a version that the server does.
    pub(super) requires_recognized_review_version: bool,
    /// Whether what is stored would be found no more under other names.
    pub(super) requires_immutable_names: bool,
    /// A broken bundle is the owner's affair until the definition is established.
    pub(super) allows_invalid_ca_bundle: bool,
    /// Versions whose schema is as it was.
    pub(super) unchanged_schemas: BTreeSet<&'d str>,
    /// Versions that have too many selectable fields, the same as before; the empty name stands for all.
    pub(super) too_many_selectable: BTreeSet<&'d str>,
}

impl<'d> Options<'d> {
    pub(super) fn of_new() -> Self {
        Self {
            requires_recognized_review_version: true,
            allows_invalid_ca_bundle: true,
            ..Self::default()
        }
    }

    pub(super) fn of_update(
        definition: &'d Object,
        old: &Object,
        internal: &Internal<'d>,
        before: &Internal<'_>,
    ) -> Self {
        let established = old
            .object("status")
            .into_iter()
            .flat_map(|s| s.objects("conditions"))
            .any(|(_, c)| c.text("type") == "Established" && c.text("status") == "True");
        let old_conversion = before
            .object("conversion")
            .and_then(|c| c.object("webhook"));
        let old_review_versions: Vec<&str> = old_conversion
            .map(|w| w.texts("conversionReviewVersions").collect())
            .unwrap_or_default();
        let old_bundle = old_conversion
            .and_then(|w| w.object("clientConfig"))
            .map_or("", |c| c.text("caBundle"));
        let old_version = |name: &str| before.versions().find(|v| v.text("name") == name);
        let same = |name: &str, field: &str| {
            let new = internal.versions().find(|v| v.text("name") == name);
            let new = new.and_then(|v| v.get(field));
            old_version(name).is_some_and(|v| v.get(field) == new)
        };
        let version_names: Vec<&'d str> = definition
            .object("spec")
            .into_iter()
            .flat_map(|s| s.objects("versions"))
            .map(|(_, v)| v.text("name"))
            .collect();
        let unchanged_schemas = version_names
            .iter()
            .copied()
            .filter(|name| same(name, "schema"))
            .collect();
        let mut too_many_selectable: BTreeSet<&'d str> = version_names
            .into_iter()
            .filter(|name| {
                let many = old_version(name).is_some_and(|v| v.list("selectableFields").len() > 8);
                many && same(name, "selectableFields")
            })
            .collect();
        if before.common_selectable_fields().len() > 8
            && before.common_selectable_fields() == internal.common_selectable_fields()
        {
            too_many_selectable.insert("");
        }
        Self {
            requires_recognized_review_version: old_review_versions.is_empty()
                || conversion::has_recognized(&old_review_versions),
            requires_immutable_names: established,
            allows_invalid_ca_bundle: !established
                || (!old_bundle.is_empty() && !conversion::is_ca_bundle(old_bundle)),
            unchanged_schemas,
            too_many_selectable,
        }
    }
}

pub(super) fn validate(errors: &mut ErrorList, internal: &Internal<'_>, options: &Options<'_>) {
    let path = Path::new("spec");
    group(errors, internal.text("group"), &path.child("group"));
    one_of(
        errors,
        &path.child("scope"),
        internal.text("scope"),
        &["Cluster", "Namespaced"],
    );
    let common_schema = internal.common_schema();
    if common_schema.is_none_or(|s| s.object("openAPIV3Schema").is_none()) {
        for (index, version) in internal.versions().enumerate() {
            let own = internal.own_schema(version);
            if own.is_none_or(|s| s.object("openAPIV3Schema").is_none()) {
                let at = path.child("versions").index(index).child("schema");
                errors.push(FieldError::required(&at.child("openAPIV3Schema"), ""));
            }
        }
    }
    let has_defaults = internal.schemas().any(has_default);
    if has_defaults && internal.preserves_unknown_fields() {
        errors.push(FieldError::invalid(
            &path.child("preserveUnknownFields"),
            true,
            "must be false in order to use defaults in the schema",
        ));
    }
    versions(errors, internal, options, &path);
    let empty = Object::new();
    let own_names = internal.object("names").unwrap_or(&empty);
    let names_path = path.child("names");
    names::validate_required(errors, own_names, &names_path);
    names::validate(errors, own_names, &names_path);
    common(errors, internal, options, &path);
    if let Some(conversion) = internal.object("conversion") {
        let path = path.child("conversion");
        if conversion.text("strategy") != "None" && internal.preserves_unknown_fields() {
            errors.push(FieldError::invalid(
                &path.child("strategy"),
                conversion.text("strategy"),
                "must be None if spec.preserveUnknownFields is true",
            ));
        }
        conversion::validate(errors, conversion, &path, options);
    }
}

/// What an update may not change: what objects are stored under.
pub(super) fn validate_immutable(
    errors: &mut ErrorList,
    internal: &Internal<'_>,
    before: &Internal<'_>,
    options: &Options<'_>,
) {
    let path = Path::new("spec");
    let name = |internal: &Internal<'_>, field: &str| {
        internal
            .object("names")
            .map_or("", |names| names.text(field))
            .to_owned()
    };
    let mut immutable = |path: &Path, new: &str, old: &str| {
        if new != old {
            errors.push(FieldError::invalid(path, new, "field is immutable"));
        }
    };
    if options.requires_immutable_names {
        immutable(
            &path.child("scope"),
            internal.text("scope"),
            before.text("scope"),
        );
        immutable(
            &path.child("names").child("kind"),
            &name(internal, "kind"),
            &name(before, "kind"),
        );
    }
    immutable(
        &path.child("group"),
        internal.text("group"),
        before.text("group"),
    );
    immutable(
        &path.child("names").child("plural"),
        &name(internal, "plural"),
        &name(before, "plural"),
    );
}

fn group(errors: &mut ErrorList, group: &str, path: &Path) {
    let complaints = dns::dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !complaints.is_empty() {
        errors.push(FieldError::invalid(path, group, complaints.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(
            path,
            group,
            "should be a domain with at least one dot",
        ));
    }
}

fn has_default(schema: &Object) -> bool {
    let mut found = false;
    schema::visit(schema, &mut |schema| found |= schema.has("default"));
    found
}

/// `spec.versions`: each, and all of them together.
fn versions(errors: &mut ErrorList, internal: &Internal<'_>, options: &Options<'_>, path: &Path) {
    let versions_path = path.child("versions");
    let mut seen = BTreeSet::new();
    let mut unique = true;
    let mut storage = 0;
    for (index, version) in internal.versions().enumerate() {
        let at = versions_path.index(index);
        let name = version.text("name");
        storage += usize::from(version.is_true("storage"));
        unique &= seen.insert(name);
        names::label(errors, &at.child("name"), name);
        self::version(errors, internal, version, options, &at);
    }
    if !unique {
        errors.push(invalid_shown(
            &versions_path,
            &internal.show_versions(),
            "must contain unique version names",
        ));
    }
    if storage != 1 {
        errors.push(invalid_shown(
            &versions_path,
            &internal.show_versions(),
            "must have exactly one version marked as storage version",
        ));
    }
    let first = internal.versions().next().map_or("", |v| v.text("name"));
    if !first.is_empty() {
        names::label(errors, &path.child("version"), first);
    }
}

/// What a version has for itself.
fn version<'d>(
    errors: &mut ErrorList,
    internal: &Internal<'d>,
    version: &'d Object,
    options: &Options<'_>,
    path: &Path,
) {
    deprecation_warning(errors, version, &path.child("deprecationWarning"));
    let own = internal.own_schema(version);
    let limits = Limits {
        has_status: Internal::has_status(version),
        unchanged: options.unchanged_schemas.contains(version.text("name")),
    };
    if let Some(own) = own {
        schema::validate(errors, own, limits, &path.child("schema"));
    }
    if let Some(subresources) = internal.own_subresources(version) {
        columns::validate_subresources(errors, subresources, &path.child("subresources"));
    }
    for (index, column) in objects(internal.own_columns(version)) {
        let at = path.child("additionalPrinterColumns").index(index);
        columns::validate(errors, column, &at);
    }
    let selectable = internal.own_selectable_fields(version);
    if selectable.is_empty() {
        return;
    }
    let path = path.child("selectableFields");
    // The words are upstream's, which says the opposite of what it means.
    let Some(schema) = compiled(own) else {
        errors.push(FieldError::invalid(
            &path,
            "",
            "may only be set when `version.schema.openAPIV3Schema` is not included",
        ));
        return;
    };
    let too_many = options.too_many_selectable.contains(version.text("name"));
    columns::validate_selectable(errors, selectable, &schema, &path, too_many);
}

fn objects(list: &[Value]) -> impl Iterator<Item = (usize, &Object)> {
    list.iter()
        .enumerate()
        .filter_map(|(index, value)| Some((index, value.as_object()?)))
}

fn compiled(validation: Option<&Object>) -> Option<SchemaRef> {
    let schema = validation?.get("openAPIV3Schema")?;
    Some(Structural::compile(Some(schema), &super::interner()))
}

/// What all versions have in common.
fn common(errors: &mut ErrorList, internal: &Internal<'_>, options: &Options<'_>, path: &Path) {
    let first = internal.versions().next().map_or("", |v| v.text("name"));
    if let Some(validation) = internal.common_schema() {
        let limits = Limits {
            has_status: internal.versions().any(Internal::has_status),
            unchanged: options.unchanged_schemas.contains(first),
        };
        schema::validate(errors, validation, limits, &path.child("validation"));
    }
    if let Some(subresources) = internal.common_subresources() {
        columns::validate_subresources(errors, subresources, &path.child("subresources"));
    }
    for (index, column) in objects(internal.common_columns()) {
        let at = path.child("additionalPrinterColumns").index(index);
        columns::validate(errors, column, &at);
    }
    let selectable = internal.common_selectable_fields();
    if selectable.is_empty() {
        return;
    }
    let path = path.child("selectableFields");
    match compiled(internal.common_schema()) {
        Some(schema) => {
            let too_many = options.too_many_selectable.contains("");
            columns::validate_selectable(errors, selectable, &schema, &path, too_many);
        }
        None => errors.push(FieldError::invalid(
            &path,
            "",
            "may only be set when validations.schema is included",
        )),
    }
}

fn deprecation_warning(errors: &mut ErrorList, version: &Object, path: &Path) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else {
        return;
    };
    let mut invalid = |detail: String| errors.push(FieldError::invalid(path, warning, detail));
    if !version.is_true("deprecated") {
        invalid("can only be set for deprecated versions".to_owned());
        return;
    }
    if warning.len() > 256 {
        invalid("must be <= 256 characters long".to_owned());
    }
    if warning.is_empty() {
        invalid("must not be an empty string".to_owned());
    }
    let unprintable = warning
        .char_indices()
        .find(|(_, c)| !apimachinery::quote::is_printable(*c));
    if let Some((index, _)) = unprintable {
        invalid(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {index}"
        ));
    }
}
