//! What a version tells of itself in OpenAPI: the schemas of its kind and of a list of them.
//!
//! Made from the stored definition when a document is written, and not kept: descriptions are read rarely and are most of a definition.
//! Version 3 says all; version 2 says no defaults, cannot say alternatives and nulls, and a schema that keeps unknown fields says nothing there, because old clients
//! would refuse such fields. Follows upstream's `controller/openapi/builder`.

use std::borrow::Cow;

use api::fields::Fields;
use apimachinery::Object;
use serde_json::{Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const CONVENTIONS: &str =
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

/// Which OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 2.0, `/openapi/v2`.
    V2,
    /// 3.0, `/openapi/v3`.
    V3,
}

impl Dialect {
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }

    /// A reference that also says something: in version 3, a reference has no siblings.
    fn described(self, name: &str, description: &str) -> Value {
        let reference = json!({ "$ref": self.reference(name) });
        match self {
            Self::V2 => json!({"$ref": self.reference(name), "description": description}),
            Self::V3 => json!({"allOf": [reference], "description": description}),
        }
    }
}

/// The schemas of a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// `com.example.v1.Widget`.
    pub name: String,
    /// Of an object.
    pub schema: Value,
    /// `com.example.v1.WidgetList`.
    pub list_name: String,
    /// Of a list.
    pub list_schema: Value,
}

/// The name of a kind's schema: the group backwards, `com.example.v1.Widget`.
pub fn model_name(group: &str, version: &str, kind: &str) -> String {
    let parts: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", parts.join("."))
}

/// The schemas of a version of a stored definition; none if it has no such version.
pub fn publish(definition: &Object, version: &str, dialect: Dialect) -> Option<Published> {
    let spec = definition.object("spec")?;
    let (_, found) = spec
        .objects("versions")
        .find(|(_, v)| v.text("name") == version)?;
    let names = spec.object("names")?;
    let group = spec.text("group");
    let (kind, list_kind) = (names.text("kind"), names.text("listKind"));
    let of_kind = |kind: &str| json!([{"group": group, "version": version, "kind": kind}]);
    let selectable: Vec<Value> = found
        .objects("selectableFields")
        .map(|(_, field)| {
            let path = field.text("jsonPath");
            json!({"fieldPath": path.strip_prefix('.').unwrap_or(path)})
        })
        .collect();
    let finish = |mut schema: Object, kind: &str| {
        schema.set("x-kubernetes-group-version-kind", of_kind(kind));
        if !selectable.is_empty() {
            schema.set("x-kubernetes-selectable-fields", selectable.clone());
        }
        Value::Object(schema)
    };
    let own = found
        .object("schema")
        .and_then(|s| s.object("openAPIV3Schema"));
    let name = model_name(group, version, kind);
    Some(Published {
        schema: finish(root(own, dialect), kind),
        list_schema: finish(list(names, &name, dialect), list_kind),
        list_name: model_name(group, version, list_kind),
        name,
    })
}

fn object_type() -> Object {
    let mut schema = Object::new();
    schema.set("type", "object");
    schema
}

fn root(own: Option<&Object>, dialect: Dialect) -> Object {
    let Some(own) = own else {
        return object_type();
    };
    if dialect == Dialect::V2 && own.is_true("x-kubernetes-preserve-unknown-fields") {
        return object_type();
    }
    let mut schema = node(own, dialect);
    let properties = schema.ensure_object("properties");
    properties.set(
        "metadata",
        dialect.described(
            &format!("{META}.ObjectMeta"),
            &format!("Standard object's metadata. More info: {CONVENTIONS}#metadata"),
        ),
    );
    type_meta(properties);
    schema
}

fn list(names: &Object, item: &str, dialect: Dialect) -> Object {
    let (kind, list_kind, plural) = (
        names.text("kind"),
        names.text("listKind"),
        names.text("plural"),
    );
    let mut schema = object_type();
    schema.set("description", format!("{list_kind} is a list of {kind}"));
    schema.set("required", json!(["items"]));
    let properties = schema.ensure_object("properties");
    properties.set(
        "items",
        json!({
            "type": "array",
            "description": format!("List of {plural}. More info: {CONVENTIONS}"),
            "items": {"$ref": dialect.reference(item)},
        }),
    );
    properties.set(
        "metadata",
        dialect.described(
            &format!("{META}.ListMeta"),
            &format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds"),
        ),
    );
    type_meta(properties);
    schema
}

fn type_meta(properties: &mut Object) {
    properties.set("apiVersion", json!({
        "type": "string",
        "description": format!("APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: {CONVENTIONS}#resources"),
    }));
    properties.set("kind", json!({
        "type": "string",
        "description": format!("Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: {CONVENTIONS}#types-kinds"),
    }));
}

/// One schema and those in it, as it is published.
fn node(schema: &Object, dialect: Dialect) -> Object {
    let mut out = unfolded(schema).into_owned();
    if dialect == Dialect::V2 {
        reduce(&mut out);
    }
    let below = |value: &mut Value| {
        if let Value::Object(inner) = value {
            *inner = node(inner, dialect);
        }
    };
    if let Some(properties) = out.object_mut("properties") {
        properties.values_mut().for_each(below);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = out.get_mut(name) {
            below(inner);
        }
    }
    let empty_in_v2 = dialect == Dialect::V2 && out.is_true("x-kubernetes-preserve-unknown-fields");
    if out.is_true("x-kubernetes-embedded-resource") && !empty_in_v2 {
        embedded(&mut out, dialect);
    }
    out
}

/// What `x-kubernetes-int-or-string` stands for, written out.
fn unfolded(schema: &Object) -> Cow<'_, Object> {
    let either = || json!([{"type": "integer"}, {"type": "string"}]);
    let written_out = |schema: &Object| schema.get("anyOf") == Some(&either());
    let in_first = || {
        schema
            .objects("allOf")
            .next()
            .is_some_and(|(_, s)| written_out(s))
    };
    if !schema.is_true("x-kubernetes-int-or-string") || written_out(schema) || in_first() {
        return Cow::Borrowed(schema);
    }
    let mut out = schema.clone();
    if schema.list("anyOf").is_empty() {
        out.set("anyOf", either());
    } else {
        let mut all = vec![json!({ "anyOf": either() })];
        all.extend(schema.list("allOf").iter().cloned());
        out.set("allOf", all);
    }
    Cow::Owned(out)
}

/// What version 2 can say of a schema.
fn reduce(schema: &mut Object) {
    for name in ["allOf", "oneOf", "anyOf", "not", "default"] {
        schema.remove(name);
    }
    if schema.remove("nullable") == Some(Value::Bool(true)) {
        for name in ["type", "items", "properties"] {
            schema.remove(name);
        }
    }
    let keeps = schema.is_true("x-kubernetes-preserve-unknown-fields");
    if keeps {
        schema.remove("items");
        schema.remove("properties");
    }
    let json_type = schema.text("type");
    if (json_type == "array" && !schema.has("items")) || (json_type == "object" && keeps) {
        schema.remove("type");
    }
    let is_nullable = |inner: Option<&Object>| inner.is_some_and(|s| s.is_true("nullable"));
    if is_nullable(schema.object("additionalProperties")) {
        schema.remove("required");
        return;
    }
    // A field that may be null cannot be said to be there.
    let required: Vec<Value> = schema
        .texts("required")
        .filter(|name| !is_nullable(schema.object("properties").and_then(|p| p.object(name))))
        .map(Value::from)
        .collect();
    if required.is_empty() {
        schema.remove("required");
    } else {
        schema.set("required", required);
    }
}

/// The type and the metadata that an embedded resource has, whatever its schema says.
fn embedded(schema: &mut Object, dialect: Dialect) {
    let properties = schema.ensure_object("properties");
    properties.set("apiVersion", json!({
        "type": "string",
        "description": format!("apiVersion defines the versioned schema of this representation of an object. More info: {CONVENTIONS}#resources"),
    }));
    properties.set("kind", json!({
        "type": "string",
        "description": format!("kind is a string value representing the type of this object. In CamelCase. More info: {CONVENTIONS}#types-kinds"),
    }));
    properties.set(
        "metadata",
        dialect.described(
            &format!("{META}.ObjectMeta"),
            &format!("Standard object's metadata. More info: {CONVENTIONS}#metadata"),
        ),
    );
    let mut required = schema.list("required").to_vec();
    for name in ["kind", "apiVersion"] {
        if !required.iter().any(|r| r == name) {
            required.push(name.into());
        }
    }
    schema.set("required", required);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(schema: Value, dialect: Dialect) -> Published {
        let definition = json!({"spec": {
            "group": "stable.example.com",
            "names": {"plural": "widgets", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}, "selectableFields": [{"jsonPath": ".spec.a"}]}]}});
        publish(definition.as_object().unwrap(), "v1", dialect).unwrap()
    }

    fn spec(spec: Value) -> Value {
        json!({"type": "object", "properties": {"spec": spec}})
    }

    #[test]
    fn names_references_and_kinds() {
        let v3 = published(spec(json!({"type": "object"})), Dialect::V3);
        assert_eq!(v3.name, "com.example.stable.v1.Widget");
        assert_eq!(v3.list_name, "com.example.stable.v1.WidgetList");
        assert_eq!(
            v3.schema["x-kubernetes-group-version-kind"],
            json!([{"group": "stable.example.com", "version": "v1", "kind": "Widget"}])
        );
        assert_eq!(
            v3.schema["x-kubernetes-selectable-fields"],
            json!([{"fieldPath": "spec.a"}])
        );
        assert_eq!(
            v3.schema["properties"]["metadata"]["allOf"],
            json!([{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}])
        );
        assert_eq!(
            v3.list_schema["properties"]["items"]["items"],
            json!({"$ref": "#/components/schemas/com.example.stable.v1.Widget"})
        );
        let v2 = published(spec(json!({"type": "object"})), Dialect::V2);
        assert_eq!(
            v2.schema["properties"]["metadata"]["$ref"],
            "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
        );
    }

    #[test]
    fn version_2_says_less() {
        let schema = spec(
            json!({"type": "object", "required": ["a", "n"], "anyOf": [{"required": ["a"]}], "properties": {
            "a": {"type": "string"},
            "n": {"type": "string", "nullable": true, "description": "d"},
            "port": {"x-kubernetes-int-or-string": true},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"x": {"type": "string"}}},
            "emb": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}}}),
        );
        let v3 = published(schema.clone(), Dialect::V3);
        let of = |p: &Published| p.schema["properties"]["spec"].clone();
        assert_eq!(
            of(&v3)["properties"]["port"]["anyOf"],
            json!([{"type": "integer"}, {"type": "string"}])
        );
        assert_eq!(
            of(&v3)["properties"]["emb"]["required"],
            json!(["kind", "apiVersion"])
        );
        let v2 = of(&published(schema, Dialect::V2));
        assert_eq!(v2["anyOf"], Value::Null);
        assert_eq!(v2["required"], json!(["a"]));
        assert_eq!(v2["properties"]["n"], json!({"description": "d"}));
        assert_eq!(
            v2["properties"]["any"],
            json!({"x-kubernetes-preserve-unknown-fields": true})
        );
        assert_eq!(
            v2["properties"]["port"],
            json!({"x-kubernetes-int-or-string": true})
        );
        let kept = published(
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            Dialect::V2,
        );
        assert_eq!(kept.schema["properties"], Value::Null);
    }
}
