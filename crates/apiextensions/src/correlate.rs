//! Which old value a new one takes the place of: for ratcheting and for transition rules.
//!
//! Fields correlate by name where the schema specifies them, items of a `map` list by their keys; items of other lists do not. As upstream
//! (`apiserver/pkg/cel/common`), what does not correlate is not equal either, so that fields that the schema merely lets through are never
//! ratcheted.

use apimachinery::Object;
use serde_json::Value;

use crate::schema::{ListType, Structural};

/// A borrowed value. The registry holds whole objects as maps, everything below them is a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// An object.
    Object(&'a Object),
    /// Anything but an object.
    Other(&'a Value),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Object(object) => Self::Object(object),
            other => Self::Other(other),
        }
    }
}

impl<'a> From<&'a Object> for ValueRef<'a> {
    fn from(object: &'a Object) -> Self {
        Self::Object(object)
    }
}

impl<'a> ValueRef<'a> {
    /// As an object.
    pub fn as_object(self) -> Option<&'a Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Other(_) => None,
        }
    }

    /// As a list.
    pub fn as_array(self) -> Option<&'a Vec<Value>> {
        match self {
            Self::Other(Value::Array(items)) => Some(items),
            _ => None,
        }
    }
}

/// A value that was there before, and the schema that both are of.
#[derive(Clone, Copy, Debug)]
pub struct Correlated<'a> {
    /// Before.
    pub old: ValueRef<'a>,
    /// Now.
    pub new: ValueRef<'a>,
    /// Of both.
    pub schema: &'a Structural,
}

impl<'a> Correlated<'a> {
    /// The same of a field.
    pub fn key(self, name: &str) -> Option<Self> {
        Some(Self {
            old: self.old.as_object()?.get(name)?.into(),
            new: self.new.as_object()?.get(name)?.into(),
            schema: self.schema.field(name)?,
        })
    }

    /// The same of an item.
    pub fn index(self, index: usize) -> Option<Self> {
        let new = self.new.as_array()?.get(index)?;
        let schema = self.schema.items.as_deref()?;
        Some(Self {
            old: old_item(self.schema, self.old.as_array()?, new)?.into(),
            new: new.into(),
            schema,
        })
    }

    /// Whether nothing changed, as far as values correlate.
    pub fn is_unchanged(self) -> bool {
        match (self.old, self.new) {
            (ValueRef::Other(Value::Array(old)), ValueRef::Other(Value::Array(new))) => {
                if self.schema.list_type != Some(ListType::Map) {
                    return old == new;
                }
                old.len() == new.len()
                    && (0..new.len()).all(|i| self.index(i).is_some_and(Self::is_unchanged))
            }
            (ValueRef::Object(old), ValueRef::Object(new)) => {
                old.len() == new.len()
                    && new
                        .keys()
                        .all(|name| self.key(name).is_some_and(Self::is_unchanged))
            }
            (old, new) => old == new,
        }
    }
}

/// The item of an old list that has the keys of a new one. Two of them: the last, as upstream's map of them has it.
pub(crate) fn old_item<'a>(list: &Structural, old: &'a [Value], new: &Value) -> Option<&'a Value> {
    if list.list_type != Some(ListType::Map) {
        return None;
    }
    let new = new.as_object()?;
    old.iter().rev().find(|item| {
        item.as_object().is_some_and(|item| {
            list.list_map_keys
                .iter()
                .all(|key| key_of(list, item, key) == key_of(list, new, key))
        })
    })
}

/// A key of an item; the default of the schema stands for what is absent.
fn key_of<'v>(
    list: &'v Structural,
    item: &'v serde_json::Map<String, Value>,
    key: &str,
) -> Option<&'v Value> {
    item.get(key).or_else(|| {
        let field = list.items.as_ref()?.property(key)?;
        field.default.as_deref()
    })
}
