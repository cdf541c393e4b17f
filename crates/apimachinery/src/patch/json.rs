//! JSON patch (RFC 6902) with the habits of upstream's library, `evanphx/json-patch` v4: `replace` and `copy` take a key that is not there,
//! indices may count from the end, an absent `value` is `null`, and `test` compares scalars as they are written.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Value, value::RawValue};

use super::PatchError;
use crate::{
    decode, go,
    schema::{Field, ListSemantics, ListType, ObjectType, Scalar, Schema, Type, TypeId},
};

/// More operations than this are refused.
const MAX_OPERATIONS: usize = 10_000;
/// What `copy` operations may add, in bytes.
const MAX_COPIED_BYTES: usize = 3 << 20;
/// How many items of lists may make room for others, or close up, all operations together. Upstream knows no such bound: four thousand items put
/// before a million keep it busy for many seconds.
const MAX_SHIFTED_ITEMS: usize = 1 << 27;

/// What upstream decodes an operation into when it looks for unknown and duplicate fields.
static OPERATIONS: LazyLock<(Schema, TypeId)> = LazyLock::new(|| {
    let mut schema = Schema::new();
    let field = |name: &str, scalar| Field::new(name, Schema::scalar(scalar));
    let fields = vec![
        field("op", Scalar::String),
        field("path", Scalar::String),
        field("from", Scalar::String),
        field("value", Scalar::Json),
    ];
    let mut operation = ObjectType::new("handlers.jsonPatchOp", fields);
    operation.go = true;
    let items = schema.add(Type::Object(operation));
    let list = schema.add(Type::List(ListType {
        items,
        semantics: ListSemantics::Atomic,
        wrapped: false,
    }));
    (schema, list)
});

/// Operations, read. `value` stays as it was sent.
#[derive(Debug)]
pub struct JsonPatch {
    operations: Vec<Option<Operation>>,
    /// What is dubious about the text: `json patch unknown field "[0].extra"`.
    pub findings: Vec<String>,
}

type Operation = HashMap<String, Option<Box<RawValue>>>;

/// An operation that does not fit; only that it does not is told.
struct Misfit;

type Result<T> = std::result::Result<T, Misfit>;

/// What the operations of a patch have cost so far.
#[derive(Default)]
struct Spent {
    copied_bytes: usize,
    shifted_items: usize,
}

impl Spent {
    fn copy(&mut self, bytes: usize) -> Result<()> {
        self.copied_bytes += bytes;
        if self.copied_bytes > MAX_COPIED_BYTES {
            return Err(Misfit);
        }
        Ok(())
    }

    fn shift(&mut self, items: usize) -> Result<()> {
        self.shifted_items += items;
        if self.shifted_items > MAX_SHIFTED_ITEMS {
            return Err(Misfit);
        }
        Ok(())
    }
}

impl JsonPatch {
    /// Reads a patch; when `strict`, as operations, otherwise as any objects.
    ///
    /// # Errors
    /// What is no list of operations, or too many of them.
    pub fn parse(bytes: &[u8], strict: bool) -> std::result::Result<Self, PatchError> {
        let bad = PatchError::BadRequest;
        let mut findings = Vec::new();
        let kind = decode::kind_name(bytes);
        if strict {
            let (schema, list) = &*OPERATIONS;
            let refuse = |error: String| bad(format!("error decoding patch: {error}"));
            let found = decode::check(bytes, schema.get(*list));
            let found = found.map_err(|error| refuse(error.to_string()))?;
            // An operation's value is not of its type; what stands twice in there is told as well.
            let (_, everywhere) =
                decode::untyped(bytes).map_err(|error| refuse(error.to_string()))?;
            let inside = everywhere.iter().filter(|finding| !found.contains(finding));
            let inside = inside.filter(|finding| is_in_value(finding));
            let told = found.iter().chain(inside);
            findings.extend(told.map(|finding| format!("json patch {finding}")));
            if !matches!(kind, "array" | "null") {
                return Err(refuse(mismatch(kind, "[]handlers.jsonPatchOp")));
            }
        } else {
            decode::syntax(bytes).map_err(|error| bad(error.to_string()))?;
            if !matches!(kind, "array" | "null") {
                return Err(bad(mismatch(kind, "jsonpatch.Patch")));
            }
        }
        let items: Option<Vec<&RawValue>> = serde_json::from_slice(bytes)
            .map_err(|error| bad(format!("error decoding patch: {error}")))?;
        let items = items.unwrap_or_default();
        if items.len() > MAX_OPERATIONS {
            return Err(PatchError::TooLarge(format!(
                "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                items.len()
            )));
        }
        let operation = |item: &RawValue| {
            serde_json::from_str(item.get()).map_err(|_| {
                let kind = decode::kind_name(item.get().as_bytes());
                bad(mismatch(kind, "jsonpatch.Operation"))
            })
        };
        Ok(Self {
            operations: items
                .into_iter()
                .map(operation)
                .collect::<std::result::Result<_, _>>()?,
            findings,
        })
    }

    /// What becomes of a document.
    ///
    /// # Errors
    /// Failed tests, places that are not there, operations that nobody knows.
    pub fn apply(&self, mut document: Value) -> std::result::Result<Value, PatchError> {
        let mut spent = Spent::default();
        for operation in &self.operations {
            let step = Step(operation.as_ref());
            step.apply(&mut document, &mut spent)
                .map_err(|Misfit| PatchError::Rejected)?;
        }
        Ok(document)
    }
}

/// Whether `duplicate field "[0].value.a"` is about the value of an operation.
fn is_in_value(finding: &str) -> bool {
    let member = finding.split_once("].").map(|(_, member)| member);
    member.is_some_and(|member| member.starts_with("value"))
}

fn mismatch(kind: &str, go: &str) -> String {
    format!("json: cannot unmarshal {kind} into Go value of type {go}")
}

/// One operation; `null` is one, too, that says nothing.
#[derive(Clone, Copy)]
struct Step<'a>(Option<&'a Operation>);

impl<'a> Step<'a> {
    fn member(self, name: &str) -> Option<&'a RawValue> {
        self.0?.get(name)?.as_deref()
    }

    fn text(self, name: &str) -> Result<String> {
        let raw = self.member(name).ok_or(Misfit)?;
        serde_json::from_str(raw.get()).map_err(|_| Misfit)
    }

    fn value(self) -> Result<Value> {
        match self.member("value") {
            None => Ok(Value::Null),
            Some(raw) => {
                let (value, _) = decode::untyped(raw.get().as_bytes()).map_err(|_| Misfit)?;
                Ok(value)
            }
        }
    }

    fn apply(self, document: &mut Value, spent: &mut Spent) -> Result<()> {
        match self.text("op")?.as_str() {
            "add" => {
                let (container, key) = find(document, &self.text("path")?)?;
                add(container, &key, self.value()?, spent)
            }
            "remove" => {
                let (container, key) = find(document, &self.text("path")?)?;
                remove(container, &key, spent).map(drop)
            }
            "replace" => {
                let path = self.text("path")?;
                let value = self.value()?;
                if path.is_empty() {
                    if !value.is_object() && !value.is_array() {
                        return Err(Misfit);
                    }
                    *document = value;
                    return Ok(());
                }
                let (container, key) = find(document, &path)?;
                match container {
                    Value::Object(map) => {
                        map.insert(key, value);
                    }
                    container => *item_mut(container, &key)? = value,
                }
                Ok(())
            }
            "move" => {
                let (container, key) = find(document, &self.text("from")?)?;
                let value = remove(container, &key, spent)?;
                let (container, key) = find(document, &self.text("path")?)?;
                add(container, &key, value, spent)
            }
            "copy" => {
                let (container, key) = find(document, &self.text("from")?)?;
                let value = get(container, &key)?.cloned().unwrap_or_default();
                spent.copy(go::json(&value).len())?;
                let (container, key) = find(document, &self.text("path")?)?;
                add(container, &key, value, spent)
            }
            "test" => {
                let path = self.text("path")?;
                let wanted = self.member("value");
                let found = if path.is_empty() {
                    Some(&*document)
                } else {
                    let (container, key) = find(document, &path)?;
                    get(container, &key)?
                };
                let equal = match (found, wanted) {
                    (None | Some(Value::Null), None) => true,
                    (Some(found), Some(wanted)) => is_written(found, wanted.get()),
                    _ => false,
                };
                if equal { Ok(()) } else { Err(Misfit) }
            }
            _ => Err(Misfit),
        }
    }
}

/// The object or list that holds what a pointer names, and its key in there.
fn find<'v>(document: &'v mut Value, pointer: &str) -> Result<(&'v mut Value, String)> {
    let mut steps = pointer.split('/');
    steps.next();
    let mut steps = steps.map(|step| step.replace("~1", "/").replace("~0", "~"));
    let mut key = steps.next().ok_or(Misfit)?;
    let mut at = document;
    for next in steps {
        at = match at {
            Value::Object(map) => map.get_mut(&key).ok_or(Misfit)?,
            list => item_mut(list, &key)?,
        };
        key = next;
    }
    if at.is_object() || at.is_array() {
        Ok((at, key))
    } else {
        Err(Misfit)
    }
}

/// An index among `count` places; a negative one counts from the end.
fn place(key: &str, count: usize) -> Result<usize> {
    let index: i64 = key.parse().map_err(|_| Misfit)?;
    let count = i64::try_from(count).map_err(|_| Misfit)?;
    let index = if index < 0 { index + count } else { index };
    if (0..count).contains(&index) {
        usize::try_from(index).map_err(|_| Misfit)
    } else {
        Err(Misfit)
    }
}

fn item_mut<'v>(list: &'v mut Value, key: &str) -> Result<&'v mut Value> {
    let items = list.as_array_mut().ok_or(Misfit)?;
    let at = place(key, items.len())?;
    items.get_mut(at).ok_or(Misfit)
}

/// `None` for a member that an object does not have, which is no misfit.
fn get<'v>(container: &'v Value, key: &str) -> Result<Option<&'v Value>> {
    match container {
        Value::Object(map) => Ok(map.get(key)),
        Value::Array(items) => Ok(items.get(place(key, items.len())?)),
        _ => Err(Misfit),
    }
}

fn add(container: &mut Value, key: &str, value: Value, spent: &mut Spent) -> Result<()> {
    match container {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = place(key, items.len() + 1)?;
            spent.shift(items.len() - at)?;
            items.insert(at, value);
        }
        _ => return Err(Misfit),
    }
    Ok(())
}

fn remove(container: &mut Value, key: &str, spent: &mut Spent) -> Result<Value> {
    match container {
        Value::Object(map) => map.remove(key).ok_or(Misfit),
        Value::Array(items) => {
            let at = place(key, items.len())?;
            spent.shift(items.len() - at)?;
            Ok(items.remove(at))
        }
        _ => Err(Misfit),
    }
}

/// Whether a value is what a text says: objects and lists by what is in them, all else as it is written.
fn is_written(value: &Value, text: &str) -> bool {
    match value {
        Value::Object(map) => {
            let members: serde_json::Result<HashMap<String, &RawValue>> =
                serde_json::from_str(text);
            members.is_ok_and(|members| {
                members.len() == map.len()
                    && map.iter().all(|(name, value)| {
                        members
                            .get(name)
                            .is_some_and(|text| is_written(value, text.get()))
                    })
            })
        }
        Value::Array(items) => {
            let texts: serde_json::Result<Vec<&RawValue>> = serde_json::from_str(text);
            texts.is_ok_and(|texts| {
                texts.len() == items.len()
                    && items
                        .iter()
                        .zip(texts)
                        .all(|(value, text)| is_written(value, text.get()))
            })
        }
        scalar => go::json(scalar) == text.trim(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(document: Value, patch: &str) -> std::result::Result<Value, PatchError> {
        JsonPatch::parse(patch.as_bytes(), false)?.apply(document)
    }

    #[test]
    fn making_room_in_long_lists_has_a_bound() {
        let front = |operations: usize| {
            let one = r#"{"op":"add","path":"/a/0","value":0}"#;
            format!("[{}]", vec![one; operations].join(","))
        };
        let long = json!({"a": vec![0; 500_000]});
        assert!(patched(long.clone(), &front(100)).is_ok());
        let refused = patched(long, &front(1_000)).unwrap_err();
        assert!(matches!(refused, PatchError::Rejected), "{refused:?}");
        // What is put at the end moves nobody.
        let behind = front(9_000).replace("/a/0", "/a/-");
        assert!(patched(json!({"a": vec![0; 500_000]}), &behind).is_ok());
    }

    #[test]
    fn operations_do_what_upstreams_do() {
        let document = || json!({"a": [1, 2], "b": {"c": "<d>"}, "n": null});
        for (patch, expected) in [
            (
                r#"[{"op":"add","path":"/a/-","value":3},{"op":"test","path":"/a/0","value":1}]"#,
                json!({"a": [1, 2, 3], "b": {"c": "<d>"}, "n": null}),
            ),
            (
                r#"[{"op":"replace","path":"/new","value":1},{"op":"remove","path":"/a/-1"}]"#,
                json!({"a": [1], "b": {"c": "<d>"}, "n": null, "new": 1}),
            ),
            (
                r#"[{"op":"copy","from":"/none","path":"/a/-3"},{"op":"move","from":"/b/c","path":"/c"}]"#,
                json!({"a": [null, 1, 2], "b": {}, "c": "<d>", "n": null}),
            ),
            (
                r#"[{"op":"test","path":"/n"},{"op":"test","path":"/b","value":{"c":"\u003cd\u003e"}},null]"#,
                Value::Null,
            ),
            (
                r#"[{"op":"test","path":"/b/c","value":"<d>"}]"#,
                Value::Null,
            ),
            (r#"[{"op":"add","path":"/a/9","value":1}]"#, Value::Null),
            (r#"[{"op":"add","path":"/n/x","value":1}]"#, Value::Null),
            (r#"[{"op":"remove","path":"/none"}]"#, Value::Null),
            (r#"[{"op":"add","path":"a","value":1}]"#, Value::Null),
            (r#"[{"op":"replace","path":"","value":5}]"#, Value::Null),
            (r#"[{"op":"replace","path":"","value":[]}]"#, json!([])),
        ] {
            let result = patched(document(), patch);
            match expected {
                Value::Null => assert_eq!(result, Err(PatchError::Rejected), "{patch}"),
                expected => assert_eq!(result, Ok(expected), "{patch}"),
            }
        }
    }

    #[test]
    fn what_is_no_patch_is_told_as_upstream_tells_it() {
        let error = |text: &str, strict| {
            let error = JsonPatch::parse(text.as_bytes(), strict).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            error("{}", false),
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        );
        assert_eq!(
            error("[1]", false),
            "json: cannot unmarshal number into Go value of type jsonpatch.Operation"
        );
        assert_eq!(
            error("{}", true),
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        );
        assert_eq!(
            error("[1]", true),
            "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"
        );
        assert_eq!(
            error(r#"[{"op":1}]"#, true),
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
        );
        let patch = r#"[{"op":"add","path":"/a","value":1,"extra":2,"op":"add"}]"#;
        assert_eq!(
            JsonPatch::parse(patch.as_bytes(), true).unwrap().findings,
            [
                r#"json patch unknown field "[0].extra""#,
                r#"json patch duplicate field "[0].op""#
            ]
        );
        let patch =
            r#"[{"op":"add","path":"/a","value":{"b":[{"c":1,"c":2}]},"extra":{"d":1,"d":2}}]"#;
        assert_eq!(
            JsonPatch::parse(patch.as_bytes(), true).unwrap().findings,
            [
                r#"json patch unknown field "[0].extra""#,
                r#"json patch duplicate field "[0].value.b[0].c""#
            ]
        );
    }

    #[test]
    fn copies_are_bounded() {
        let big = "x".repeat(1 << 20);
        let copy = r#"{"op":"copy","from":"/a","path":"/b"}"#;
        let patch = format!("[{copy},{copy},{copy}]");
        assert_eq!(
            patched(json!({"a": big}), &patch),
            Err(PatchError::Rejected)
        );
    }
}
