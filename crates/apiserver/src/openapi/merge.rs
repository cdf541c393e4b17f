//! OpenAPI 2.0 documents of other servers become part of this server's.
//!
//! Paths that are taken stay as they are. Definitions and parameters of the same name and content are one; where the content differs, the newcomer
//! is renamed (`io.example.Thing_v2`), and so are all references to it. Which kinds a definition stands for does not count as
//! content: both servers' are kept. Follows upstream's `aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

const KINDS: &str = "x-kubernetes-group-version-kind";
/// Where what is referred to stands, and how.
const SECTIONS: [(&str, &str); 2] = [
    ("definitions", "#/definitions/"),
    ("parameters", "#/parameters/"),
];

/// The part of a document that describes the paths below a prefix: with what they refer to, and nothing else.
pub(crate) fn only_below(mut document: Value, prefix: &str) -> Value {
    if let Some(paths) = section_mut(&mut document, "paths") {
        paths.retain(|path, _| path.starts_with(prefix));
    }
    let mut used = BTreeSet::new();
    let mut unread: Vec<String> = references(&document["paths"]).into_iter().collect();
    while let Some(reference) = unread.pop() {
        let target = SECTIONS.iter().find_map(|(section, start)| {
            let name = reference.strip_prefix(start)?;
            document[section].get(name)
        });
        let further = target.map(references).unwrap_or_default();
        unread.extend(further.into_iter().filter(|r| !used.contains(r)));
        used.insert(reference);
    }
    for (section, start) in SECTIONS {
        if let Some(entries) = section_mut(&mut document, section) {
            entries.retain(|name, _| used.contains(&format!("{start}{name}")));
        }
    }
    document
}

/// Adds what `other` describes.
pub(super) fn merge(document: &mut Value, other: &Value) {
    let mut other = other.clone();
    let taken = document["paths"].as_object().cloned().unwrap_or_default();
    if let Some(paths) = section_mut(&mut other, "paths") {
        paths.retain(|path, _| !taken.contains_key(path));
    }
    let renamed = renames(document, &other);
    if !renamed.is_empty() {
        rename(&mut other, &renamed);
    }
    for (section, start) in SECTIONS {
        let Some(Value::Object(entries)) = other.get_mut(section).map(Value::take) else {
            continue;
        };
        for (name, mut entry) in entries {
            let name = match renamed.get(&format!("{start}{name}")) {
                Some(new) => new[start.len()..].to_owned(),
                None => name,
            };
            match document[section].get_mut(&name) {
                Some(known) => add_kinds(known, entry[KINDS].take()),
                None => document[section][name] = entry,
            }
        }
    }
    if let Some(Value::Object(paths)) = other.get_mut("paths").map(Value::take)
        && let Some(known) = section_mut(document, "paths")
    {
        known.extend(paths);
    }
}

/// New names of what is called as something else in `document`, by the old: both as references.
fn renames(document: &Value, other: &Value) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    for (section, start) in SECTIONS {
        let entries = other[section].as_object().into_iter().flatten();
        for (name, entry) in entries {
            let known = |name: &str| document[section].get(name);
            if known(name).is_none_or(|known| is_same(known, entry)) {
                continue;
            }
            let free = (2..)
                .map(|number| format!("{name}_v{number}"))
                .find(|new| {
                    let here = known(new).is_none_or(|known| is_same(known, entry));
                    here && other[section].get(new).is_none()
                })
                .expect("there are more numbers than definitions");
            renamed.insert(format!("{start}{name}"), format!("{start}{free}"));
        }
    }
    renamed
}

/// Whether two definitions are, but for the kinds that they stand for.
fn is_same(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    let content = |map: &Map<String, Value>| map.keys().filter(|key| *key != KINDS).count();
    content(a) == content(b)
        && a.iter()
            .all(|(key, value)| key == KINDS || b.get(key) == Some(value))
}

fn add_kinds(known: &mut Value, more: Value) {
    let Value::Array(more) = more else { return };
    if let Some(known) = known.as_object_mut() {
        let kinds = known
            .entry(KINDS)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(kinds) = kinds.as_array_mut() {
            kinds.extend(
                more.into_iter()
                    .filter(|kind| !kinds.contains(kind))
                    .collect::<Vec<_>>(),
            );
        }
    }
}

fn section_mut<'d>(document: &'d mut Value, section: &str) -> Option<&'d mut Map<String, Value>> {
    document.get_mut(section).and_then(Value::as_object_mut)
}

/// All that something refers to.
fn references(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut unread = vec![value];
    while let Some(value) = unread.pop() {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.insert(reference.clone());
                }
                unread.extend(object.values());
            }
            Value::Array(items) => unread.extend(items),
            _ => {}
        }
    }
    found
}

fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && let Some(new) = renamed.get(reference)
            {
                reference.clone_from(new);
            }
            object.values_mut().for_each(|value| rename(value, renamed));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(name: &str) -> Value {
        json!({ "$ref": format!("#/definitions/{name}") })
    }

    #[test]
    fn only_what_the_paths_need_is_taken() {
        let document = json!({
            "paths": {"/apis/a/v1/x": {"get": reference("A")}, "/apis/b/v1/x": {"get": reference("C")}},
            "definitions": {"A": {"items": reference("B")}, "B": {"items": reference("A")}, "C": {}},
        });
        let own = only_below(document, "/apis/a/v1/");
        let names = |section: &str| -> Vec<String> {
            own[section].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names("paths"), ["/apis/a/v1/x"]);
        assert_eq!(names("definitions"), ["A", "B"]);
    }

    #[test]
    fn who_comes_later_is_renamed() {
        let mut document = json!({
            "paths": {"/a": 1},
            "definitions": {"A": {"type": "string"}, "B": {"type": "object", KINDS: ["b"]}, "A_v2": {}},
            "parameters": {},
        });
        let other = json!({
            "paths": {"/a": 2, "/b": reference("A"), "/c": reference("B")},
            "definitions": {"A": {"type": "integer", "x": reference("A")}, "B": {"type": "object", KINDS: ["c"]}},
            "parameters": {"p": {}},
        });
        merge(&mut document, &other);
        assert_eq!(document["paths"]["/a"], 1);
        assert_eq!(document["paths"]["/b"], reference("A_v3"));
        assert_eq!(document["paths"]["/c"], reference("B"));
        assert_eq!(document["definitions"]["A"], json!({"type": "string"}));
        assert_eq!(document["definitions"]["A_v3"]["x"], reference("A_v3"));
        assert_eq!(document["definitions"]["B"][KINDS], json!(["b", "c"]));
        assert_eq!(document["parameters"], json!({"p": {}}));
    }
}
