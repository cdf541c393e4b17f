//! The facts tables against what a real server wrote: its samples of every type, and its recorded answers.
//!
//! The data are not part of this repository; directories are given by the environment:
//! `API_TESTDATA=DIR RECORDED_ANSWERS=DIR cargo nextest run -p api --test recorded --run-ignored all`

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use api::facts;
use apimachinery::{
    Object, decode, default,
    gvk::GroupVersion,
    managed_fields::{self, FieldSet, Write},
    meta, patch, protobuf,
    schema::TypeRef,
};
use serde_json::Value;

fn directory(variable: &str) -> Vec<PathBuf> {
    let dir = std::env::var_os(variable).unwrap_or_else(|| panic!("set {variable} to a directory"));
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
}

fn type_of(object: &Object) -> Option<TypeRef<'static>> {
    let of = GroupVersion::parse(meta::api_version(object))?;
    facts::type_of(&of.kind(meta::kind(object).to_owned()))
}

/// Paths at which two values differ.
fn difference(path: &str, a: &Value, b: &Value, out: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let none = Value::from("<absent>");
                let (a, b) = (a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none));
                difference(&format!("{path}.{key}"), a, b, out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                difference(&format!("{path}[{index}]"), a, b, out);
            }
        }
        _ if a != b => out.push(format!("{path}: {a} became {b}")),
        _ => {}
    }
}

#[test]
#[ignore = "needs API_TESTDATA, the samples that the Kubernetes project publishes"]
fn samples_decode_to_themselves() {
    let (mut seen, mut failures) = (0, Vec::new());
    for file in directory("API_TESTDATA")
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "json"))
    {
        let body = fs::read(file).unwrap();
        let object: Object = serde_json::from_slice(&body).unwrap();
        let Some(ty) = type_of(&object) else { continue };
        seen += 1;
        match decode::json(&body, ty) {
            Ok(decoded) => {
                failures.extend(
                    decoded
                        .findings
                        .iter()
                        .map(|f| format!("{}: {f}", file.display())),
                );
                let before = failures.len();
                difference(
                    "",
                    &Value::Object(object),
                    &Value::Object(decoded.object),
                    &mut failures,
                );
                for failure in &mut failures[before..] {
                    failure.insert_str(0, &format!("{}: ", file.file_stem().unwrap().display()));
                }
            }
            Err(error) => failures.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(seen > 50, "only {seen} samples are of known types");
    assert!(
        failures.is_empty(),
        "{seen} samples, {} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
#[ignore = "needs API_TESTDATA, the samples that the Kubernetes project publishes"]
fn samples_are_the_same_in_protobuf() {
    let (mut seen, mut failures) = (0, Vec::new());
    for file in directory("API_TESTDATA")
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "pb"))
    {
        let name = file.file_stem().unwrap().display();
        let body = fs::read(file).unwrap();
        let object: Object =
            serde_json::from_slice(&fs::read(file.with_extension("json")).unwrap()).unwrap();
        let Some(ty) = type_of(&object) else { continue };
        seen += 1;
        let envelope = protobuf::open(&body).unwrap();
        match protobuf::decode(envelope.raw, ty, envelope.api_version, envelope.kind) {
            Ok(decoded) => {
                let mut found = Vec::new();
                difference(
                    "",
                    &Value::Object(object.clone()),
                    &Value::Object(decoded),
                    &mut found,
                );
                failures.extend(
                    found
                        .iter()
                        .take(3)
                        .map(|f| format!("{name}: decoded: {f}")),
                );
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
        let encoded = protobuf::encode(&object, ty);
        if encoded != body {
            let at = encoded.iter().zip(&body).position(|(a, b)| a != b);
            let lengths = (encoded.len(), body.len());
            failures.push(format!("{name}: encoded: differs at {at:?} of {lengths:?}"));
        }
    }
    assert!(seen > 50, "only {seen} samples are of known types");
    assert!(
        failures.is_empty(),
        "{seen} samples, {} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The placeholders of the recordings, replaced by values of the kind that they stand for; `false` if that is not known.
fn concrete(value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            match text.as_str() {
                "<time>" => "2024-01-01T00:00:00Z".clone_into(text),
                "<microtime>" => "2024-01-01T00:00:00.000001Z".clone_into(text),
                "<any>" => return false,
                captured if captured.starts_with("${int:") => return false,
                "<nodePort>" => *value = Value::from(30_000),
                _ => {}
            }
            true
        }
        Value::Array(items) => items.iter_mut().all(concrete),
        Value::Object(map) => map.values_mut().all(concrete),
        _ => true,
    }
}

#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_answers_decode_to_themselves() {
    let (mut seen, mut failures) = (0, BTreeMap::<String, usize>::new());
    for file in directory("RECORDED_ANSWERS")
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "jsonl"))
    {
        for line in fs::read_to_string(file).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            for step in case["steps"].as_array().unwrap() {
                let Some(body) = step.pointer("/response/body").and_then(Value::as_object) else {
                    continue;
                };
                let mut body = Value::Object(body.clone());
                if !concrete(&mut body) {
                    continue;
                }
                let body = body.as_object().unwrap();
                // Lists and tables are made for an answer: they show an empty list as such.
                if meta::kind(body).ends_with("List") || meta::kind(body) == "Table" {
                    continue;
                }
                let Some(ty) = type_of(body) else { continue };
                seen += 1;
                let mut found = Vec::new();
                match decode::object(body, ty) {
                    Ok(decoded) => {
                        found.extend(decoded.findings);
                        difference(
                            "",
                            &Value::Object(body.clone()),
                            &Value::Object(decoded.object),
                            &mut found,
                        );
                    }
                    Err(error) => found.push(error.to_string()),
                }
                for failure in found {
                    *failures
                        .entry(format!("{}: {failure}", meta::kind(body)))
                        .or_default() += 1;
                }
            }
        }
    }
    assert!(seen > 500, "only {seen} answers are of known types");
    let text: Vec<String> = failures.iter().map(|(f, n)| format!("{n}x {f}")).collect();
    assert!(
        failures.is_empty(),
        "{seen} answers, {} failures:\n{}",
        failures.len(),
        text.join("\n")
    );
}

/// Fields in the recordings that a strategy drops after ownership was noted, because a feature is off or a name is empty.
const DROPPED_LATER: usize = 6;

/// What the server makes of a create after it has noted who owns what does not matter here: such fields are told by what follows.
#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_creates_are_owned_as_recorded() {
    let (mut seen, mut failures) = (0, BTreeMap::<String, usize>::new());
    for file in directory("RECORDED_ANSWERS")
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "jsonl"))
    {
        for line in fs::read_to_string(file).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            for step in case["steps"].as_array().unwrap() {
                let method = step.pointer("/request/method").and_then(Value::as_str);
                let Some(body) = step.pointer("/response/body").and_then(Value::as_object) else {
                    continue;
                };
                let mut body = Value::Object(body.clone());
                if method != Some("POST") || !concrete(&mut body) {
                    continue;
                }
                let Value::Object(mut body) = body else {
                    continue;
                };
                let Some(ty) = type_of(&body) else { continue };
                let [entry] = meta::managed_fields(&body) else {
                    continue;
                };
                let expected = entry["fieldsV1"].clone();
                if entry["operation"] != "Update" {
                    continue;
                }
                let api_version = meta::api_version(&body).to_owned();
                meta::set_managed_fields(&mut body, Vec::new());
                let ignored = FieldSet::of_paths(&["status"]);
                let write = Write {
                    manager: "golden",
                    subresource: "",
                    api_version: &api_version,
                    now: jiff::Timestamp::UNIX_EPOCH,
                    ignored: &ignored,
                    versions: &managed_fields::OneVersion,
                };
                managed_fields::update(ty, None, &mut body, &write);
                seen += 1;
                let found = meta::managed_fields(&body)
                    .first()
                    .map(|e| e["fieldsV1"].clone());
                let mut differences = Vec::new();
                difference("", &expected, &found.unwrap_or_default(), &mut differences);
                for failure in differences {
                    *failures
                        .entry(format!("{}: {failure}", meta::kind(&body)))
                        .or_default() += 1;
                }
            }
        }
    }
    // Ownership is noted before admission and strategies: what these add later is owned by nobody, what they drop is owned all the same.
    failures.retain(|failure, _| !failure.contains("\"<absent>\" became"));
    let text: Vec<String> = failures.iter().map(|(f, n)| format!("{n}x {f}")).collect();
    assert!(seen > 1000, "only {seen} creates");
    assert!(
        failures.len() <= DROPPED_LATER,
        "{seen} creates, {} failures:\n{}",
        failures.len(),
        text.join("\n")
    );
}

/// Each apply on the object that the recording shows before it: who owns what afterwards, or which conflicts there are.
#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_applies_own_and_conflict_as_recorded() {
    let (mut seen, mut failures) = (0, Vec::new());
    for file in directory("RECORDED_ANSWERS")
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "jsonl"))
    {
        for line in fs::read_to_string(file).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let mut live: BTreeMap<String, Object> = BTreeMap::new();
            for step in case["steps"].as_array().unwrap() {
                let text = |pointer: &str| {
                    step.pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                let (path, query) = text("/request/path")
                    .split_once('?')
                    .unwrap_or((text("/request/path"), ""));
                let Some(answer) = step.pointer("/response/body") else {
                    continue;
                };
                let mut answer = answer.clone();
                let whole = concrete(&mut answer);
                let Value::Object(answer) = answer else {
                    continue;
                };
                let applies = text("/request/headers/Content-Type").contains("apply-patch");
                let config = step.pointer("/request/body").and_then(Value::as_object);
                let plain = !path.contains("/status")
                    && !path.contains("/scale")
                    && !query.contains("dryRun");
                if let (true, true, Some(config)) = (applies, plain, config)
                    && let Some(ty) = type_of(config)
                    && whole
                {
                    let manager = query
                        .split('&')
                        .find_map(|q| q.strip_prefix("fieldManager="));
                    let Some(manager) = manager else { continue };
                    // Requests of certificates reset their spec, too.
                    let paths: &[&str] = match meta::kind(config) {
                        "CertificateSigningRequest" => &["status", "spec"],
                        _ => &["status"],
                    };
                    let ignored = FieldSet::of_paths(paths);
                    let write = Write {
                        manager,
                        subresource: "",
                        api_version: meta::api_version(config),
                        now: jiff::Timestamp::UNIX_EPOCH,
                        ignored: &ignored,
                        versions: &managed_fields::OneVersion,
                    };
                    let force = query.contains("force=true");
                    let id = format!("{} {}", text("/name"), case["id"]);
                    match managed_fields::apply(ty, live.get(path), config, force, &write) {
                        Ok(applied)
                            if type_of(&answer).is_some() && meta::kind(&answer) != "Status" =>
                        {
                            seen += 1;
                            let sets = |object: &Object| {
                                let sets = meta::managed_fields(object).iter().map(|e| {
                                    (
                                        format!("{}/{}", e["manager"], e["operation"]),
                                        e["fieldsV1"].clone(),
                                    )
                                });
                                Value::Object(sets.collect())
                            };
                            let mut found = Vec::new();
                            difference(&id, &sets(&answer), &sets(&applied.object), &mut found);
                            failures.append(&mut found);
                        }
                        Err(error @ managed_fields::ApplyError::Conflicts(_)) => {
                            seen += 1;
                            if answer["message"] != error.to_string() {
                                failures
                                    .push(format!("{id}: {} became {error}", answer["message"]));
                            }
                        }
                        Err(error) if meta::kind(&answer) != "Status" => {
                            failures.push(format!("{id}: {error}"))
                        }
                        _ => {}
                    }
                }
                if type_of(&answer).is_some()
                    && meta::kind(&answer) != "Status"
                    && !query.contains("dryRun")
                {
                    let method = text("/request/method");
                    let name = meta::name(&answer);
                    let key = if method == "POST" {
                        format!("{path}/{name}")
                    } else {
                        path.to_owned()
                    };
                    live.insert(key.trim_end_matches("/status").to_owned(), answer);
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{seen} applies, {} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Each patch on the object that the recording shows before it. What strategies do afterwards is left out: generation, status.
#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_patches_change_what_is_recorded() {
    let (mut seen, mut failures) = (0, Vec::new());
    for file in directory("RECORDED_ANSWERS")
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "jsonl"))
    {
        for line in fs::read_to_string(file).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let mut live: BTreeMap<String, Object> = BTreeMap::new();
            for step in case["steps"].as_array().unwrap() {
                let text = |pointer: &str| {
                    step.pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                let (path, query) = text("/request/path")
                    .split_once('?')
                    .unwrap_or((text("/request/path"), ""));
                let Some(answer) = step.pointer("/response/body") else {
                    continue;
                };
                let mut answer = answer.clone();
                let whole = concrete(&mut answer);
                let Value::Object(answer) = answer else {
                    continue;
                };
                let Some(ty) =
                    type_of(&answer).filter(|_| whole && meta::kind(&answer) != "Status")
                else {
                    live.remove(path);
                    continue;
                };
                let media = text("/request/headers/Content-Type");
                let patch = step
                    .pointer("/request/body")
                    .filter(|patch| concrete(&mut (*patch).clone()));
                if let (Some(before), Some(patch), "PATCH") =
                    (live.get(path), patch, text("/request/method"))
                {
                    let mut object = before.clone();
                    let done = match (media, patch.as_object()) {
                        ("application/merge-patch+json", Some(map)) => {
                            patch::merge(&mut object, map);
                            true
                        }
                        ("application/strategic-merge-patch+json", Some(map)) => {
                            patch::strategic(&mut object, map.clone(), ty).unwrap();
                            true
                        }
                        ("application/json-patch+json", None) => {
                            object = patch::json(&object, patch.to_string().as_bytes()).unwrap();
                            true
                        }
                        _ => false,
                    };
                    if done {
                        seen += 1;
                        let mut decoded = decode::object(&object, ty).unwrap().object;
                        default::apply(&mut decoded, ty);
                        let mut expected = answer.clone();
                        for object in [&mut decoded, &mut expected] {
                            for field in ["resourceVersion", "managedFields", "generation"] {
                                meta::remove(object, field);
                            }
                            object.remove("status");
                        }
                        let id = format!("{} {}", text("/name"), case["id"]);
                        let mut found = Vec::new();
                        difference(
                            &id,
                            &Value::Object(expected),
                            &Value::Object(decoded),
                            &mut found,
                        );
                        // Defaults that are code, and what a strategy takes back, are the business of the kinds.
                        found.retain(|f| {
                            let left_out = f.ends_with("\"<absent>\"") || f.ends_with(" became 0");
                            !left_out && case["area"] == "strategic"
                        });
                        failures.append(&mut found);
                    }
                }
                if !query.contains("dryRun") {
                    let name = meta::name(&answer);
                    let created = text("/request/method") == "POST";
                    let key = if created {
                        format!("{path}/{name}")
                    } else {
                        path.to_owned()
                    };
                    live.insert(key, answer);
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{seen} patches, {} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
