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
        let json = serde_json::to_vec(&object).unwrap();
        let transcoded = protobuf::transcode(&json, ty, envelope.api_version, envelope.kind);
        if transcoded.as_deref() != Ok(&body) {
            failures.push(format!("{name}: transcoded: differs"));
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

/// A case of the recordings: what was asked one after the other, and answered.
struct Case {
    id: Value,
    area: Value,
    steps: Vec<Step>,
}

/// One request and its answer.
struct Step {
    name: String,
    method: String,
    path: String,
    query: String,
    media_type: String,
    request: Option<Value>,
    answer: Object,
    /// Whether all of the answer is known: it has no placeholder that stands for just anything.
    is_whole: bool,
}

/// What was recorded, of steps that were answered with an object.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for file in directory("RECORDED_ANSWERS") {
        if file.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        for line in fs::read_to_string(file).unwrap().lines() {
            let mut case: Value = serde_json::from_str(line).unwrap();
            let steps = case["steps"].as_array().unwrap();
            cases.push(Case {
                steps: steps.iter().filter_map(Step::read).collect(),
                id: case["id"].take(),
                area: case["area"].take(),
            });
        }
    }
    cases
}

impl Step {
    fn read(step: &Value) -> Option<Self> {
        let text = |pointer: &str| {
            let text = step.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let mut answer = step.pointer("/response/body")?.clone();
        let is_whole = concrete(&mut answer);
        let Value::Object(answer) = answer else {
            return None;
        };
        let target = text("/request/path");
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        Some(Self {
            name: text("/name"),
            method: text("/request/method"),
            path: path.to_owned(),
            query: query.to_owned(),
            media_type: text("/request/headers/Content-Type"),
            request: step.pointer("/request/body").cloned(),
            answer,
            is_whole,
        })
    }

    fn is_dry_run(&self) -> bool {
        self.query.contains("dryRun")
    }

    /// The answer's type, if it is an object of a known kind and known whole.
    fn answer_type(&self) -> Option<TypeRef<'static>> {
        let is_object = self.is_whole && meta::kind(&self.answer) != "Status";
        type_of(&self.answer).filter(|_| is_object)
    }

    /// Path of the object that the answer shows.
    fn object_path(&self) -> String {
        match self.method.as_str() {
            "POST" => format!("{}/{}", self.path, meta::name(&self.answer)),
            _ => self.path.trim_end_matches("/status").to_owned(),
        }
    }
}

/// How often what was found, by kind.
fn count(failures: &mut BTreeMap<String, usize>, object: &Object, found: Vec<String>) {
    for failure in found {
        let failure = format!("{}: {failure}", meta::kind(object));
        *failures.entry(failure).or_default() += 1;
    }
}

fn listed(failures: &BTreeMap<String, usize>) -> String {
    let lines: Vec<String> = failures.iter().map(|(f, n)| format!("{n}x {f}")).collect();
    lines.join("\n")
}

#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_answers_decode_to_themselves() {
    let (mut seen, mut failures) = (0, BTreeMap::new());
    for step in cases().into_iter().flat_map(|case| case.steps) {
        // Lists and tables are made for an answer: they show an empty list as such.
        let kind = meta::kind(&step.answer);
        if !step.is_whole || kind.ends_with("List") || kind == "Table" {
            continue;
        }
        let Some(ty) = type_of(&step.answer) else {
            continue;
        };
        seen += 1;
        let mut found = Vec::new();
        match decode::object(&step.answer, ty) {
            Ok(decoded) => {
                found.extend(decoded.findings);
                difference(
                    "",
                    &Value::Object(step.answer.clone()),
                    &Value::Object(decoded.object),
                    &mut found,
                );
            }
            Err(error) => found.push(error.to_string()),
        }
        count(&mut failures, &step.answer, found);
    }
    assert!(seen > 500, "only {seen} answers are of known types");
    assert!(
        failures.is_empty(),
        "{seen} answers, {} failures:\n{}",
        failures.len(),
        listed(&failures)
    );
}

/// Fields in the recordings that a strategy drops after ownership was noted, because a feature is off or a name is empty.
const DROPPED_LATER: usize = 6;

/// What the server makes of a create after it has noted who owns what does not matter here: such fields are told by what follows.
#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_creates_are_owned_as_recorded() {
    let (mut seen, mut failures) = (0, BTreeMap::new());
    for step in cases().into_iter().flat_map(|case| case.steps) {
        if step.method != "POST" || !step.is_whole {
            continue;
        }
        let mut body = step.answer;
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
        let owned = meta::managed_fields(&body)
            .first()
            .map(|e| e["fieldsV1"].clone());
        let mut found = Vec::new();
        difference("", &expected, &owned.unwrap_or_default(), &mut found);
        count(&mut failures, &body, found);
    }
    // Ownership is noted before admission and strategies: what these add later is owned by nobody, what they drop is owned all the same.
    failures.retain(|failure, _| !failure.contains("\"<absent>\" became"));
    assert!(seen > 1000, "only {seen} creates");
    assert!(
        failures.len() <= DROPPED_LATER,
        "{seen} creates, {} failures:\n{}",
        failures.len(),
        listed(&failures)
    );
}

/// Each apply on the object that the recording shows before it: who owns what afterwards, or which conflicts there are.
#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_applies_own_and_conflict_as_recorded() {
    let (mut seen, mut failures) = (0, Vec::new());
    for case in cases() {
        let mut live: BTreeMap<String, Object> = BTreeMap::new();
        for step in &case.steps {
            let id = format!("{} {}", step.name, case.id);
            if let Some(mut found) = apply(step, live.get(&step.path), &id) {
                seen += 1;
                failures.append(&mut found);
            }
            let is_object = type_of(&step.answer).is_some() && meta::kind(&step.answer) != "Status";
            if is_object && !step.is_dry_run() {
                live.insert(step.object_path(), step.answer.clone());
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

/// What differs when the step, if it is an apply of a whole object, is done on the live object.
fn apply(step: &Step, live: Option<&Object>, id: &str) -> Option<Vec<String>> {
    let of_subresource = ["/status", "/scale"].iter().any(|s| step.path.contains(s));
    if !step.media_type.contains("apply-patch")
        || of_subresource
        || step.is_dry_run()
        || !step.is_whole
    {
        return None;
    }
    let config = step.request.as_ref()?.as_object()?;
    let ty = type_of(config)?;
    let mut parameters = step.query.split('&');
    let manager = parameters.find_map(|q| q.strip_prefix("fieldManager="))?;
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
    let force = step.query.contains("force=true");
    let is_refused = meta::kind(&step.answer) == "Status";
    let mut found = Vec::new();
    match managed_fields::apply(ty, live, config, force, &write) {
        Ok(applied) if type_of(&step.answer).is_some() && !is_refused => {
            let sets = |object: &Object| {
                let sets = meta::managed_fields(object).iter().map(|e| {
                    let owner = format!("{}/{}", e["manager"], e["operation"]);
                    (owner, e["fieldsV1"].clone())
                });
                Value::Object(sets.collect())
            };
            difference(id, &sets(&step.answer), &sets(&applied.object), &mut found);
        }
        Err(error @ managed_fields::ApplyError::Conflicts(_)) => {
            if step.answer["message"] != error.to_string() {
                found.push(format!("{id}: {} became {error}", step.answer["message"]));
            }
        }
        Err(error) if !is_refused => found.push(format!("{id}: {error}")),
        _ => return None,
    }
    Some(found)
}

/// Each patch on the object that the recording shows before it. What strategies do afterwards is left out: generation, status.
#[test]
#[ignore = "needs RECORDED_ANSWERS, the recorded answers of a reference server"]
fn recorded_patches_change_what_is_recorded() {
    let (mut seen, mut failures) = (0, Vec::new());
    for case in cases() {
        let mut live: BTreeMap<String, Object> = BTreeMap::new();
        for step in &case.steps {
            let Some(ty) = step.answer_type() else {
                live.remove(&step.path);
                continue;
            };
            let patched = live.get(&step.path).and_then(|live| patch(step, live, ty));
            if let Some(patched) = patched {
                seen += 1;
                // Defaults that are code, and what a strategy takes back, are the business of the kinds.
                if case.area == "strategic" {
                    let id = format!("{} {}", step.name, case.id);
                    let mut found = Vec::new();
                    let expected = without_bookkeeping(step.answer.clone());
                    let patched = without_bookkeeping(patched);
                    difference(&id, &expected, &patched, &mut found);
                    found.retain(|f| !f.ends_with("\"<absent>\"") && !f.ends_with(" became 0"));
                    failures.append(&mut found);
                }
            }
            if !step.is_dry_run() {
                live.insert(step.object_path(), step.answer.clone());
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

/// The live object after the step's patch, if it is one whose content is known.
fn patch(step: &Step, live: &Object, ty: TypeRef<'static>) -> Option<Object> {
    let patch = step.request.as_ref()?;
    if step.method != "PATCH" || !concrete(&mut patch.clone()) {
        return None;
    }
    let mut object = live.clone();
    match (step.media_type.as_str(), patch.as_object()) {
        ("application/merge-patch+json", Some(map)) => patch::merge(&mut object, map),
        ("application/strategic-merge-patch+json", Some(map)) => {
            patch::strategic(&mut object, &mut map.clone(), ty).unwrap();
        }
        ("application/json-patch+json", None) => {
            object = patch::json(&object, patch.to_string().as_bytes()).unwrap();
        }
        _ => return None,
    }
    let mut object = decode::object(&object, ty).unwrap().object;
    default::apply(&mut object, ty);
    Some(object)
}

/// Without what the server counts and notes by itself.
fn without_bookkeeping(mut object: Object) -> Value {
    for field in ["resourceVersion", "managedFields", "generation"] {
        meta::remove(&mut object, field);
    }
    object.remove("status");
    Value::Object(object)
}
