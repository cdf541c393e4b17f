//! What the creator of an object owns: all of it but what a blank one has, too. As text, written in one walk, since a create is nothing else; it is what
//! comparing with the blank object, and leaving out what nobody may own, would come to.

use serde_json::Value;

use super::{
    fields::Fields,
    set::View,
    typed::{Shape, entries, inner, is_empty, keyed, same, shape},
};
use crate::{Object, encode, json_string::is_plain, schema::TypeRef};

/// What is left out.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    /// Fields that are left out, with what is below them.
    pub(super) ignored: Option<View<'a>>,
    /// Fields that are left out alone.
    pub(super) stripped: Option<View<'a>>,
}

impl Left<'_> {
    /// Of what is below a step; `None` if all of it is left out.
    fn below(self, step: &str) -> Option<Self> {
        let ignored = self.ignored.and_then(|set| set.get(step));
        if ignored.is_some_and(View::is_member) {
            return None;
        }
        Some(Self {
            ignored,
            stripped: self.stripped.and_then(|set| set.get(step)),
        })
    }

    fn leaves_member(self) -> bool {
        !self.stripped.is_some_and(View::is_member)
    }
}

/// Whether there is no more to a value than what Go's structs always show: such a blank object can be compared with in passing.
pub(super) fn is_bare(blank: &Value) -> bool {
    match blank {
        Value::Object(members) => members.values().all(is_bare),
        other => is_empty(Some(other)),
    }
}

/// The fields of the members `changed` of a new object.
pub(super) fn fields(
    ty: TypeRef<'_>,
    blank: &Object,
    new: &Object,
    changed: &[String],
    left: Left<'_>,
) -> Fields {
    let mut text = b"{".to_vec();
    let mut changed: Vec<&String> = changed.iter().collect();
    changed.sort_unstable();
    for name in changed {
        let Some(value) = new.get(name) else { continue };
        let inner = inner(Some(ty), name).1;
        field(name, left, &mut text, |left, text| {
            entry(blank.get(name), value, inner, left, text)
        });
    }
    text.push(b'}');
    Fields::of_text(String::from_utf8(text).unwrap_or_default())
}

/// Writes the step to a named field and what is below it, if anything is.
fn field(
    name: &str,
    left: Left<'_>,
    out: &mut Vec<u8>,
    write: impl FnOnce(Left<'_>, &mut Vec<u8>) -> bool,
) {
    // Made of each field of each object that is created: a step that needs no escapes and is left whole is never put together.
    if left.ignored.is_none() && left.stripped.is_none() && is_plain(name.as_bytes()) {
        let start = out.len();
        separate(out);
        out.extend_from_slice(b"\"f:");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        if !write(left, out) {
            out.truncate(start);
        }
        return;
    }
    step(&super::set::field_step(name), left, out, write);
}

/// Writes a step and what is below it, if anything is.
fn step(
    step: &str,
    left: Left<'_>,
    out: &mut Vec<u8>,
    write: impl FnOnce(Left<'_>, &mut Vec<u8>) -> bool,
) {
    let Some(left) = left.below(step) else { return };
    let start = out.len();
    separate(out);
    encode::name(step, out);
    if !write(left, out) {
        out.truncate(start);
    }
}

/// There are objects alone: behind an opening brace stands the first member.
fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

/// Writes what is below the step to a value; whether anything is in the set there.
fn entry(
    old: Option<&Value>,
    new: &Value,
    ty: Option<TypeRef<'_>>,
    left: Left<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let shown = if new.is_null() {
        old.unwrap_or(new)
    } else {
        new
    };
    let shape = shape(ty, shown);
    let is_leaf = matches!(shape, Shape::Leaf) || (is_empty(old) && is_empty(Some(new)));
    // What was there before is owned as far as it differs; what was not, as such.
    let differs = match old {
        None => true,
        Some(old) => is_leaf && !same(old, new),
    };
    let member = differs && left.leaves_member();
    out.push(b'{');
    let start = out.len();
    if !is_leaf {
        if member {
            out.extend_from_slice(b"\".\":{}");
        }
        let first = out.len();
        below(old, new, &shape, left, out);
        if out.len() == first {
            out.truncate(start);
        }
    }
    let is_there = member || out.len() > start;
    out.push(b'}');
    is_there
}

/// Writes the steps to what is in a map or a list.
fn below(old: Option<&Value>, new: &Value, shape: &Shape<'_>, left: Left<'_>, out: &mut Vec<u8>) {
    match shape {
        Shape::Leaf => {}
        Shape::Map(ty) => {
            for (name, value) in entries(Some(new)) {
                let old = old.and_then(|old| old.get(name));
                if old != Some(value) {
                    let inner = inner(*ty, name).1;
                    field(name, left, out, |left, out| {
                        entry(old, value, inner, left, out)
                    });
                }
            }
        }
        Shape::List(semantics, ty) => {
            for (item_step, same) in keyed(Some(new), semantics, *ty) {
                step(&item_step, left, out, |left, out| match same.as_slice() {
                    [item] => entry(None, item, Some(*ty), left, out),
                    // Items that stand twice are owned as a whole.
                    _ => {
                        out.extend_from_slice(b"{}");
                        left.leaves_member()
                    }
                });
            }
        }
    }
}
