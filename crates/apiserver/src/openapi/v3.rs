//! Writes OpenAPI 3.0 documents.

use std::sync::Arc;

use ::apiextensions::openapi::Published;
use api::ServedResource;
use apimachinery::gvk::GroupVersion;
use serde_json::{Map, Value, json};

use super::{
    operations::{self, Answer, Body, META, Media, Operation, PathItem},
    parameters::{Parameter, Place},
    schemas::{Document, Schemas},
};

// In the order of v2, where they are lists.
const OBJECTS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAMS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const LOG: &[&str] = &[
    "text/plain",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
pub(super) const TEXT: &[&str] = &["application/json", "application/yaml"];
/// Of custom resources: they know no strategic merge.
pub(super) const CUSTOM_PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];
pub(super) const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

impl Media {
    pub(super) fn types(self) -> &'static [&'static str] {
        match self {
            Self::Objects => OBJECTS,
            Self::Streams => STREAMS,
            Self::Log => LOG,
            Self::Any => &["*/*"],
            Self::Json => &["application/json"],
            Self::KeySet => &["application/jwk-set+json"],
            Self::Text => TEXT,
        }
    }
}

/// The document of `api/v1`, `apis/apps/v1`, `apis/apps`, `version`, …
pub(super) fn document(name: &str, rows: &[Arc<ServedResource>]) -> Value {
    let version = name.strip_prefix("apis/").or_else(|| {
        name.strip_prefix("api/")
            .filter(|_| !name.starts_with("apis"))
    });
    let version = match version {
        Some(_) if name.starts_with("api/") => GroupVersion::parse(&name["api/".len()..]),
        Some(rest) if rest.contains('/') => GroupVersion::parse(rest),
        _ => None,
    };
    let items = match &version {
        Some(of) => operations::of_version(&of.group, &of.version, rows),
        None => operations::of_root(name),
    };
    let of = version.map_or(Document::Root, Document::Version);
    let mut schemas = Schemas::new(api::facts::schema(), of);
    let paths = self::paths(&items, &mut schemas);
    let mut document = write(
        paths,
        schemas.finish(),
        &json!({"title": "Kubernetes", "version": "1.36"}),
    );
    document["components"]["securitySchemes"] = json!({"BearerToken": {
        "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
    }});
    document
}

/// The document of a group and version of custom resources.
pub(super) fn custom(
    of: &GroupVersion,
    rows: &[Arc<ServedResource>],
    published: Vec<Published>,
) -> Value {
    let items = operations::of_custom(&of.group, &of.version, rows);
    let mut schemas = Schemas::new(api::facts::schema(), Document::Custom);
    let paths = self::paths(&items, &mut schemas);
    for name in ["ListMeta", "ObjectMeta"] {
        schemas.refer(&format!("{META}.{name}"));
    }
    let mut schemas = schemas.finish();
    for kind in published {
        schemas.insert(kind.name, kind.schema);
        schemas.insert(kind.list_name, kind.list_schema);
    }
    write(
        paths,
        schemas,
        &json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}),
    )
}

fn paths(items: &[PathItem], schemas: &mut Schemas<'_>) -> Map<String, Value> {
    let mut paths: Vec<(String, Value)> = items
        .iter()
        .map(|item| (item.path.clone(), path_item(item, schemas)))
        .collect();
    paths.sort_by(|(a, _), (b, _)| a.cmp(b));
    paths.into_iter().collect()
}

fn write(paths: Map<String, Value>, schemas: Map<String, Value>, info: &Value) -> Value {
    let mut components = json!({});
    if !schemas.is_empty() {
        components["schemas"] = schemas.into();
    }
    json!({
        "openapi": "3.0.0",
        "info": info,
        "paths": paths,
        "components": components,
    })
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
    let mut value = json!({"tags": [operation.tag], "operationId": operation.id});
    if !operation.description.is_empty() {
        value["description"] = operation.description.as_str().into();
    }
    if !operation.parameters.is_empty() {
        value["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    let content = |media: &[&str], schema: &Value| -> Map<String, Value> {
        let media = media.iter();
        media
            .map(|media| ((*media).to_owned(), json!({ "schema": schema })))
            .collect()
    };
    let (any, patches) = if operation.custom {
        (TEXT, CUSTOM_PATCHES)
    } else {
        (&["*/*"][..], PATCHES)
    };
    match &operation.body {
        Body::None => {}
        Body::Object(name) => {
            let content = content(any, &schemas.refer(name));
            value["requestBody"] = json!({"content": content, "required": true});
        }
        Body::DeleteOptions => {
            let schema = schemas.refer(&format!("{META}.DeleteOptions"));
            value["requestBody"] = json!({"content": content(any, &schema)});
        }
        Body::Patch => {
            let schema = schemas.refer(&format!("{META}.Patch"));
            let content = content(patches, &schema);
            value["requestBody"] = json!({"content": content, "required": true});
        }
    }
    value["responses"] = responses(&operation.answer, schemas);
    if !operation.action.is_empty() {
        value["x-kubernetes-action"] = operation.action.into();
    }
    if let Some(gvk) = &operation.kind {
        value["x-kubernetes-group-version-kind"] =
            json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind});
    }
    value
}

fn responses(answer: &Answer, schemas: &mut Schemas<'_>) -> Value {
    let schema = match answer.schema.as_str() {
        "" => json!({"type": "string"}),
        name => schemas.refer(name),
    };
    let content: Map<String, Value> = answer
        .media
        .types()
        .iter()
        .map(|media| ((*media).to_owned(), json!({ "schema": schema })))
        .collect();
    let mut responses = Map::new();
    for code in answer.codes {
        responses.insert(
            code.to_string(),
            json!({"description": phrase(*code), "content": content}),
        );
    }
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    responses.into()
}

pub(super) fn phrase(code: u16) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        _ => "Unauthorized",
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let mut value =
        json!({"name": parameter.name, "schema": {"type": parameter.sort, "uniqueItems": true}});
    match parameter.place {
        Place::Path => {
            value["in"] = "path".into();
            value["required"] = true.into();
        }
        Place::Query => value["in"] = "query".into(),
    }
    if !parameter.description.is_empty() {
        value["description"] = parameter.description.as_str().into();
    }
    value
}
