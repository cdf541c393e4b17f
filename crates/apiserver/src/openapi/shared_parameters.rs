//! Parameters that many operations take stand in the OpenAPI 2.0 document once, and are referred to.
//!
//! Which are shared, and what they are called, follows upstream's `builder/parameters.go`: all but those that speak of one kind, and two by
//! which older clients found out what a server can do. The name ends in a hash of the parameter's JSON as upstream writes it.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// In which order upstream writes the keys of a parameter.
const KEYS: [&str; 7] = [
    "uniqueItems",
    "type",
    "description",
    "name",
    "in",
    "required",
    "schema",
];
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// Puts references in place of the shared parameters of all paths, and returns the parameters by name.
pub(super) fn share(paths: &mut Map<String, Value>) -> Map<String, Value> {
    let mut found = BTreeMap::new();
    each(paths, |parameter| {
        if is_shared(parameter) {
            found.insert(json_of(parameter), parameter.clone());
        }
    });
    let mut shared = Map::new();
    let mut names = BTreeMap::new();
    for (json, parameter) in found {
        let own = parameter["name"].as_str().unwrap_or("param");
        let mut name = format!("{own}-{}", hash(&json));
        let mut clash = 0;
        while shared.contains_key(&name) {
            clash += 1;
            name = format!("{own}-{clash}");
        }
        shared.insert(name.clone(), parameter);
        names.insert(json, name);
    }
    each(paths, |parameter| {
        if let Some(name) = names.get(&json_of(parameter)) {
            *parameter = json!({ "$ref": format!("#/parameters/{name}") });
        }
    });
    shared
}

fn json_of(parameter: &Value) -> String {
    let entries = KEYS.iter().filter_map(|key| {
        let value = parameter.get(key)?;
        Some(format!("\"{key}\":{value}"))
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}

/// All parameters: those of operations, and those of paths.
fn each(paths: &mut Map<String, Value>, mut visit: impl FnMut(&mut Value)) {
    for item in paths.values_mut() {
        for method in METHODS {
            let parameters = item
                .get_mut(method)
                .and_then(|operation| operation.get_mut("parameters"));
            visit_all(parameters, &mut visit);
        }
        visit_all(item.get_mut("parameters"), &mut visit);
    }
}

fn visit_all(parameters: Option<&mut Value>, visit: &mut impl FnMut(&mut Value)) {
    let parameters = parameters.and_then(Value::as_array_mut);
    parameters.into_iter().flatten().for_each(visit);
}

fn is_shared(parameter: &Value) -> bool {
    let text = |key: &str| parameter[key].as_str().unwrap_or_default();
    match (text("in"), text("name")) {
        ("query" | "path", "name") | ("query", "fieldValidation" | "dryRun") => false,
        ("body", "body") => parameter["schema"]["$ref"]
            .as_str()
            .is_none_or(|schema| schema.starts_with("#/definitions/io.k8s.apimachinery")),
        _ => parameter.get("$ref").is_none(),
    }
}

/// The first six bytes of FNV-1, 64 bits.
fn hash(text: &str) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = text.bytes().fold(OFFSET, |hash, byte| {
        hash.wrapping_mul(PRIME) ^ u64::from(byte)
    });
    BASE64_URL_SAFE_NO_PAD.encode(&hash.to_be_bytes()[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_take_stands_once() {
        let namespace = json!({
            "uniqueItems": true, "type": "string", "description": "object name and auth scope, such as for teams and projects",
            "name": "namespace", "in": "path", "required": true,
        });
        let dry_run =
            json!({"uniqueItems": true, "type": "string", "name": "dryRun", "in": "query"});
        let generic = json!({"name": "body", "in": "body", "required": true,
            "schema": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}});
        let own = json!({"name": "body", "in": "body", "schema": {"$ref": "#/definitions/io.k8s.api.core.v1.Pod"}});
        let paths = json!({"/a": {"patch": {"parameters": [generic, dry_run, own]}, "parameters": [namespace]}});
        let mut paths = paths.as_object().unwrap().clone();
        let shared = share(&mut paths);
        // As upstream calls them.
        let names: Vec<&String> = shared.keys().collect();
        assert_eq!(names, ["body-78PwaGsr", "namespace-vgWSWtn3"]);
        let reference = json!({"$ref": "#/parameters/namespace-vgWSWtn3"});
        assert_eq!(paths["/a"]["parameters"], json!([reference]));
        let patch = &paths["/a"]["patch"]["parameters"];
        assert_eq!(patch[0], json!({"$ref": "#/parameters/body-78PwaGsr"}));
        assert_eq!(patch[1], dry_run);
        assert_eq!(patch[2], own);
        // Once done, there is nothing more to do.
        assert!(share(&mut paths).is_empty());
    }
}
