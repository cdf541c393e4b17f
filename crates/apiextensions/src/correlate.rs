//! Which old value a new one takes the place of: for ratcheting and for transition rules.
//!
//! Fields correlate by name where the schema specifies them, items of a `map` list by their keys; items of other lists do not. As upstream
//! (`apiserver/pkg/cel/common`), what does not correlate is not equal either, so that fields that the schema merely lets through are never
//! ratcheted.

use std::collections::HashMap;

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

    /// The same of the items of a list.
    pub fn items(self) -> Option<CorrelatedItems<'a>> {
        let new = self.new.as_array()?;
        let schema = self.schema.items.as_deref()?;
        if self.schema.list_type != Some(ListType::Map) {
            return None;
        }
        Some(CorrelatedItems {
            old: OldItems::new(self.schema, self.old.as_array()?),
            new,
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
                    && self.items().is_some_and(|items| {
                        (0..new.len()).all(|i| items.get(i).is_some_and(Self::is_unchanged))
                    })
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

/// The items of two lists, by their keys.
#[derive(Debug)]
pub struct CorrelatedItems<'a> {
    old: OldItems<'a>,
    new: &'a [Value],
    schema: &'a Structural,
}

impl<'a> CorrelatedItems<'a> {
    /// A new item and the old one in whose place it stands.
    pub fn get(&self, index: usize) -> Option<Correlated<'a>> {
        let new = self.new.get(index)?;
        Some(Correlated {
            old: self.old.of(new)?.into(),
            new: new.into(),
            schema: self.schema,
        })
    }
}

/// The items of an old list by their keys: found in constant time, for lists may be long.
#[derive(Debug)]
pub struct OldItems<'a> {
    list: &'a Structural,
    by_key: HashMap<String, &'a Value>,
}

impl<'a> OldItems<'a> {
    /// Empty unless the list is of type `map`. Of two items with the same keys, the last counts, as in upstream's map.
    pub fn new(list: &'a Structural, old: &'a [Value]) -> Self {
        let mut by_key = HashMap::new();
        if list.list_type == Some(ListType::Map) {
            for item in old {
                if let Some(key) = key_of(list, item) {
                    by_key.insert(key, item);
                }
            }
        }
        Self { list, by_key }
    }

    /// The item that has the keys of a new one.
    pub fn of(&self, new: &Value) -> Option<&'a Value> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get(&key_of(self.list, new)?).copied()
    }
}

/// The keys of an item; the default of the schema stands for what is absent.
fn key_of(list: &Structural, item: &Value) -> Option<String> {
    let item = item.as_object()?;
    let mut out = String::new();
    for key in &list.list_map_keys {
        let default = || list.items.as_ref()?.property(key)?.default.as_deref();
        match item.get(&**key).or_else(default) {
            Some(value) => out.push_str(&value.to_string()),
            None => out.push('-'),
        }
        out.push('\n');
    }
    Some(out)
}
