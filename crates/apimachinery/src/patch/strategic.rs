//! Strategic merge patch: merge patch that knows which lists merge, and by which key.
//!
//! Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`. The order of merged
//! lists follows upstream's ([`order`]). Fields that the schema does not know are merged as plain JSON; decoding finds them afterwards.

mod order;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::PatchError;
use crate::{
    Object, go,
    schema::{PatchStrategy, Scalar, Type, TypeRef},
};
use order::{check_order, partition, weave};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const ELEMENT_ORDER: &str = "$setElementOrder";

type Result<T> = std::result::Result<T, PatchError>;

/// Applies a strategic merge patch to an object of this type. Of the patch is left what upstream leaves of it, and shows when the outcome
/// does not fit: directives that were followed are gone, and so are nulls in what was new.
///
/// # Errors
/// Directives that make no sense, items without their merge key, maps within what is no struct.
pub fn apply(original: &mut Object, patch: &mut Object, ty: TypeRef<'_>) -> Result<()> {
    merge_map(original, patch, Some(ty))
}

fn unclassified<T>(message: String) -> Result<T> {
    Err(PatchError::Unclassified(message))
}

fn unknown_directive<T>(directive: &Value, map: &Map<String, Value>) -> Result<T> {
    let map = go::plain(&Value::Object(map.clone()));
    unclassified(format!(
        "unknown patch type: {} in map: {map}",
        go_text(directive)
    ))
}

/// A value where Go's `%s` expects a string.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "%!s(<nil>)".to_owned(),
        Value::Bool(_) | Value::Number(_) => {
            format!("%!s({}={value})", go::type_name(value))
        }
        other => go::plain(other),
    }
}

fn bad_type<T>(expected: &str, found: &Value) -> Result<T> {
    let found = match found {
        Value::Null => "%!s(<nil>)",
        other => go::type_name(other),
    };
    unclassified(format!("expected a {expected}, but received a {found}"))
}

/// A list where there must be one.
fn list_of(value: &Value) -> Result<&Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => bad_type("[]interface {}", other),
    }
}

fn no_merge_key<T>(item: &Value, key: &str) -> Result<T> {
    let map = go::plain(item);
    unclassified(format!(
        "map: {map} does not contain declared merge key: {key}"
    ))
}

/// The list that a directive names: what is behind the slash.
fn list_named<'k>(key: &'k str, directive: &str) -> Result<&'k str> {
    let name = key
        .strip_prefix(directive)
        .and_then(|rest| rest.strip_prefix('/'));
    name.ok_or_else(|| {
        let what = if directive == DELETE_FROM {
            "primitive list"
        } else {
            "setElementOrder list"
        };
        PatchError::BadRequest(format!("invalid patch format of {what}"))
    })
}

/// What the schema says of a field: its type and how it is patched.
struct Known<'s> {
    ty: Option<TypeRef<'s>>,
    strategy: PatchStrategy,
}

fn known<'s>(ty: Option<TypeRef<'s>>, name: &str) -> Known<'s> {
    match ty.and_then(|ty| ty.field(name)) {
        Some((field, ty)) => Known {
            ty: Some(ty),
            strategy: field.map(|f| f.patch.clone()).unwrap_or_default(),
        },
        None => Known {
            ty: None,
            strategy: PatchStrategy::default(),
        },
    }
}

/// What the schema says of a field whose values are merged, which upstream looks up in Go's structs: there are none within maps and raw JSON.
fn merged<'s>(ty: Option<TypeRef<'s>>, name: &str) -> Result<Known<'s>> {
    match ty.map(|ty| ty.node()) {
        Some(Type::Map(_)) => unclassified(
            "merging an object in json but data type is not struct, instead is: map".to_owned(),
        ),
        Some(Type::Scalar(Scalar::RawExtension)) => no_field("RawExtension", name),
        _ => Ok(known(ty, name)),
    }
}

fn no_field<T>(of: &str, name: &str) -> Result<T> {
    let name = crate::quote(name);
    unclassified(format!(
        "unable to find api field in struct {of} for the json field {name}"
    ))
}

fn merge_map(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    ty: Option<TypeRef<'_>>,
) -> Result<()> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                original.clone_from(patch);
            }
            Some("delete") => original.clear(),
            _ => return unknown_directive(directive, patch),
        }
        return Ok(());
    }
    retain_keys(original, patch)?;
    element_orders(original, patch, ty)?;
    for (key, value) in patch {
        let deletes = key.starts_with(DELETE_FROM);
        let name = if deletes {
            list_named(key, DELETE_FROM)?
        } else {
            key
        };
        if value.is_null() {
            original.remove(name);
            continue;
        }
        match (original.get_mut(name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let known = merged(ty, name)?;
                if known.strategy.replace {
                    old.clone_from(new);
                } else {
                    merge_map(old, new, known.ty)?;
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let known = merged(ty, name)?;
                if known.strategy.merge || deletes {
                    let key = known.strategy.merge_key.as_deref();
                    *old = merge_list(std::mem::take(old), new, known.ty, key, deletes)?;
                } else {
                    old.clone_from(new);
                }
            }
            (_, new) if !deletes => {
                match without_directives(new) {
                    Some(new) => original.insert(key.clone(), new),
                    None => original.remove(key),
                };
            }
            // A directive to delete from what is no list says nothing.
            _ => {}
        }
    }
    Ok(())
}

/// `$retainKeys`: clears what the list does not name.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<()> {
    let Some(list) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || PatchError::BadRequest("invalid patch format of retainKeys".to_owned());
    let list = list.as_array().ok_or_else(bad)?;
    let list: HashSet<&str> = list.iter().filter_map(Value::as_str).collect();
    let names = |key: &str| list.contains(key);
    for (key, value) in &*patch {
        let directive = key.starts_with(DELETE_FROM) || key.starts_with(ELEMENT_ORDER);
        if !value.is_null() && !directive && !names(key) {
            return Err(bad());
        }
    }
    original.retain(|key, _| names(key));
    Ok(())
}

/// `$setElementOrder/LIST`: merges those lists and puts them in order.
fn element_orders(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    ty: Option<TypeRef<'_>>,
) -> Result<()> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let order = patch.remove(&directive).unwrap_or_default();
        let order = list_of(&order)?;
        let name = list_named(&directive, ELEMENT_ORDER)?;
        let old = original.get(name).map(list_of).transpose()?.cloned();
        let new = patch.get(name).map(list_of).transpose()?.cloned();
        let Known {
            ty: inner,
            strategy,
        } = merged(ty, name)?;
        if inner.is_none()
            && let Some(object) = ty.and_then(TypeRef::object)
        {
            return no_field(object.go_name(), name);
        }
        let key = strategy.merge_key.as_deref();
        if let Some(new) = &new {
            check_order(new, order, key)?;
        }
        let merged = match (&old, &new) {
            (Some(old), Some(new)) if strategy.merge => {
                merge_list(old.clone(), &mut new.clone(), inner, key, false)?
            }
            (Some(_), Some(new)) => new.clone(),
            (Some(old), None) => old.clone(),
            (None, Some(new)) => match without_directives(&mut Value::Array(new.clone())) {
                Some(Value::Array(items)) => items,
                _ => continue,
            },
            (None, None) => continue,
        };
        let (named, others) = partition(merged, order, key)?;
        let old = old.unwrap_or_default();
        element_type(&old, &new.unwrap_or_default())?;
        let ordered = weave(named, others, order, &old, key);
        original.insert(name.to_owned(), Value::Array(ordered));
        patch.remove(name);
    }
    Ok(())
}

/// All items of two lists are of one type, which is no list.
fn element_type(old: &[Value], patch: &[Value]) -> Result<&'static str> {
    let mut types = old.iter().chain(patch).map(go::type_name);
    let Some(first) = types.next() else {
        return unclassified("no elements in any of the given slices".to_owned());
    };
    if first == "[]interface {}" {
        return Err(PatchError::Rejected);
    }
    if types.any(|ty| ty != first) {
        let print = |list: &[Value]| go::plain(&Value::Array(list.to_vec()));
        return unclassified(format!(
            "list element types are not identical: [{} {}]",
            print(old),
            print(patch)
        ));
    }
    Ok(first)
}

fn merge_list(
    old: Vec<Value>,
    patch: &mut [Value],
    ty: Option<TypeRef<'_>>,
    key: Option<&str>,
    deletes: bool,
) -> Result<Vec<Value>> {
    if old.is_empty() && patch.is_empty() {
        return Ok(old);
    }
    if element_type(&old, patch)? != "map[string]interface {}" {
        if deletes {
            let deleted: HashSet<&Value> = patch.iter().collect();
            let kept = old.into_iter().filter(|item| !deleted.contains(item));
            return Ok(kept.collect());
        }
        let mut seen = HashSet::new();
        let all = old.iter().chain(&*patch);
        let merged = all.filter(|item| seen.insert(*item)).cloned();
        let named: HashSet<&Value> = patch.iter().collect();
        let (named, others) = merged.partition(|item| named.contains(item));
        return Ok(weave(named, others, patch, &old, None));
    }
    let Some(key) = key else {
        return unclassified("cannot merge lists without merge key for struct".to_owned());
    };
    let old = match special_items(old, patch, key)? {
        Special::Replaced(items) => return Ok(partition(items, &[], Some(key))?.1),
        Special::Left(old) => old,
    };
    let mut merged = old.clone();
    let mut places: HashMap<Value, usize> = HashMap::new();
    for (place, item) in merged.iter().enumerate() {
        if let Some(value) = item.get(key) {
            places.entry(value.clone()).or_insert(place);
        }
    }
    for item in patch.iter_mut().filter(|item| is_plain(item)) {
        let Value::Object(item_map) = item else {
            continue;
        };
        let Some(value) = item_map.get(key).cloned() else {
            return no_merge_key(item, key);
        };
        let place = places.get(&value).copied();
        match place.and_then(|place| merged.get_mut(place)) {
            Some(Value::Object(found)) => {
                merge_map(found, item_map, ty.and_then(TypeRef::items))?;
                if found.get(key) != Some(&value) {
                    // A key that is null takes itself away.
                    places.remove(&value);
                }
            }
            _ => {
                places.entry(value).or_insert(merged.len());
                merged.push(item.clone());
            }
        }
    }
    let plain: Vec<Value> = patch.iter().filter(|i| is_plain(i)).cloned().collect();
    let (named, others) = partition(merged, &plain, Some(key))?;
    Ok(weave(named, others, &plain, &old, Some(key)))
}

/// Whether an item of a patch is more than a directive.
fn is_plain(item: &Value) -> bool {
    item.get(DIRECTIVE).is_none()
}

/// What directives leave of a list.
enum Special {
    /// These items, and the rest of the patch is to be merged into them.
    Left(Vec<Value>),
    /// The patch took the list's place.
    Replaced(Vec<Value>),
}

/// Carries out `$patch: delete` and `$patch: replace` items.
fn special_items(mut old: Vec<Value>, patch: &[Value], key: &str) -> Result<Special> {
    let mut deleted = HashSet::new();
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let Some(value) = item.get(key) else {
                    return no_merge_key(item, key);
                };
                deleted.insert(value);
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return unclassified(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                );
            }
            _ => return unknown_directive(directive, item.as_object().unwrap_or(&Map::new())),
        }
    }
    if replace {
        let plain = patch.iter().filter(|item| is_plain(item)).cloned();
        return Ok(Special::Replaced(plain.collect()));
    }
    old.retain(|old| old.get(key).is_none_or(|value| !deleted.contains(value)));
    Ok(Special::Left(old))
}

/// A new value without maps that have a `$patch`, whatever it says, and without nulls: upstream has nothing to patch there, and takes
/// nothing. Other directives stay, for decoding to find. Maps in the patch lose what the new value does not have, lists in it keep it.
fn without_directives(value: &mut Value) -> Option<Value> {
    without_nulls(value);
    match value {
        Value::Array(items) => {
            let mut new = Value::Array(items.clone());
            strip(&mut new);
            strip_items(items);
            Some(new)
        }
        other => strip(other).then(|| other.clone()),
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Takes the maps with a `$patch` out of a value; whether the value itself is none.
fn strip(value: &mut Value) -> bool {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => return false,
        Value::Object(map) => map.retain(|_, value| strip(value)),
        Value::Array(items) => items.retain_mut(strip),
        _ => {}
    }
    true
}

/// Takes them out of the maps in a list that itself stays as it is.
fn strip_items(items: &mut [Value]) {
    for item in items {
        match item {
            Value::Array(items) => strip_items(items),
            item => _ = strip(item),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{Field, ListSemantics, ListType, MapType, ObjectType, Schema};

    /// `containers` merge by name, `finalizers` merge, `args` do not.
    fn schema() -> (Schema, crate::schema::TypeId) {
        let mut schema = Schema::new();
        let string = Schema::scalar(Scalar::String);
        let list = |schema: &mut Schema, items| {
            let semantics = ListSemantics::Atomic;
            schema.add(Type::List(ListType {
                items,
                semantics,
                wrapped: false,
            }))
        };
        let strings = list(&mut schema, string);
        let item = ObjectType::new(
            "C",
            vec![
                Field::new("name", string),
                Field::new("image", string),
                Field::new("args", strings),
            ],
        );
        let item = schema.add(Type::Object(item));
        let items = list(&mut schema, item);
        let mut containers = Field::new("containers", items);
        containers.patch = PatchStrategy {
            merge: true,
            merge_key: Some("name".into()),
            ..Default::default()
        };
        let mut finalizers = Field::new("finalizers", strings);
        finalizers.patch = PatchStrategy {
            merge: true,
            ..Default::default()
        };
        let free = schema.add(Type::Map(MapType {
            values: string,
            atomic: false,
            wrapped_values: false,
        }));
        let fields = vec![
            containers,
            finalizers,
            Field::new("args", strings),
            Field::new("free", free),
            Field::new("raw", Schema::scalar(Scalar::RawExtension)),
        ];
        let root = schema.add(Type::Object(ObjectType::new("S", fields)));
        (schema, root)
    }

    fn patched(original: Value, patch: Value) -> std::result::Result<Value, String> {
        patched_and_left(original, patch).map(|(patched, _)| patched)
    }

    /// What comes out, and what is left of the patch.
    fn patched_and_left(
        original: Value,
        patch: Value,
    ) -> std::result::Result<(Value, Value), String> {
        let (schema, root) = schema();
        let mut original = original.as_object().unwrap().clone();
        let mut patch = patch.as_object().unwrap().clone();
        apply(&mut original, &mut patch, schema.get(root)).map_err(|e| e.to_string())?;
        Ok((Value::Object(original), Value::Object(patch)))
    }

    #[test]
    fn what_was_followed_is_gone_from_the_patch() {
        let original =
            json!({"containers": [{"name": "a", "image": "1"}], "finalizers": ["x"], "free": {}});
        for (patch, left) in [
            (
                json!({"new": {"x": null, "y": {"z": null}}, "gone": null}),
                json!({"new": {"y": {}}, "gone": null}),
            ),
            (
                json!({"new": {"x": {"$patch": "delete"}, "l": [{"$patch": "delete"}, null]}}),
                json!({"new": {"l": [null]}}),
            ),
            (
                json!({"args": [{"$patch": "delete"}, {"a": {"$patch": "merge"}, "b": null}]}),
                json!({"args": [{"$patch": "delete"}, {}]}),
            ),
            (
                json!({"free": {"$patch": "replace", "x": 1}, "$retainKeys": ["free", "containers"]}),
                json!({"free": {"x": 1}}),
            ),
            (
                json!({"containers": [{"name": "a", "$retainKeys": ["name"]}, {"name": "b", "image": null}, {"name": "c", "$patch": "delete"}]}),
                json!({"containers": [{"name": "a"}, {"name": "b", "image": null}, {"name": "c", "$patch": "delete"}]}),
            ),
            (
                json!({"$setElementOrder/finalizers": ["x"], "finalizers": ["x"]}),
                json!({}),
            ),
        ] {
            assert_eq!(patched_and_left(original.clone(), patch).unwrap().1, left);
        }
    }

    #[test]
    fn there_are_structs_neither_in_maps_nor_in_raw_json() {
        for (original, patch, error) in [
            (
                json!({"free": {"a": {"b": "c"}}}),
                json!({"free": {"a": {"b": "d"}}}),
                "merging an object in json but data type is not struct, instead is: map",
            ),
            (
                json!({"raw": {"a": [1]}}),
                json!({"raw": {"a": [2]}}),
                "unable to find api field in struct RawExtension for the json field \"a\"",
            ),
            (
                json!({"free": {"a": "b"}}),
                json!({"free": {"$setElementOrder/x": ["y"]}}),
                "merging an object in json but data type is not struct, instead is: map",
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                json!({"containers": [{"$patch": "replace"}, {}]}),
                "map: map[] does not contain declared merge key: name",
            ),
        ] {
            assert_eq!(patched(original, patch).unwrap_err(), error);
        }
        let patch = json!({"free": {"a": "x", "b": {"c": null}}, "raw": {"a": [2]}});
        assert_eq!(
            patched(json!({"free": {"a": {}}, "raw": {"a": 1}}), patch).unwrap(),
            json!({"free": {"a": "x", "b": {}}, "raw": {"a": [2]}})
        );
    }

    #[test]
    fn lists_merge_by_key() {
        let original =
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]});
        assert_eq!(
            patched(
                original.clone(),
                json!({"containers": [{"name": "b", "image": "3"}, {"name": "c"}]})
            )
            .unwrap(),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "3"}, {"name": "c"}]})
        );
        assert_eq!(
            patched(
                original.clone(),
                json!({"containers": [{"name": "a", "$patch": "delete"}]})
            )
            .unwrap(),
            json!({"containers": [{"name": "b", "image": "2"}]})
        );
        assert_eq!(
            patched(
                original.clone(),
                json!({"containers": [{"name": "z"}, {"$patch": "replace"}]})
            )
            .unwrap(),
            json!({"containers": [{"name": "z"}]})
        );
        assert_eq!(
            patched(
                original,
                json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "b", "image": null}]})
            )
            .unwrap(),
            json!({"containers": [{"name": "b"}, {"name": "a", "image": "1"}]})
        );
    }

    #[test]
    fn lists_of_scalars_merge_or_are_replaced() {
        let original = json!({"finalizers": ["a", "b"], "args": ["x"]});
        assert_eq!(
            patched(
                original.clone(),
                json!({"finalizers": ["c"], "args": ["y"]})
            )
            .unwrap(),
            json!({"finalizers": ["c", "a", "b"], "args": ["y"]})
        );
        assert_eq!(
            patched(
                original,
                json!({"$deleteFromPrimitiveList/finalizers": ["a"]})
            )
            .unwrap(),
            json!({"finalizers": ["b"], "args": ["x"]})
        );
    }

    #[test]
    fn long_lists_are_merged_in_a_moment() {
        const LONG: usize = 20_000;
        let items = |image: &str| -> Value {
            let item = |n| json!({"name": format!("c{n}"), "image": image});
            (0..LONG).map(item).collect()
        };
        let names: Value = (0..LONG)
            .map(|n| json!({"name": format!("c{n}")}))
            .collect();
        let finalizers: Value = (0..LONG).map(|n| Value::from(format!("f{n}"))).collect();
        let original = json!({"containers": items("1"), "finalizers": finalizers});
        // Compared each with each, these would take minutes.
        let merged = patched(
            original.clone(),
            json!({"containers": items("2"), "$setElementOrder/containers": names, "finalizers": finalizers}),
        );
        let expected = json!({"containers": items("2"), "finalizers": finalizers});
        assert!(merged.unwrap() == expected);
        let deletes: Value = (0..LONG)
            .map(|n| json!({"name": format!("c{n}"), "$patch": "delete"}))
            .collect();
        let emptied = patched(
            original,
            json!({"containers": deletes, "$deleteFromPrimitiveList/finalizers": finalizers}),
        );
        assert_eq!(
            emptied.unwrap(),
            json!({"containers": [], "finalizers": []})
        );
    }

    #[test]
    fn errors_are_those_of_upstream() {
        let original = json!({"containers": [{"name": "a"}]});
        assert_eq!(
            patched(
                original.clone(),
                json!({"containers": [{"name": "c", "$patch": "frob"}]})
            )
            .unwrap_err(),
            "unknown patch type: frob in map: map[$patch:frob name:c]"
        );
        assert_eq!(
            patched(
                original.clone(),
                json!({"$setElementOrder/containers": [{"name": "s"}], "containers": [{"name": "c", "image": "y"}]})
            )
            .unwrap_err(),
            "The order in patch list:\n[map[image:y name:c]]\n doesn't match $setElementOrder list:\n[map[name:s]]\n"
        );
        assert_eq!(
            patched(original, json!({"$retainKeys": "args"})).unwrap_err(),
            "invalid patch format of retainKeys"
        );
    }
}
