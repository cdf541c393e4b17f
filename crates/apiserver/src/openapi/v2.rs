//! Writes the OpenAPI 2.0 document: everything in one.

use std::{collections::BTreeSet, sync::Arc};

use ::apiextensions::openapi::Published;
use api::ServedResource;
use serde_json::{Map, Value, json};

use super::{
    operations::{self, Body, META, Media, Operation, PathItem},
    parameters::{Parameter, Place},
    schemas::{Document, REFERENCE, Schemas},
    shared_parameters,
    v3::{CUSTOM_PATCHES, PATCHES, TEXT, phrase},
};

const DEFINITION: &str = "#/definitions/";

/// The document of the built-in resources and of the custom ones, with the schemas that the latter have.
pub(super) fn document(
    rows: &[Arc<ServedResource>],
    custom: &[Arc<ServedResource>],
    published: Vec<Published>,
) -> Value {
    let mut items = Vec::new();
    for row in custom {
        let (group, version) = (&row.gvr.group, &row.gvr.version);
        items.extend(operations::of_custom(
            group,
            version,
            std::slice::from_ref(row),
        ));
    }
    for name in [
        "api",
        "apis",
        "version",
        ".well-known/openid-configuration",
        "openid/v1/jwks",
    ] {
        items.extend(operations::of_root(name));
    }
    let mut seen = BTreeSet::new();
    for row in rows {
        let (group, version) = (&*row.gvr.group, &*row.gvr.version);
        if !group.is_empty() && seen.insert((group, "")) {
            items.extend(operations::of_root(&format!("apis/{group}")));
        }
        if seen.insert((group, version)) {
            items.extend(operations::of_version(group, version, rows));
        }
    }
    let mut schemas = Schemas::new(api::facts::schema(), Document::All);
    let mut paths: Vec<(String, Value)> = items
        .iter()
        .map(|item| (item.path.clone(), path_item(item, &mut schemas)))
        .collect();
    paths.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut paths: Map<String, Value> = paths.into_iter().collect();
    let parameters = shared_parameters::share(&mut paths);
    let mut definitions: Map<String, Value> = schemas
        .finish()
        .into_iter()
        .map(|(name, mut schema)| {
            rewrite(&mut schema);
            (name, schema)
        })
        .collect();
    for kind in published {
        definitions.insert(kind.name, kind.schema);
        definitions.insert(kind.list_name, kind.list_schema);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "1.36"},
        "paths": paths,
        "definitions": definitions,
        "parameters": parameters,
        "securityDefinitions": {"BearerToken": {
            "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header",
        }},
        "security": [{"BearerToken": []}],
    })
}

/// From 3.0: references stand by themselves, there is no `oneOf`, and no default is told.
fn rewrite(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(all)) = object.remove("allOf")
                && let Some(Value::Object(reference)) = all.into_iter().next()
            {
                object.extend(reference);
            }
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = reference.replace(REFERENCE, DEFINITION);
            }
            if object.remove("oneOf").is_some() {
                object.insert("type".to_owned(), "string".into());
            }
            object.remove("default");
            for (key, value) in object.iter_mut() {
                match value {
                    // Names of fields, which may be those of keywords.
                    Value::Object(properties) if key == "properties" => {
                        properties.values_mut().for_each(rewrite)
                    }
                    value => rewrite(value),
                }
            }
        }
        Value::Array(array) => array.iter_mut().for_each(rewrite),
        _ => {}
    }
}

fn refer(schemas: &mut Schemas<'_>, name: &str) -> Value {
    let mut reference = schemas.refer(name);
    rewrite(&mut reference);
    reference
}

fn path_item(item: &PathItem, schemas: &mut Schemas<'_>) -> Value {
    let mut value: Map<String, Value> = Map::new();
    for operation in &item.operations {
        value.insert(
            operation.method.to_owned(),
            self::operation(operation, schemas),
        );
    }
    if !item.parameters.is_empty() {
        value.insert(
            "parameters".to_owned(),
            item.parameters.iter().map(parameter).collect(),
        );
    }
    value.into()
}

fn operation(operation: &Operation, schemas: &mut Schemas<'_>) -> Value {
    let consumes: Vec<&str> = match (&operation.body, operation.answer.media) {
        (Body::Patch, _) if operation.custom => CUSTOM_PATCHES.to_vec(),
        (_, Media::Text) => TEXT.to_vec(),
        (Body::Patch, _) => PATCHES.to_vec(),
        (Body::None, media) if operation.action.is_empty() => match media {
            Media::Objects | Media::Json if !operation.description.is_empty() => {
                media.types().to_vec()
            }
            _ => Vec::new(),
        },
        _ => vec!["*/*"],
    };
    let mut value = json!({
        "tags": [operation.tag], "operationId": operation.id, "schemes": ["https"],
        "produces": operation.answer.media.types(),
    });
    if !consumes.is_empty() {
        value["consumes"] = consumes.into();
    }
    if !operation.description.is_empty() {
        value["description"] = operation.description.as_str().into();
    }
    let body = match &operation.body {
        Body::None => None,
        Body::Object(name) => Some((refer(schemas, name), true)),
        Body::DeleteOptions => Some((refer(schemas, &format!("{META}.DeleteOptions")), false)),
        Body::Patch => Some((refer(schemas, &format!("{META}.Patch")), true)),
    };
    let body = body.map(|(schema, required)| {
        let mut body = json!({"name": "body", "in": "body"});
        if required {
            body["required"] = true.into();
        }
        body["schema"] = schema;
        body
    });
    let parameters: Vec<Value> = body
        .into_iter()
        .chain(operation.parameters.iter().map(parameter))
        .collect();
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    let schema = match operation.answer.schema.as_str() {
        "" => json!({"type": "string"}),
        name => refer(schemas, name),
    };
    let mut responses = Map::new();
    for code in operation.answer.codes {
        responses.insert(
            code.to_string(),
            json!({"description": phrase(*code), "schema": schema}),
        );
    }
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    value["responses"] = responses.into();
    if !operation.action.is_empty() {
        value["x-kubernetes-action"] = operation.action.into();
    }
    if let Some(gvk) = &operation.kind {
        value["x-kubernetes-group-version-kind"] =
            json!({"group": gvk.group, "kind": gvk.kind, "version": gvk.version});
    }
    value
}

fn parameter(parameter: &Parameter) -> Value {
    let mut value = json!({"uniqueItems": true, "type": parameter.sort});
    if !parameter.description.is_empty() {
        value["description"] = parameter.description.as_str().into();
    }
    value["name"] = parameter.name.as_str().into();
    match parameter.place {
        Place::Path => {
            value["in"] = "path".into();
            value["required"] = true.into();
        }
        Place::Query => value["in"] = "query".into(),
    }
    value
}
