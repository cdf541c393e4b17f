//! The rules of an `openAPIV3Schema`: keywords that are not supported, extensions that contradict each other or the type.
//!
//! Structure and defaults come first ([`super::structural`], [`super::defaults`]), then each node from the root down, and last the rules in CEL, which
//! are compiled only where nothing else is wrong at their node or below.

use api::fields::Fields;
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::{
    defaults, internal, invalid_shown,
    rules::{self, RuleContext},
    structural,
};
use crate::{
    format::Format,
    schema::{JsonType, Structural},
};

/// What the schema's place demands or forgives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The status is written by itself, so that its schema must be found under `properties`.
    pub(super) has_status: bool,
    /// It is what it was: rules that have become too expensive stay.
    pub(super) unchanged: bool,
}

/// Fields that the root may have where `status` is a subresource, as upstream lists them.
const AT_ROOT_WITH_STATUS: &[&str] = &[
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// Whether the server knows the format of a schema for its type.
pub(super) fn is_known_format(schema: &Object) -> bool {
    let json_type = match schema.text("type") {
        "" => JsonType::Unset,
        "string" => JsonType::String,
        "integer" => JsonType::Integer,
        "number" => JsonType::Number,
        _ => return false,
    };
    Format::supported(schema.text("format"), json_type, false).is_some()
}

/// Calls `f` on a schema and on all schemas in it.
pub(super) fn visit<'s>(schema: &'s Object, f: &mut dyn FnMut(&'s Object)) {
    f(schema);
    for name in ["items", "not", "additionalProperties", "additionalItems"] {
        match schema.get(name) {
            Some(Value::Object(inner)) => visit(inner, f),
            Some(Value::Array(inner)) => {
                inner
                    .iter()
                    .filter_map(Value::as_object)
                    .for_each(|s| visit(s, f));
            }
            _ => {}
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        schema.objects(name).for_each(|(_, inner)| visit(inner, f));
    }
    for name in [
        "properties",
        "patternProperties",
        "definitions",
        "dependencies",
    ] {
        let inner = schema.object(name).into_iter().flat_map(Object::values);
        inner.filter_map(Value::as_object).for_each(|s| visit(s, f));
    }
}

/// `schema` of a version, or `spec.validation`.
pub(super) fn validate(errors: &mut ErrorList, validation: &Object, limits: Limits, path: &Path) {
    let Some(schema) = validation.object("openAPIV3Schema") else {
        return;
    };
    let path = path.child("openAPIV3Schema");
    let before = errors.len();
    if limits.has_status {
        at_root_with_status(errors, schema, &path);
    }
    if schema.is_true("nullable") {
        errors.push(FieldError::forbidden(
            &path.child("nullable"),
            "nullable cannot be true at the root",
        ));
    }
    // Complaints about what cannot be compiled overlap with those below, which say it better.
    let uncompilable = structural::unsupported(schema);
    let mut context = None;
    if uncompilable.is_none() {
        let structure = structural::validate(schema, &path);
        let compiled =
            Structural::compile(Some(&Value::Object(schema.clone())), &super::interner());
        if !structure.is_empty() {
            errors.extend(structure);
        } else {
            let complaints = defaults::validate(&compiled, &path);
            if complaints.is_empty() {
                context = Some(RuleContext::root(compiled));
            }
            errors.extend(complaints);
        }
    }
    let mut walk = Walk {
        limits,
        schema_errors: ErrorList::new(),
        rule_errors: ErrorList::new(),
    };
    walk.node(schema, &path, &Place::root(), context.as_ref());
    errors.append(&mut walk.schema_errors);
    errors.append(&mut walk.rule_errors);
    if errors.len() == before
        && let Some(message) = uncompilable
    {
        errors.push(FieldError::invalid(&path, "", message));
    }
    if let Some(context) = context {
        context.total_cost(errors, &path);
    }
}

fn at_root_with_status(errors: &mut ErrorList, schema: &Object, path: &Path) {
    for field in internal::fields_set(schema) {
        if field == "Type" {
            if schema.text("type") != "object" {
                errors.push(FieldError::invalid(
                    &path.child("type"),
                    schema.text("type"),
                    r#"only "object" is allowed as the type at the root of the schema if the status subresource is enabled"#,
                ));
                return;
            }
        } else if !AT_ROOT_WITH_STATUS.contains(&field) {
            let allowed = AT_ROOT_WITH_STATUS.join(" ");
            errors.push(invalid_shown(
                path,
                &internal::show_schema(schema),
                format_args!(
                    "only [{allowed}] fields are allowed at the root of the schema if the status subresource is enabled"
                ),
            ));
            return;
        }
    }
}

/// Where a node stands, as far as its rules depend on it.
#[derive(Clone, Debug, Default)]
struct Place {
    is_root: bool,
    /// Why defaults are forbidden here, if they are.
    no_defaults: Option<String>,
    /// Below `metadata` and its kin.
    in_meta: bool,
    /// The first ancestor whose children have no old values that are theirs.
    uncorrelatable: Option<Path>,
}

impl Place {
    fn root() -> Self {
        Self {
            is_root: true,
            ..Self::default()
        }
    }

    fn inner(&self) -> Self {
        Self {
            is_root: false,
            ..self.clone()
        }
    }

    fn uncorrelatable(mut self, path: &Path) -> Self {
        self.uncorrelatable.get_or_insert_with(|| path.clone());
        self
    }
}

struct Walk {
    limits: Limits,
    schema_errors: ErrorList,
    rule_errors: ErrorList,
}

impl Walk {
    fn forbidden(&mut self, path: &Path, detail: &str) {
        self.schema_errors.push(FieldError::forbidden(path, detail));
    }

    fn required(&mut self, path: &Path, detail: &str) {
        self.schema_errors.push(FieldError::required(path, detail));
    }

    fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        self.schema_errors
            .push(FieldError::invalid(path, value, detail));
    }

    fn node(&mut self, schema: &Object, path: &Path, place: &Place, context: Option<&RuleContext>) {
        let before = self.schema_errors.len();
        self.keywords(schema, path, place);
        if schema.is_true("uniqueItems") {
            self.forbidden(
                &path.child("uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
        self.structure(schema, path, place, context);
        self.extensions(schema, path);
        rules::texts(&mut self.schema_errors, schema, path);
        if self.schema_errors.len() == before
            && let Some(context) = context
        {
            let uncorrelatable = place.uncorrelatable.as_ref();
            context.compile(
                &mut self.rule_errors,
                schema,
                path,
                uncorrelatable,
                self.limits,
            );
        }
    }

    /// Keywords of OpenAPI that are not supported, here or at all.
    fn keywords(&mut self, schema: &Object, path: &Path, place: &Place) {
        let json_type = schema.text("type");
        if !json_type.is_empty() && !TYPES.contains(&json_type) {
            self.schema_errors.push(FieldError::not_supported(
                &path.child("type"),
                json_type,
                TYPES,
            ));
        }
        if schema.has("default")
            && let Some(reason) = &place.no_defaults
        {
            self.forbidden(&path.child("default"), &format!("must not be set {reason}"));
        }
        for name in [
            "id",
            "additionalItems",
            "patternProperties",
            "definitions",
            "dependencies",
            "$ref",
        ] {
            let set = match schema.get(name) {
                None | Some(Value::Null) => false,
                Some(Value::String(text)) => name == "$ref" || !text.is_empty(),
                Some(Value::Object(map)) => {
                    matches!(name, "dependencies" | "additionalItems") || !map.is_empty()
                }
                Some(_) => true,
            };
            if set {
                self.forbidden(&path.child(name), &format!("{name} is not supported"));
            }
        }
        if json_type == "null" {
            self.forbidden(
                &path.child("type"),
                "type cannot be set to null, use nullable as an alternative",
            );
        }
        if !schema.list("items").is_empty() {
            self.forbidden(
                &path.child("items"),
                "items must be a schema object and not an array",
            );
        }
        if place.in_meta && schema.is_true("x-kubernetes-embedded-resource") {
            self.forbidden(
                &path.child("x-kubernetes-embedded-resource"),
                "must not be used inside of resource meta",
            );
        }
    }

    /// What is inside, in upstream's order.
    fn structure(
        &mut self,
        schema: &Object,
        path: &Path,
        place: &Place,
        context: Option<&RuleContext>,
    ) {
        let properties = schema.object("properties").filter(|p| !p.is_empty());
        let inner = place.inner();
        if let Some(additional) = schema.value("additionalProperties") {
            let at = path.child("additionalProperties");
            if properties.is_some() && additional.as_bool() != Some(true) {
                self.forbidden(
                    &at,
                    "additionalProperties and properties are mutual exclusive",
                );
            }
            if let Some(additional) = additional.as_object() {
                let mut inner = inner.clone();
                if place.in_meta {
                    inner.no_defaults =
                        Some("inside additionalProperties applying to object metadata".to_owned());
                }
                let context = context.and_then(RuleContext::additional);
                self.node(additional, &at, &inner, context.as_ref());
            }
        }
        for (name, property) in properties.into_iter().flatten() {
            let Some(property) = property.as_object() else {
                continue;
            };
            let mut inner = inner.clone();
            let embedded = schema.is_true("x-kubernetes-embedded-resource");
            if (place.is_root || embedded) && matches!(&**name, "metadata" | "kind" | "apiVersion")
            {
                inner.in_meta = true;
                if place.is_root {
                    inner.no_defaults = Some(format!("in top-level {name}"));
                }
            }
            let at = path.child("properties").key(name);
            let context = context.and_then(|c| c.property(name));
            self.node(property, &at, &inner, context.as_ref());
        }
        if let Some(not) = schema.object("not") {
            self.node(not, &path.child("not"), &inner, None);
        }
        for name in ["allOf", "oneOf", "anyOf"] {
            for (index, alternative) in schema.objects(name) {
                self.node(alternative, &path.child(name).index(index), &inner, None);
            }
        }
        for (name, definition) in schema.object("definitions").into_iter().flatten() {
            if let Some(definition) = definition.as_object() {
                let at = path.child("definitions").key(name);
                self.node(definition, &at, &inner, None);
            }
        }
        self.items(schema, path, &inner, context);
        for (name, dependency) in schema.object("dependencies").into_iter().flatten() {
            if let Some(dependency) = dependency.as_object() {
                let at = path.child("dependencies").key(name);
                self.node(dependency, &at, &inner, None);
            }
        }
    }

    fn items(
        &mut self,
        schema: &Object,
        path: &Path,
        place: &Place,
        context: Option<&RuleContext>,
    ) {
        let Some(items) = schema.value("items") else {
            return;
        };
        let mut place = place.clone();
        if schema.text("x-kubernetes-list-type") != "map" {
            place = place.uncorrelatable(path);
        }
        let at = path.child("items");
        if let Some(items) = items.as_object() {
            let context = context.and_then(RuleContext::items);
            self.node(items, &at, &place, context.as_ref());
        }
        for (index, item) in schema.objects("items") {
            self.node(item, &at.index(index), &place, None);
        }
    }

    /// The extensions, one by one and against each other.
    fn extensions(&mut self, schema: &Object, path: &Path) {
        let json_type = schema.text("type");
        let type_path = path.child("type");
        if schema.bool_opt("x-kubernetes-preserve-unknown-fields") == Some(false) {
            self.invalid(
                &path.child("x-kubernetes-preserve-unknown-fields"),
                false,
                "must be true or undefined",
            );
        }
        let must_be = |walk: &mut Self, expected: &str, extension: &str| {
            let detail = format!("must be {expected} if {extension} is specified");
            if json_type.is_empty() {
                walk.required(&type_path, &detail);
            } else {
                walk.invalid(&type_path, json_type, &detail);
            }
        };
        if let Some(map_type) = schema.text_opt("x-kubernetes-map-type") {
            if json_type != "object" {
                must_be(self, "object", "x-kubernetes-map-type");
            }
            if !matches!(map_type, "atomic" | "granular") {
                self.schema_errors.push(FieldError::not_supported(
                    &path.child("x-kubernetes-map-type"),
                    map_type,
                    &["atomic", "granular"],
                ));
            }
        }
        let list_type = schema.text_opt("x-kubernetes-list-type");
        let items = schema.object("items");
        if list_type.is_some() && json_type != "array" {
            must_be(self, "array", "x-kubernetes-list-type");
        } else if let (Some("set"), Some(items)) = (list_type, items) {
            self.items_of_set(items, path);
        }
        if let Some(list_type) = list_type
            && !matches!(list_type, "atomic" | "set" | "map")
        {
            self.schema_errors.push(FieldError::not_supported(
                &path.child("x-kubernetes-list-type"),
                list_type,
                &["atomic", "set", "map"],
            ));
        }
        let keys: Vec<&str> = schema.texts("x-kubernetes-list-map-keys").collect();
        if !keys.is_empty() && list_type != Some("map") {
            let at = path.child("x-kubernetes-list-type");
            const DETAIL: &str = "must be map if x-kubernetes-list-map-keys is non-empty";
            match list_type {
                None => self.required(&at, DETAIL),
                Some(list_type) => self.invalid(&at, list_type, DETAIL),
            }
        }
        if list_type == Some("map") {
            self.list_map(schema, &keys, path);
        }
        if let (Some(list_type @ ("set" | "map")), Some(items)) = (list_type, items) {
            self.keyed_items(items, list_type, &keys, path);
        }
    }

    /// Items of a set are compared as a whole, and so they are owned.
    fn items_of_set(&mut self, items: &Object, path: &Path) {
        const DETAIL: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let list_type = items.text_opt("x-kubernetes-list-type");
        let shown = list_type.map_or(Value::Null, Value::from);
        let at = path.child("items");
        match items.text("type") {
            "array" if list_type.is_some_and(|t| t != "atomic") => {
                self.invalid(&at.child("x-kubernetes-list-type"), shown, DETAIL);
            }
            "object" if items.text("x-kubernetes-map-type") != "atomic" => {
                self.invalid(&at.child("x-kubernetes-map-type"), shown, DETAIL);
            }
            _ => {}
        }
    }

    fn list_map(&mut self, schema: &Object, keys: &[&str], path: &Path) {
        let keys_path = path.child("x-kubernetes-list-map-keys");
        let items_path = path.child("items");
        if keys.is_empty() {
            self.required(
                &keys_path,
                "must not be empty if x-kubernetes-list-type is map",
            );
        }
        let items = match schema.value("items") {
            None => {
                self.required(
                    &items_path,
                    "must have a schema if x-kubernetes-list-type is map",
                );
                return;
            }
            Some(Value::Object(items)) => items,
            Some(other) => {
                self.schema_errors.push(invalid_shown(
                    &items_path,
                    &internal::show_items(other),
                    "must only have a single schema if x-kubernetes-list-type is map",
                ));
                return;
            }
        };
        let json_type = items.text("type");
        if json_type != "object" {
            self.invalid(
                &items_path.child("type"),
                json_type,
                "must be object if parent array's x-kubernetes-list-type is map",
            );
            return;
        }
        for (index, key) in keys.iter().enumerate() {
            match items.object("properties").and_then(|p| p.object(key)) {
                Some(property) if matches!(property.text("type"), "array" | "object") => {
                    let at = items_path.child("properties").key(key).child("type");
                    self.invalid(
                        &at,
                        json_type,
                        "must be a scalar type if parent array's x-kubernetes-list-type is map",
                    );
                }
                Some(_) => {}
                None => self.invalid(
                    &keys_path,
                    keys.to_vec(),
                    "entries must all be names of item properties",
                ),
            }
            if keys[..index].contains(key) {
                self.invalid(
                    &keys_path,
                    keys.to_vec(),
                    "must not contain duplicate entries",
                );
            }
        }
    }

    /// Items of sets and maps are there; keys have values.
    fn keyed_items(&mut self, items: &Object, list_type: &str, keys: &[&str], path: &Path) {
        let at = path.child("items");
        if items.is_true("nullable") {
            self.forbidden(
                &at.child("nullable"),
                &format!("cannot be nullable when x-kubernetes-list-type is {list_type}"),
            );
        }
        if list_type != "map" {
            return;
        }
        for key in keys {
            let Some(property) = items.object("properties").and_then(|p| p.object(key)) else {
                continue;
            };
            let at = at.child("properties").key(key);
            let is_required = items.texts("required").any(|required| required == *key);
            if !is_required && !property.has("default") {
                self.required(
                    &at.child("default"),
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                );
            }
            if property.is_true("nullable") {
                self.forbidden(
                    &at.child("nullable"),
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
                );
            }
        }
    }
}
