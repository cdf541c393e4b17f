//! A definition as upstream's internal version has it.
//!
//! What all versions have in common stands at the top, and there alone. Values are shown as Go marshals that version's structs: fields in
//! their order, under Go's names, zero values included.

use std::fmt::Write as _;

use api::fields::Fields;
use apimachinery::{Object, go};
use serde_json::Value;

/// See the module's head.
pub(super) struct Internal<'d> {
    spec: Option<&'d Object>,
    schema_is_common: bool,
    subresources_are_common: bool,
    columns_are_common: bool,
    selectable_fields_are_common: bool,
}

impl<'d> Internal<'d> {
    pub(super) fn of(definition: &'d Object) -> Self {
        let spec = definition.object("spec");
        let common = |field: &str| {
            let Some(versions) = spec.map(|s| s.list("versions")).filter(|v| !v.is_empty()) else {
                return false;
            };
            let value = |version: &'d Value| version.get(field).filter(|v| !is_nothing(v));
            versions.iter().all(|v| value(v) == value(&versions[0]))
        };
        Self {
            spec,
            schema_is_common: common("schema"),
            subresources_are_common: common("subresources"),
            columns_are_common: common("additionalPrinterColumns"),
            selectable_fields_are_common: common("selectableFields"),
        }
    }

    pub(super) fn text(&self, field: &str) -> &'d str {
        self.spec.map_or("", |spec| spec.text(field))
    }

    pub(super) fn object(&self, field: &str) -> Option<&'d Object> {
        self.spec?.object(field)
    }

    pub(super) fn preserves_unknown_fields(&self) -> bool {
        self.spec
            .is_some_and(|spec| spec.is_true("preserveUnknownFields"))
    }

    /// Whether there is a list of versions, be it empty.
    fn has_versions(&self) -> bool {
        self.spec.is_some_and(|spec| spec.has("versions"))
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = &'d Object> {
        self.spec
            .map(|spec| spec.list("versions"))
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_object)
    }

    fn first(&self) -> Option<&'d Object> {
        self.versions().next()
    }

    /// `spec.validation`.
    pub(super) fn common_schema(&self) -> Option<&'d Object> {
        self.first()
            .filter(|_| self.schema_is_common)?
            .object("schema")
    }

    /// The schema of one version, if it is its own.
    pub(super) fn own_schema(&self, version: &'d Object) -> Option<&'d Object> {
        version.object("schema").filter(|_| !self.schema_is_common)
    }

    /// `spec.subresources`.
    pub(super) fn common_subresources(&self) -> Option<&'d Object> {
        self.first()
            .filter(|_| self.subresources_are_common)?
            .object("subresources")
    }

    /// The subresources of one version, if they are its own.
    pub(super) fn own_subresources(&self, version: &'d Object) -> Option<&'d Object> {
        version
            .object("subresources")
            .filter(|_| !self.subresources_are_common)
    }

    /// `spec.additionalPrinterColumns`.
    pub(super) fn common_columns(&self) -> &'d [Value] {
        self.first()
            .filter(|_| self.columns_are_common)
            .map(|v| v.list("additionalPrinterColumns"))
            .unwrap_or_default()
    }

    /// The columns of one version, if they are its own.
    pub(super) fn own_columns(&self, version: &'d Object) -> &'d [Value] {
        if self.columns_are_common {
            return &[];
        }
        version.list("additionalPrinterColumns")
    }

    /// `spec.selectableFields`.
    pub(super) fn common_selectable_fields(&self) -> &'d [Value] {
        self.first()
            .filter(|_| self.selectable_fields_are_common)
            .map(|v| v.list("selectableFields"))
            .unwrap_or_default()
    }

    /// The selectable fields of one version, if they are its own.
    pub(super) fn own_selectable_fields(&self, version: &'d Object) -> &'d [Value] {
        if self.selectable_fields_are_common {
            return &[];
        }
        version.list("selectableFields")
    }

    /// Whether a version has a `status` subresource.
    pub(super) fn has_status(version: &Object) -> bool {
        version
            .object("subresources")
            .is_some_and(|s| s.object("status").is_some())
    }

    /// Every schema once: the common one, or those of the versions.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &'d Object> {
        let own = self.versions().filter_map(|v| self.own_schema(v));
        self.common_schema()
            .into_iter()
            .chain(own)
            .filter_map(|schema| schema.object("openAPIV3Schema"))
    }

    /// `spec.versions` as it is shown.
    pub(super) fn show_versions(&self) -> String {
        let shown: Vec<String> = self
            .versions()
            .map(|version| self.show_version(version))
            .collect();
        if shown.is_empty() && !self.has_versions() {
            return "null".to_owned();
        }
        format!("[{}]", shown.join(","))
    }

    fn show_version(&self, version: &'d Object) -> String {
        let mut out = Struct::new();
        out.text("Name", version.text("name"));
        for (field, name) in [
            ("Served", "served"),
            ("Storage", "storage"),
            ("Deprecated", "deprecated"),
        ] {
            out.value(field, version.is_true(name));
        }
        out.any("DeprecationWarning", version.get("deprecationWarning"));
        let schema = self.own_schema(version).map(|schema| {
            let mut out = Struct::new();
            let inner = schema.object("openAPIV3Schema").map(show_schema);
            out.shown("OpenAPIV3Schema", inner);
            out.finish()
        });
        out.shown("Schema", schema);
        out.shown(
            "Subresources",
            self.own_subresources(version).map(show_subresources),
        );
        out.shown(
            "AdditionalPrinterColumns",
            show_list(self.own_columns(version), show_column),
        );
        out.shown(
            "SelectableFields",
            show_list(self.own_selectable_fields(version), |field| {
                let mut out = Struct::new();
                out.text("JSONPath", field.text("jsonPath"));
                out.finish()
            }),
        );
        out.finish()
    }
}

/// Equal to absent, as upstream compares.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn show_list(list: &[Value], show: impl Fn(&Object) -> String) -> Option<String> {
    let shown: Vec<String> = list.iter().filter_map(Value::as_object).map(show).collect();
    (!shown.is_empty()).then(|| format!("[{}]", shown.join(",")))
}

/// A list as it was sent: an empty one is not none.
fn show_slice(list: Option<&Value>, show: impl Fn(&Object) -> String) -> Option<String> {
    let list = list?.as_array()?;
    Some(show_list(list, show).unwrap_or_else(|| "[]".to_owned()))
}

fn show_subresources(subresources: &Object) -> String {
    let mut out = Struct::new();
    out.shown(
        "Status",
        subresources.object("status").map(|_| "{}".to_owned()),
    );
    let scale = subresources.object("scale").map(|scale| {
        let mut out = Struct::new();
        out.text("SpecReplicasPath", scale.text("specReplicasPath"));
        out.text("StatusReplicasPath", scale.text("statusReplicasPath"));
        out.any("LabelSelectorPath", scale.get("labelSelectorPath"));
        out.finish()
    });
    out.shown("Scale", scale);
    out.finish()
}

fn show_column(column: &Object) -> String {
    let mut out = Struct::new();
    for (field, name) in [
        ("Name", "name"),
        ("Type", "type"),
        ("Format", "format"),
        ("Description", "description"),
    ] {
        out.text(field, column.text(name));
    }
    out.value("Priority", column.int("priority").unwrap_or(0));
    out.text("JSONPath", column.text("jsonPath"));
    out.finish()
}

/// A rule of `x-kubernetes-validations`.
pub(super) fn show_rule(rule: &Object) -> String {
    let mut out = Struct::new();
    for (field, name) in [
        ("Rule", "rule"),
        ("Message", "message"),
        ("MessageExpression", "messageExpression"),
    ] {
        out.text(field, rule.text(name));
    }
    out.any("Reason", rule.get("reason"));
    out.text("FieldPath", rule.text("fieldPath"));
    out.any("OptionalOldSelf", rule.get("optionalOldSelf"));
    out.finish()
}

/// How a field of a schema is shown.
enum Shape {
    Text,
    Flag,
    /// A pointer, a slice or a map of plain values: null if absent.
    Any,
    Schema,
    Schemas,
    SchemaMap,
    SchemaOrArray,
    SchemaOrBool,
    Rules,
    Docs,
}

/// The fields of `JSONSchemaProps`, in Go's order.
const SCHEMA: &[(&str, &str, Shape)] = &[
    ("ID", "id", Shape::Text),
    ("Schema", "$schema", Shape::Text),
    ("Ref", "$ref", Shape::Any),
    ("Description", "description", Shape::Text),
    ("Type", "type", Shape::Text),
    ("Nullable", "nullable", Shape::Flag),
    ("Format", "format", Shape::Text),
    ("Title", "title", Shape::Text),
    ("Default", "default", Shape::Any),
    ("Maximum", "maximum", Shape::Any),
    ("ExclusiveMaximum", "exclusiveMaximum", Shape::Flag),
    ("Minimum", "minimum", Shape::Any),
    ("ExclusiveMinimum", "exclusiveMinimum", Shape::Flag),
    ("MaxLength", "maxLength", Shape::Any),
    ("MinLength", "minLength", Shape::Any),
    ("Pattern", "pattern", Shape::Text),
    ("MaxItems", "maxItems", Shape::Any),
    ("MinItems", "minItems", Shape::Any),
    ("UniqueItems", "uniqueItems", Shape::Flag),
    ("MultipleOf", "multipleOf", Shape::Any),
    ("Enum", "enum", Shape::Any),
    ("MaxProperties", "maxProperties", Shape::Any),
    ("MinProperties", "minProperties", Shape::Any),
    ("Required", "required", Shape::Any),
    ("Items", "items", Shape::SchemaOrArray),
    ("AllOf", "allOf", Shape::Schemas),
    ("OneOf", "oneOf", Shape::Schemas),
    ("AnyOf", "anyOf", Shape::Schemas),
    ("Not", "not", Shape::Schema),
    ("Properties", "properties", Shape::SchemaMap),
    (
        "AdditionalProperties",
        "additionalProperties",
        Shape::SchemaOrBool,
    ),
    ("PatternProperties", "patternProperties", Shape::SchemaMap),
    ("Dependencies", "dependencies", Shape::Any),
    ("AdditionalItems", "additionalItems", Shape::SchemaOrBool),
    ("Definitions", "definitions", Shape::SchemaMap),
    ("ExternalDocs", "externalDocs", Shape::Docs),
    ("Example", "example", Shape::Any),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
        Shape::Any,
    ),
    (
        "XEmbeddedResource",
        "x-kubernetes-embedded-resource",
        Shape::Flag,
    ),
    ("XIntOrString", "x-kubernetes-int-or-string", Shape::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Shape::Any),
    ("XListType", "x-kubernetes-list-type", Shape::Any),
    ("XMapType", "x-kubernetes-map-type", Shape::Any),
    ("XValidations", "x-kubernetes-validations", Shape::Rules),
];

/// The names of the fields that a schema sets, in Go's order and under Go's names.
pub(super) fn fields_set(schema: &Object) -> impl Iterator<Item = &'static str> {
    SCHEMA
        .iter()
        .filter(|(_, name, _)| schema.has(name))
        .map(|(field, _, _)| *field)
}

/// A schema.
pub(super) fn show_schema(schema: &Object) -> String {
    let mut out = Struct::new();
    for (field, name, shape) in SCHEMA {
        let inner = schema.get(*name);
        match shape {
            Shape::Text => out.text(field, schema.text(name)),
            Shape::Flag => out.value(field, schema.is_true(name)),
            Shape::Any => out.any(field, inner),
            Shape::Schema => out.shown(field, schema.object(name).map(show_schema)),
            Shape::Schemas => out.shown(field, show_slice(inner, show_schema)),
            Shape::Rules => out.shown(field, show_slice(inner, show_rule)),
            Shape::SchemaMap => {
                let shown = schema.object(name).map(|map| {
                    let entries: Vec<String> = map
                        .iter()
                        .filter_map(|(key, inner)| {
                            let key = go::json(&Value::from(key.as_str()));
                            Some(format!("{key}:{}", show_schema(inner.as_object()?)))
                        })
                        .collect();
                    format!("{{{}}}", entries.join(","))
                });
                out.shown(field, shown);
            }
            Shape::SchemaOrArray => out.shown(field, inner.map(show_items)),
            Shape::SchemaOrBool => {
                let shown = inner.map(|inner| {
                    let mut out = Struct::new();
                    out.value("Allows", inner.as_bool().unwrap_or(true));
                    out.shown("Schema", inner.as_object().map(show_schema));
                    out.finish()
                });
                out.shown(field, shown);
            }
            Shape::Docs => {
                let shown = schema.object(name).map(|docs| {
                    let mut out = Struct::new();
                    out.text("Description", docs.text("description"));
                    out.text("URL", docs.text("url"));
                    out.finish()
                });
                out.shown(field, shown);
            }
        }
    }
    out.finish()
}

/// `items`: a schema or a list of them.
pub(super) fn show_items(items: &Value) -> String {
    let mut out = Struct::new();
    out.shown("Schema", items.as_object().map(show_schema));
    let list = items.as_array().map(Vec::as_slice).unwrap_or_default();
    out.shown("JSONSchemas", show_list(list, show_schema));
    out.finish()
}

/// A Go struct as JSON, being written.
struct Struct(String);

impl Struct {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn raw(&mut self, field: &str, shown: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _ = write!(self.0, "{comma}\"{field}\":{shown}");
    }

    fn text(&mut self, field: &str, text: &str) {
        self.value(field, text);
    }

    fn value(&mut self, field: &str, value: impl Into<Value>) {
        self.raw(field, &go::json(&value.into()));
    }

    fn any(&mut self, field: &str, value: Option<&Value>) {
        self.raw(field, &value.map_or_else(|| "null".to_owned(), go::json));
    }

    fn shown(&mut self, field: &str, shown: Option<String>) {
        self.raw(field, shown.as_deref().unwrap_or("null"));
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
