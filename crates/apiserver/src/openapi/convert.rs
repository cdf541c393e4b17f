//! OpenAPI 2.0 as 3.0: for servers that know the older one alone.
//!
//! Lossy in what Kubernetes does not use, as upstream's `openapiconv` is: forms, headers of answers, collection formats.

use serde_json::{Map, Value, json};

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
/// What of an operation is the same in both.
const KEPT: [&str; 6] = [
    "tags",
    "summary",
    "description",
    "operationId",
    "deprecated",
    "externalDocs",
];

/// The document.
pub(crate) fn to_v3(document: &Value) -> Value {
    let definitions = document["definitions"].as_object().into_iter().flatten();
    let schemas: Map<String, Value> = definitions
        .map(|(name, schema)| (name.clone(), schema_of(schema)))
        .collect();
    let items = document["paths"].as_object().into_iter().flatten();
    let paths: Map<String, Value> = items
        .map(|(path, item)| (path.clone(), path_item(item, document)))
        .collect();
    json!({
        "openapi": "3.0.0",
        "info": document["info"],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": document["securityDefinitions"]},
    })
}

fn path_item(item: &Value, document: &Value) -> Value {
    let mut converted = extensions(item);
    let shared = parameters(&item["parameters"], document);
    for method in METHODS {
        if let Some(operation) = item.get(method) {
            converted.insert(method.to_owned(), self::operation(operation, document));
        }
    }
    if !shared.plain.is_empty() {
        converted.insert("parameters".to_owned(), shared.plain.into());
    }
    converted.into()
}

fn operation(operation: &Value, document: &Value) -> Value {
    let mut converted = Map::new();
    for key in KEPT {
        if let Some(value) = operation.get(key) {
            converted.insert(key.to_owned(), value.clone());
        }
    }
    let Parameters { plain, body } = parameters(&operation["parameters"], document);
    if !plain.is_empty() {
        converted.insert("parameters".to_owned(), plain.into());
    }
    if let Some(body) = body {
        let content = content(&operation["consumes"], &schema_of(&body["schema"]));
        let mut request = json!({ "content": content });
        for key in ["description", "required"] {
            if let Some(value) = body.get(key) {
                request[key] = value.clone();
            }
        }
        converted.insert("requestBody".to_owned(), request);
    }
    let answers = operation["responses"].as_object().into_iter().flatten();
    let answers: Map<String, Value> = answers
        .map(|(code, answer)| {
            let mut converted = json!({"description": answer["description"]});
            if let Some(schema) = answer.get("schema") {
                let content = content(&operation["produces"], &schema_of(schema));
                converted["content"] = content.into();
            }
            (code.clone(), converted)
        })
        .collect();
    converted.insert("responses".to_owned(), answers.into());
    converted.extend(extensions(operation));
    converted.into()
}

/// The body stands apart in 3.0.
struct Parameters<'d> {
    plain: Vec<Value>,
    body: Option<&'d Value>,
}

fn parameters<'d>(listed: &'d Value, document: &'d Value) -> Parameters<'d> {
    let mut found = Parameters {
        plain: Vec::new(),
        body: None,
    };
    for parameter in listed.as_array().into_iter().flatten() {
        let parameter = match parameter["$ref"].as_str() {
            Some(reference) => {
                let name = reference.strip_prefix("#/parameters/").unwrap_or_default();
                &document["parameters"][name]
            }
            None => parameter,
        };
        match parameter["in"].as_str() {
            Some("body") => found.body = Some(parameter),
            Some("path" | "query" | "header") => found.plain.push(plain(parameter)),
            _ => {}
        }
    }
    found
}

/// What a parameter may be stands in a schema of its own.
fn plain(parameter: &Value) -> Value {
    const OWN: [&str; 5] = ["name", "in", "description", "required", "allowEmptyValue"];
    let (mut converted, mut schema) = (Map::new(), Map::new());
    for (key, value) in parameter.as_object().into_iter().flatten() {
        if OWN.contains(&&**key) || key.starts_with("x-") {
            converted.insert(key.clone(), value.clone());
        } else if key != "collectionFormat" {
            schema.insert(key.clone(), value.clone());
        }
    }
    converted.insert("schema".to_owned(), schema.into());
    converted.into()
}

fn content(media_types: &Value, schema: &Value) -> Map<String, Value> {
    let named: Vec<&str> = media_types
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let named = if named.is_empty() {
        vec!["application/json"]
    } else {
        named
    };
    named
        .into_iter()
        .map(|media_type| (media_type.to_owned(), json!({ "schema": schema })))
        .collect()
}

fn extensions(value: &Value) -> Map<String, Value> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter(|(key, _)| key.starts_with("x-"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// References lead elsewhere, and may have nothing beside them.
fn schema_of(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            let reference = object.get("$ref").and_then(Value::as_str);
            if let Some(name) = reference.and_then(|r| r.strip_prefix("#/definitions/")) {
                let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
                if object.len() == 1 {
                    return reference;
                }
                let beside = object.iter().filter(|(key, _)| *key != "$ref");
                let mut all: Map<String, Value> = beside
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                all.insert("allOf".to_owned(), json!([reference]));
                return all.into();
            }
            object
                .iter()
                .map(|(key, value)| (key.clone(), schema_of(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(schema_of).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_converted() {
        let document = json!({
            "swagger": "2.0", "info": {"title": "t"},
            "definitions": {"A": {"properties": {"b": {"$ref": "#/definitions/B", "description": "d"}}}},
            "parameters": {"p": {"name": "p", "in": "query", "type": "string", "uniqueItems": true}},
            "paths": {"/a": {
                "parameters": [{"$ref": "#/parameters/p"}],
                "post": {
                    "operationId": "create", "consumes": ["*/*"], "produces": ["application/json"], "x-kubernetes-action": "post",
                    "parameters": [{"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/A"}}],
                    "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/A"}}},
                },
            }},
        });
        let v3 = to_v3(&document);
        let a = json!({"$ref": "#/components/schemas/A"});
        let item = &v3["paths"]["/a"];
        assert_eq!(
            item["parameters"],
            json!([{"name": "p", "in": "query", "schema": {"type": "string", "uniqueItems": true}}])
        );
        assert_eq!(
            item["post"],
            json!({
                "operationId": "create", "x-kubernetes-action": "post",
                "requestBody": {"content": {"*/*": {"schema": a}}, "required": true},
                "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": a}}}},
            })
        );
        assert_eq!(
            v3["components"]["schemas"]["A"]["properties"]["b"],
            json!({"description": "d", "allOf": [{"$ref": "#/components/schemas/B"}]})
        );
    }
}
