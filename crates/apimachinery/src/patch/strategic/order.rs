//! The order of merged lists: what the patch names comes in the patch's order, the rest in the server's, woven together by the server's order where
//! it knows both.

use std::collections::HashMap;

use serde_json::Value;

use super::{DIRECTIVE, ELEMENT_ORDER, Result, bad_type, no_merge_key, unclassified};
use crate::go;

/// Items that are in another list, too, and those that are not.
pub(super) fn partition(
    items: Vec<Value>,
    by: &[Value],
    key: Option<&str>,
) -> Result<(Vec<Value>, Vec<Value>)> {
    if let Some(key) = key {
        for item in &items {
            if !item.is_object() {
                return bad_type("map[string]interface {}", item);
            }
            if item.get(key).is_none() {
                return no_merge_key(item, key);
            }
        }
        if !items.is_empty()
            && let Some(at) = by.iter().position(|item| !item.is_object())
        {
            return unclassified(format!("value for key {at} is not a map"));
        }
    }
    let places = Places::of(by, key);
    Ok(items
        .into_iter()
        .partition(|item| places.find(item).is_some()))
}

/// The patch's items must come in the order that the directive gives.
pub(super) fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<()> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut items = patch
        .iter()
        .filter(|item| item.get(DIRECTIVE).is_none())
        .peekable();
    for at in order {
        let Some(item) = items.peek() else { break };
        if let Some(key) = key {
            for side in [*item, at] {
                if !side.is_object() {
                    return bad_type("map[string]interface {}", side);
                }
                if side.get(key).is_none() {
                    return no_merge_key(side, key);
                }
            }
        }
        if same(item, at, key) {
            items.next();
        }
    }
    if items.peek().is_none() {
        return Ok(());
    }
    let print = |list: &[Value]| go::plain(&Value::Array(list.to_vec()));
    unclassified(format!(
        "The order in patch list:\n{}\n doesn't match {ELEMENT_ORDER} list:\n{}\n",
        print(patch),
        print(order)
    ))
}

fn same(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        None => a == b,
    }
}

/// Where the items of a list stand, by their merge key or, where they have none, by themselves; the first of several that are the same.
struct Places<'l> {
    key: Option<&'l str>,
    places: HashMap<&'l Value, usize>,
}

impl<'l> Places<'l> {
    fn of(list: &'l [Value], key: Option<&'l str>) -> Self {
        let mut places = HashMap::with_capacity(list.len());
        for (place, item) in list.iter().enumerate() {
            if let Some(value) = identity(item, key) {
                places.entry(value).or_insert(place);
            }
        }
        Self { key, places }
    }

    fn find(&self, item: &Value) -> Option<usize> {
        let value = identity(item, self.key)?;
        self.places.get(value).copied()
    }
}

/// What makes an item the same as another: see [`same`].
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// Puts `named` in the patch's order and `others` in the server's, and joins them so that the server's order holds where it knows both.
pub(super) fn weave(
    mut named: Vec<Value>,
    mut others: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (patched, served) = (Places::of(patch_order, key), Places::of(server_order, key));
    named.sort_by_cached_key(|item| patched.find(item));
    others.sort_by_cached_key(|item| served.find(item));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (Some(other), Some(name)) => match (served.find(other), served.find(name)) {
                (Some(other), Some(name)) => other < name,
                _ => false,
            },
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return out,
        };
        out.extend(if other_first {
            others.next()
        } else {
            named.next()
        });
    }
}
