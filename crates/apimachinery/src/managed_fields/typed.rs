//! Objects seen through their schema: which fields are set, what differs, merging, removing. After structured-merge-diff's `typed`.
//!
//! `null` and absent differ here, and so do empty and absent: what a Go struct always shows is there before anybody sets it.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};
use smallvec::{SmallVec, smallvec};

use super::set::{Entry, FieldSet, View, field_step};
use crate::{
    encode, go,
    schema::{Field, ListSemantics, Omit, Scalar, Type, TypeRef},
};

/// How a value takes part in ownership.
#[derive(Clone, Copy)]
pub(super) enum Shape<'s> {
    /// Owned as a whole.
    Leaf,
    /// Fields or entries are owned one by one.
    Map(Option<TypeRef<'s>>),
    /// Items are owned one by one.
    List(&'s ListSemantics, TypeRef<'s>),
}

/// What a value is owned like. A type that nobody knows is told from the value: maps by entry, all else as a whole.
pub(super) fn shape<'s>(ty: Option<TypeRef<'s>>, value: &Value) -> Shape<'s> {
    let Some(ty) = ty else {
        return if value.is_object() {
            Shape::Map(None)
        } else {
            Shape::Leaf
        };
    };
    match ty.node() {
        Type::Object(object)
            if !object.atomic && matches!(value, Value::Object(_) | Value::Null) =>
        {
            Shape::Map(Some(ty))
        }
        Type::Map(map) if !map.atomic && matches!(value, Value::Object(_) | Value::Null) => {
            Shape::Map(Some(ty))
        }
        Type::List(list)
            if list.semantics != ListSemantics::Atomic
                && matches!(value, Value::Array(_) | Value::Null) =>
        {
            Shape::List(&list.semantics, ty.at(list.items))
        }
        _ => Shape::Leaf,
    }
}

pub(super) fn inner<'s>(
    ty: Option<TypeRef<'s>>,
    name: &str,
) -> (Option<&'s Field>, Option<TypeRef<'s>>) {
    match ty.and_then(|ty| ty.field(name)) {
        Some((field, ty)) => (field, Some(ty)),
        None => (None, None),
    }
}

pub(super) fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn items(value: Option<&Value>) -> &[Value] {
    value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub(super) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

/// Why an item of a set or of a keyed list cannot be told from others; worded in [`super::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ItemError {
    NullInKeyed,
    NoMapInKeyed,
    NoKeys(Arc<[Arc<str>]>),
    MapInSet,
    ListInSet,
    NullInSet,
}

/// The step to an item of a set or of a keyed list. A key that is absent counts as its default; some may be without.
pub(super) fn item_step(
    semantics: &ListSemantics,
    ty: TypeRef<'_>,
    item: &Value,
) -> Result<String, ItemError> {
    let ListSemantics::Map(keys) = semantics else {
        return match item {
            Value::Object(_) => Err(ItemError::MapInSet),
            Value::Array(_) => Err(ItemError::ListInSet),
            Value::Null => Err(ItemError::NullInSet),
            _ => Ok(as_go_spells(format!("v:{item}"))),
        };
    };
    let object = match item {
        Value::Null => return Err(ItemError::NullInKeyed),
        Value::Object(object) => object,
        _ => return Err(ItemError::NoMapInKeyed),
    };
    let mut found: SmallVec<[(&str, Cow<'_, Value>); 4]> = SmallVec::new();
    for key in keys.iter() {
        let value = object.get(&**key).map(Cow::Borrowed);
        let value = value.or_else(|| default_key(ty, key).map(Cow::Owned));
        found.extend(value.map(|value| (&**key, value)));
    }
    if found.is_empty() {
        return Err(ItemError::NoKeys(keys.clone()));
    }
    found.sort_unstable_by_key(|(key, _)| *key);
    Ok(keys_step(&found))
}

/// `k:{"containerPort":80,"protocol":"TCP"}`
fn keys_step(keys: &[(&str, Cow<'_, Value>)]) -> String {
    let mut step = b"k:{".to_vec();
    for (index, (key, value)) in keys.iter().enumerate() {
        if index > 0 {
            step.push(b',');
        }
        encode::member(key, value, &mut step);
    }
    step.push(b'}');
    as_go_spells(String::from_utf8(step).unwrap_or_default())
}

/// A step's JSON with the escapes of upstream's encoder, which also knows no short ones for backspaces and form feeds.
fn as_go_spells(step: String) -> String {
    let step = go::escape_markup(step);
    if !step.contains('\\') {
        return step;
    }
    let mut out = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some('b')) => out.push_str("\\u0008"),
            ('\\', Some('f')) => out.push_str("\\u000c"),
            ('\\', Some(escaped)) => out.extend([c, escaped]),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

/// Whether there is a step to an item.
pub(super) fn has_step(semantics: &ListSemantics, ty: TypeRef<'_>, item: &Value) -> bool {
    match semantics {
        ListSemantics::Atomic => true,
        ListSemantics::Set => !(item.is_object() || item.is_array() || item.is_null()),
        ListSemantics::Map(keys) => item.as_object().is_some_and(|object| {
            keys.iter()
                .any(|key| object.contains_key(&**key) || default_key(ty, key).is_some())
        }),
    }
}

/// What an absent key counts as: its default, and the zero value where Go always writes one.
fn default_key(ty: TypeRef<'_>, key: &str) -> Option<Value> {
    let object = ty.object()?;
    let field = object.field(key)?;
    let zero = || {
        if !object.go || field.pointer || (field.omit != Omit::Never && !field.zero_default) {
            return None;
        }
        match ty.at(field.ty).node() {
            Type::Scalar(Scalar::String) => Some(Value::from("")),
            Type::Scalar(Scalar::Int32 | Scalar::Int64) => Some(Value::from(0)),
            Type::Scalar(Scalar::Bool) => Some(Value::Bool(false)),
            _ => None,
        }
    };
    field.default.clone().or_else(zero)
}

/// The maps and lists in a value that are owned as a whole, by their paths.
pub(super) fn atomic_parts(value: &Value, ty: TypeRef<'_>, path: &str, found: &mut Vec<String>) {
    match (ty.node(), value) {
        (Type::Object(object), Value::Object(entries)) => {
            if object.atomic {
                found.push(path.to_owned());
            }
            for (name, value) in entries {
                if let Some((_, ty)) = ty.field(name) {
                    atomic_parts(value, ty, &format!("{path}.{name}"), found);
                }
            }
        }
        (Type::Map(map), Value::Object(_)) if map.atomic => found.push(path.to_owned()),
        (Type::List(list), Value::Array(items)) => {
            if list.semantics == ListSemantics::Atomic {
                found.push(path.to_owned());
            }
            for (index, item) in items.iter().enumerate() {
                atomic_parts(item, ty.at(list.items), &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// The fields that an object sets.
pub(super) fn field_set(value: &Value, ty: Option<TypeRef<'_>>) -> Entry {
    let mut entry = Entry::default();
    match shape(ty, value) {
        Shape::Leaf => entry.member = true,
        Shape::Map(ty) => {
            for (name, value) in entries(Some(value)) {
                let (field, inner) = inner(ty, name);
                let mut below = field_set(value, inner);
                let empty_map = value.as_object().is_some_and(Map::is_empty);
                below.member |= value.is_null() || empty_map || field.is_none();
                entry.children.attach(field_step(name), below);
            }
        }
        Shape::List(semantics, inner) => {
            for (step, same) in keyed(Some(value), semantics, inner) {
                let mut below = match same.as_slice() {
                    [item] => field_set(item, Some(inner)),
                    _ => Entry::default(),
                };
                below.member = true;
                entry.children.attach(step, below);
            }
        }
    }
    entry
}

/// What differs between two values.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) added: Entry,
    pub(super) modified: Entry,
    pub(super) removed: Entry,
}

impl Comparison {
    fn attach(&mut self, step: &str, below: Comparison) {
        for (to, from) in [
            (&mut self.added, below.added),
            (&mut self.modified, below.modified),
            (&mut self.removed, below.removed),
        ] {
            if !from.is_empty() {
                to.children.attach(step.to_owned(), from);
            }
        }
    }

    /// Of a value that is on one side alone.
    fn one_sided(old: Option<&Value>, new: Option<&Value>, ty: Option<TypeRef<'_>>) -> Self {
        let all = |value| whole(value, ty);
        Self {
            added: new.map(all).unwrap_or_default(),
            modified: Entry::default(),
            removed: old.map(all).unwrap_or_default(),
        }
    }

    fn leaf(old: Option<&Value>, new: Option<&Value>) -> Self {
        let mut out = Self::default();
        match (old, new) {
            (None, _) => out.added.member = true,
            (_, None) => out.removed.member = true,
            (Some(old), Some(new)) => out.modified.member = !same(old, new),
        }
        out
    }
}

/// Numbers are equal by value.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a, b), (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64())
}

/// Items with the same step: one, mostly.
pub(super) type Same<'v> = SmallVec<[&'v Value; 1]>;

/// Items by their step. Several with the same keys are owned together, as a whole.
pub(super) fn keyed<'v>(
    list: Option<&'v Value>,
    semantics: &ListSemantics,
    ty: TypeRef<'_>,
) -> BTreeMap<String, Same<'v>> {
    let mut out: BTreeMap<String, Same<'_>> = BTreeMap::new();
    for item in items(list) {
        if let Ok(step) = item_step(semantics, ty, item) {
            out.entry(step).or_default().push(item);
        }
    }
    out
}

/// Items that stand twice are owned as a whole: what was below them goes, and comes again when one is left.
fn compare_items(old: &[&Value], new: &[&Value], ty: TypeRef<'_>) -> Comparison {
    let mut out = Comparison::default();
    match (old, new) {
        ([] | [_], [] | [_]) => {
            return compare(old.first().copied(), new.first().copied(), Some(ty));
        }
        ([_, _, ..], [_, _, ..]) => out.modified.member = old != new,
        ([_, _, ..], _) => {
            if let Some(new) = new.first() {
                out = compare(None, Some(new), Some(ty));
            }
            out.removed.member = true;
        }
        (_, [_, _, ..]) => {
            if let Some(old) = old.first() {
                out = compare(Some(old), None, Some(ty));
            }
            out.added.member = true;
        }
    }
    out
}

/// All there is to a value that was not there before, or is not there any more: what comparing it with nothing would come to, without
/// keeping three books for each of its fields. A create is nothing else.
fn whole(value: &Value, ty: Option<TypeRef<'_>>) -> Entry {
    let member_alone = || Entry {
        member: true,
        ..Entry::default()
    };
    if is_empty(Some(value)) {
        return member_alone();
    }
    let children = match shape(ty, value) {
        Shape::Leaf => FieldSet::default(),
        Shape::Map(ty) => entries(Some(value))
            .map(|(name, value)| (field_step(name), whole(value, inner(ty, name).1)))
            .collect(),
        Shape::List(semantics, ty) => {
            let keyed = keyed(Some(value), semantics, ty).into_iter();
            let below = keyed.map(|(step, same)| match same.as_slice() {
                [item] => (step, whole(item, Some(ty))),
                _ => (step, member_alone()),
            });
            below.collect()
        }
    };
    Entry {
        member: true,
        children,
    }
}

/// Whether what a value is owned like is told from the value.
fn is_deduced(ty: Option<TypeRef<'_>>) -> bool {
    ty.is_none_or(|ty| matches!(ty.node(), Type::Object(object) if object.untyped))
}

/// Of a map in whose place something else comes, or the other way round: the place changes hands, and the entries come or go.
fn compare_kinds(old: &Value, new: &Value, ty: Option<TypeRef<'_>>) -> Comparison {
    let mut out = Comparison::leaf(Some(old), Some(new));
    out.removed.children = children(old, ty);
    out.added.children = children(new, ty);
    out
}

/// The entries of a map, and nothing of anything else.
fn children(value: &Value, ty: Option<TypeRef<'_>>) -> FieldSet {
    match value {
        Value::Object(_) => whole(value, ty).children,
        _ => FieldSet::default(),
    }
}

/// Compares; at least one of the two is there.
pub(super) fn compare(
    old: Option<&Value>,
    new: Option<&Value>,
    ty: Option<TypeRef<'_>>,
) -> Comparison {
    if old.is_none() || new.is_none() {
        return Comparison::one_sided(old, new, ty);
    }
    let Some(any) = new.filter(|v| !v.is_null()).or(old) else {
        return Comparison::leaf(old, new);
    };
    if let (Some(old), Some(new)) = (old, new)
        && is_deduced(ty)
        && old.is_object() != new.is_object()
        && !old.is_null()
        && !new.is_null()
    {
        return compare_kinds(old, new, ty);
    }
    let shape = shape(ty, any);
    let both_empty = is_empty(old) && is_empty(new);
    match shape {
        Shape::Leaf => Comparison::leaf(old, new),
        _ if both_empty => Comparison::leaf(old, new),
        Shape::Map(ty) => {
            let mut out = Comparison::default();
            for (name, value) in entries(old) {
                let other = new.and_then(|v| v.get(name));
                if other.is_some_and(|o| o == value) {
                    continue;
                }
                out.attach(
                    &field_step(name),
                    compare(Some(value), other, inner(ty, name).1),
                );
            }
            for (name, value) in entries(new) {
                if old.and_then(|v| v.get(name)).is_none() {
                    out.attach(
                        &field_step(name),
                        compare(None, Some(value), inner(ty, name).1),
                    );
                }
            }
            out
        }
        Shape::List(semantics, inner) => {
            let (old, new) = (keyed(old, semantics, inner), keyed(new, semantics, inner));
            let mut out = Comparison::default();
            let none: Same<'_> = smallvec![];
            for (step, item) in &old {
                let other = new.get(step).unwrap_or(&none);
                if other != item {
                    out.attach(step, compare_items(item, other, inner));
                }
            }
            for (step, item) in &new {
                if !old.contains_key(step) {
                    out.attach(step, compare_items(&none, item, inner));
                }
            }
            out
        }
    }
}

/// `live` with `config` laid over it: maps by entry, keyed lists by item, all else replaced.
pub(super) fn merge(
    live: Option<&Value>,
    config: Option<&Value>,
    ty: Option<TypeRef<'_>>,
) -> Option<Value> {
    let (live, config) = match (live, config) {
        (Some(live), Some(config)) => (live, config),
        (live, config) => return config.or(live).cloned(),
    };
    // Nothing and none are told apart, whatever the type.
    if is_empty(Some(live)) && is_empty(Some(config)) {
        return Some(config.clone());
    }
    match shape(ty, config) {
        Shape::Leaf => Some(config.clone()),
        Shape::Map(ty) => {
            let mut out = Map::new();
            for (name, value) in entries(Some(live)) {
                let merged = merge(Some(value), config.get(name), inner(ty, name).1);
                out.extend(merged.map(|value| (name.clone(), value)));
            }
            for (name, value) in entries(Some(config)) {
                if !out.contains_key(name) {
                    out.insert(name.clone(), value.clone());
                }
            }
            Some(Value::Object(out))
        }
        Shape::List(semantics, inner) => Some(Value::Array(merge_lists(
            items(Some(live)),
            items(Some(config)),
            semantics,
            inner,
        ))),
    }
}

/// Keeps the live order for what the configuration does not name, and the configuration's for what it does.
fn merge_lists(
    live: &[Value],
    config: &[Value],
    semantics: &ListSemantics,
    ty: TypeRef<'_>,
) -> Vec<Value> {
    let steps = |list: &[Value]| -> Vec<String> {
        list.iter()
            .map(|item| item_step(semantics, ty, item).unwrap_or_else(|_| item.to_string()))
            .collect()
    };
    let (left, right) = (steps(live), steps(config));
    let find = |steps: &[String], step: &String| steps.iter().position(|s| s == step);
    let both = |l: usize, r: usize| merge(Some(&live[l]), Some(&config[r]), Some(ty));
    let mut shared = right.iter().filter(|step| left.contains(step));
    let mut next_shared = shared.next();
    let mut merged: Vec<&String> = Vec::with_capacity(right.len());
    let mut out = Vec::with_capacity(live.len() + config.len());
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() {
            if left[l] == right[r] {
                merged.push(&right[r]);
                out.extend(both(l, r));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if right.contains(&left[l]) && next_shared.is_some_and(|next| *next != left[l]) {
                l += 1;
                continue;
            }
        }
        if l < left.len() {
            if !right.contains(&left[l]) {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            if merged.contains(&&left[l]) {
                l += 1;
            }
        }
        if r < right.len() {
            merged.push(&right[r]);
            match find(&left, &right[r]) {
                Some(at) => out.extend(both(at, r)),
                None => out.push(config[r].clone()),
            }
            if next_shared == Some(&right[r]) {
                next_shared = shared.next();
            }
            r += 1;
        }
    }
    out
}

/// Takes fields away. A list of which nothing is left goes, too, and is `null` where it stands alone; a map stays, empty.
pub(super) fn remove(value: &Value, fields: View<'_>, ty: Option<TypeRef<'_>>) -> Value {
    if !fields.has_steps() {
        return value.clone();
    }
    match shape(ty, value) {
        Shape::Leaf => value.clone(),
        Shape::Map(ty) => {
            let mut out = Map::new();
            for (name, value) in entries(Some(value)) {
                match fields.get(&field_step(name)) {
                    Some(below) if below.is_member() => {}
                    Some(below) => {
                        let left = remove(value, below, inner(ty, name).1);
                        if !(left.is_null() && value.is_array()) {
                            out.insert(name.clone(), left);
                        }
                    }
                    None => {
                        out.insert(name.clone(), value.clone());
                    }
                }
            }
            Value::Object(out)
        }
        Shape::List(semantics, inner) => {
            let mut out = Vec::new();
            for item in items(Some(value)) {
                let step = item_step(semantics, inner, item).unwrap_or_default();
                match fields.get(&step) {
                    Some(below) if below.is_member() => {}
                    Some(below) => out.push(remove(item, below, Some(inner))),
                    None => out.push(item.clone()),
                }
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Array(out)
            }
        }
    }
}

/// With the named fields on the way to its members made members themselves.
pub(super) fn with_named_fields(set: View<'_>, ty: Option<TypeRef<'_>>) -> FieldSet {
    let named = set.steps().map(|(step, below)| {
        let (is_named, ty) = match step.strip_prefix("f:") {
            Some(name) => {
                let (field, inner) = inner(ty, name);
                (field.is_some(), inner)
            }
            None => (false, ty.and_then(TypeRef::items)),
        };
        let children = with_named_fields(below, ty);
        let member = below.is_member() || (is_named && !children.is_empty());
        (step.clone(), Entry { member, children })
    });
    named.collect()
}
