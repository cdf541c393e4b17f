//! The schemas of types, as OpenAPI v3 has them; [`super::v2`] rewrites them for v2.

use std::collections::BTreeSet;

use api::descriptions::Descriptions;
use apimachinery::{
    gvk::GroupVersion,
    schema::{
        Either, Field, ListSemantics, MapType, ObjectType, Omit, PatchStrategy, Scalar, Schema,
        Type, TypeRef, Union,
    },
};
use serde_json::{Map, Value, json};

use super::{everywhere, names::upper_first, operations::META};

/// Before a schema's name in a reference.
pub(super) const REFERENCE: &str = "#/components/schemas/";

/// What a document is of.
pub(super) enum Document {
    /// All groups.
    All,
    /// What belongs to no version.
    Root,
    Version(GroupVersion),
    /// Custom resources.
    Custom,
}

/// Writes schemas, and remembers to which others they refer.
pub(super) struct Schemas<'s> {
    schema: &'s Schema,
    of: Document,
    wanted: BTreeSet<String>,
    /// In memory for as long as a document is being written.
    descriptions: Descriptions,
}

impl<'s> Schemas<'s> {
    pub(super) fn new(schema: &'s Schema, of: Document) -> Self {
        Self {
            schema,
            of,
            wanted: BTreeSet::new(),
            descriptions: Descriptions::read(),
        }
    }

    /// A reference to a type by name, whose schema will be in [`Schemas::finish`].
    pub(super) fn refer(&mut self, name: &str) -> Value {
        self.wanted.insert(name.to_owned());
        json!({ "$ref": format!("{REFERENCE}{name}") })
    }

    /// The schemas of all types referred to, and of all that those refer to.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        let mut done = Map::new();
        while let Some(name) = self.wanted.pop_first() {
            if !done.contains_key(&name) {
                let mut schema = self.named(&name);
                if let Some(text) = self.describe(&name) {
                    schema["description"] = text.into();
                }
                done.insert(name, schema);
            }
        }
        done.sort_keys();
        done
    }

    /// What is said of a type.
    fn describe(&self, name: &str) -> Option<String> {
        let described = self.descriptions.of_type(name);
        described.map(str::to_owned).or_else(|| {
            let ty = self.schema.type_named(name).filter(|ty| is_list(*ty))?;
            let of = ty.object()?.go_name();
            let kind = of.strip_suffix("List").unwrap_or(of);
            Some(format!("{of} holds objects of kind {kind}."))
        })
    }

    /// What is said of a field. The lists of kinds are all alike, and described nowhere else.
    fn describe_field(&self, owner: TypeRef<'s>, field: &str) -> Option<&str> {
        let name = &owner.object()?.name;
        self.descriptions
            .of(name, field)
            .or_else(|| match field {
                "object" if name.ends_with(".WatchEvent") => {
                    Some("What changed, as it is now or was last; a bookmark's resource version; what went wrong, as a Status.")
                }
                _ if !is_list(owner) => None,
                // Of all kinds the same is said.
                "apiVersion" | "kind" => self.descriptions.of(&format!("{META}.Status"), field),
                "metadata" => Some("What is known of the list: its resource version, and how to ask for the rest of it."),
                "items" => Some("The objects."),
                _ => None,
            })
    }

    fn named(&mut self, name: &str) -> Value {
        match name {
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
                json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
            }
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            "io.k8s.apimachinery.pkg.runtime.RawExtension" => json!({"type": "object"}),
            _ => match name
                .strip_prefix(META)
                .and_then(|rest| rest.strip_prefix('.'))
            {
                Some("Time" | "MicroTime") => json!({"type": "string", "format": "date-time"}),
                Some("Duration") => json!({"type": "string"}),
                Some("Patch" | "FieldsV1") => json!({"type": "object"}),
                _ => match self
                    .schema
                    .type_named(name)
                    .and_then(|ty| Some((ty, ty.object()?)))
                {
                    Some((ty, object)) => self.object(ty, object),
                    // Any JSON: `JSON`, `JSONSchemaPropsOrBool`.
                    None => json!({}),
                },
            },
        }
    }

    fn object(&mut self, ty: TypeRef<'s>, object: &'s ObjectType) -> Value {
        let mut schema = json!({"type": "object"});
        let required: Vec<&str> = object
            .fields()
            .iter()
            .filter(|field| field.required)
            .map(|field| &*field.name)
            .collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        let mut properties: Vec<(&str, Value)> = object
            .fields()
            .iter()
            .map(|field| {
                let text = self.describe_field(ty, &field.name);
                let text = text.map(|text| with_values(text, ty.at(field.ty), field));
                (&*field.name, self.property(ty, field, text))
            })
            .collect();
        properties.sort_by_key(|(name, _)| *name);
        if !properties.is_empty() {
            schema["properties"] = properties
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
        }
        if object.atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        let kinds = self.kinds(&object.name);
        if !kinds.is_empty() {
            schema["x-kubernetes-group-version-kind"] = kinds.into();
        }
        if let Some(union) = &object.union {
            schema["x-kubernetes-unions"] = json!([unions(union)]);
        }
        schema
    }

    /// The kinds that a type is; those of every group are, in the document of a version, the core group's and that version's.
    fn kinds(&self, name: &str) -> Vec<Value> {
        let own = name
            .strip_prefix(META)
            .and_then(|rest| rest.strip_prefix('.'));
        let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "kind": kind, "version": version});
        if let Some(own) = own.filter(|own| everywhere::has(own)) {
            let core = kind("", "v1", own);
            return match &self.of {
                Document::All => everywhere::of_all(own),
                Document::Custom => everywhere::of_clients(own),
                Document::Version(of) if !of.group.is_empty() => {
                    vec![core, kind(&of.group, &of.version, own)]
                }
                Document::Version(_) | Document::Root => vec![core],
            };
        }
        let named = self
            .schema
            .kinds()
            .filter(|(_, ty)| ty.object().is_some_and(|object| &*object.name == name));
        let mut kinds: Vec<_> = named.map(|(gvk, _)| gvk).collect();
        kinds.sort();
        kinds
            .into_iter()
            .map(|gvk| kind(&gvk.group, &gvk.version, &gvk.kind))
            .collect()
    }

    fn property(&mut self, owner: TypeRef<'s>, field: &Field, text: Option<String>) -> Value {
        let ty = owner.at(field.ty);
        let mut schema = self.value(ty);
        let default = default_of(ty, field);
        if is_unmarked_list(owner, field)
            && let Some(schema) = schema.as_object_mut()
        {
            schema.remove("x-kubernetes-list-type");
        }
        // Beside a reference nothing else may stand.
        if schema.get("$ref").is_some() && (text.is_some() || default.is_some() || field.granular) {
            schema = json!({ "allOf": [schema] });
        }
        if let Some(text) = text {
            schema["description"] = text.into();
        }
        if let Some(default) = default {
            schema["default"] = default;
        }
        if field.granular {
            schema["x-kubernetes-map-type"] = "granular".into();
        }
        if !field.enum_values.is_empty() {
            let of = match ty.node() {
                Type::List(_) => &mut schema["items"],
                Type::Map(_) => &mut schema["additionalProperties"],
                _ => &mut schema,
            };
            let values = field.enum_values.iter();
            of["enum"] = values.map(|value| Value::from(&**value)).collect();
        }
        let PatchStrategy {
            merge,
            retain_keys,
            replace,
            merge_key,
        } = &field.patch;
        let strategies: Vec<&str> = [
            (*merge, "merge"),
            (*retain_keys, "retainKeys"),
            (*replace, "replace"),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect();
        if !strategies.is_empty() {
            schema["x-kubernetes-patch-strategy"] = strategies.join(",").into();
        }
        if let Some(key) = merge_key {
            schema["x-kubernetes-patch-merge-key"] = (&**key).into();
        }
        schema
    }

    fn value(&mut self, ty: TypeRef<'s>) -> Value {
        match ty.node() {
            Type::Scalar(scalar) => self.scalar(*scalar),
            Type::Map(MapType { values, atomic, .. }) => {
                let mut values = self.value(ty.at(*values));
                if let Some(values) = values.as_object_mut() {
                    values.remove("x-kubernetes-list-type");
                }
                let mut schema = json!({"type": "object", "additionalProperties": values});
                if *atomic {
                    schema["x-kubernetes-map-type"] = "atomic".into();
                }
                schema
            }
            Type::List(list) => {
                let mut schema = json!({"type": "array", "items": self.value(ty.at(list.items))});
                match &list.semantics {
                    ListSemantics::Atomic => schema["x-kubernetes-list-type"] = "atomic".into(),
                    ListSemantics::Set => schema["x-kubernetes-list-type"] = "set".into(),
                    ListSemantics::Map(keys) => {
                        schema["x-kubernetes-list-type"] = "map".into();
                        schema["x-kubernetes-list-map-keys"] =
                            keys.iter().map(|key| Value::from(&**key)).collect();
                    }
                }
                schema
            }
            Type::Object(object) => self.refer(&object.name),
            Type::Either(either) => {
                let name = match either {
                    Either::ObjectOrList(_) => "JSONSchemaPropsOrArray",
                    Either::ObjectOrBool(_) => "JSONSchemaPropsOrBool",
                    Either::ObjectOrStrings(_) => "JSONSchemaPropsOrStringArray",
                };
                self.refer(&format!(
                    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.{name}"
                ))
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        match scalar {
            Scalar::String => json!({"type": "string"}),
            Scalar::Bool => json!({"type": "boolean"}),
            Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
            Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
            Scalar::Double => json!({"type": "number", "format": "double"}),
            Scalar::Bytes => json!({"type": "string", "format": "byte"}),
            Scalar::Quantity => self.refer("io.k8s.apimachinery.pkg.api.resource.Quantity"),
            Scalar::IntOrString => self.refer("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            Scalar::Time => self.refer(&format!("{META}.Time")),
            Scalar::MicroTime => self.refer(&format!("{META}.MicroTime")),
            Scalar::Duration => self.refer(&format!("{META}.Duration")),
            Scalar::FieldsV1 => self.refer(&format!("{META}.FieldsV1")),
            Scalar::RawExtension => self.refer("io.k8s.apimachinery.pkg.runtime.RawExtension"),
            Scalar::Json => {
                self.refer("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON")
            }
        }
    }
}

/// The fields that are told apart, with their names in Go.
fn unions(union: &Union) -> Value {
    let fields = union.fields.iter();
    let fields: Map<String, Value> = fields
        .map(|field| (field.to_string(), upper_first(field).into()))
        .collect();
    let mut value = json!({ "fields-to-discriminateBy": fields });
    if let Some(discriminator) = &union.discriminator {
        value["discriminator"] = (**discriminator).into();
    }
    value
}

/// A description, with the values that the field itself may have.
fn with_values(text: &str, ty: TypeRef<'_>, field: &Field) -> String {
    if field.enum_values.is_empty() || !matches!(ty.node(), Type::Scalar(_)) {
        return text.to_owned();
    }
    let values = field.enum_values.iter();
    let values: String = values.map(|value| format!("\n - `\"{value}\"`")).collect();
    format!("{text}\n\nPossible enum values:{values}")
}

/// Upstream's lists of objects, and its named list types, do not say how they are merged.
fn is_unmarked_list(owner: TypeRef<'_>, field: &Field) -> bool {
    let Some(list) = owner.at(field.ty).list() else {
        return false;
    };
    (list.wrapped && list.semantics == ListSemantics::Atomic)
        || (&*field.name == "items" && is_list(owner))
}

/// Whether a type is the list of a kind.
fn is_list(ty: TypeRef<'_>) -> bool {
    let metadata = ty.field("metadata").and_then(|(_, ty)| ty.object());
    ty.field("items").is_some() && metadata.is_some_and(|meta| meta.go_name() == "ListMeta")
}

/// The stated default, or what Go's zero value shows: of structs held by value, and of scalars that are always written.
fn default_of(ty: TypeRef<'_>, field: &Field) -> Option<Value> {
    if field.default.is_some() {
        return field.default.clone();
    }
    if field.pointer && !field.zero_default {
        return None;
    }
    match ty.node() {
        Type::Object(_) => Some(json!({})),
        Type::Scalar(scalar) if field.omit == Omit::Never || field.zero_default => match scalar {
            Scalar::String => Some("".into()),
            Scalar::Int32 | Scalar::Int64 | Scalar::Double => Some(0.into()),
            Scalar::Bool => Some(false.into()),
            _ => None,
        },
        _ => None,
    }
}
