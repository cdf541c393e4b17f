//! Reading and filling objects by field name.
//!
//! Objects reach this crate decoded by schema, so a field has the right type or is not there; a wrong type reads as absent. Where
//! upstream has no pointer, absent and zero are one thing, and the readers below give the zero.

use apimachinery::{Object, Quantity};
use serde_json::{Map, Value};

/// Field access on an [`Object`], at any depth.
pub trait Fields {
    /// A string; empty when absent.
    fn text(&self, name: &str) -> &str;
    /// A string, when there.
    fn text_opt(&self, name: &str) -> Option<&str>;
    /// A whole number, when there.
    fn int(&self, name: &str) -> Option<i64>;
    /// A truth value, when there.
    fn bool_opt(&self, name: &str) -> Option<bool>;
    /// Whether a truth value is there and true.
    fn is_true(&self, name: &str) -> bool;
    /// A nested object.
    fn object(&self, name: &str) -> Option<&Object>;
    /// A list; empty when absent.
    fn list(&self, name: &str) -> &[Value];
    /// The objects of a list, with their index.
    fn objects(&self, name: &str) -> impl Iterator<Item = (usize, &Object)>;
    /// The strings of a list.
    fn texts(&self, name: &str) -> impl Iterator<Item = &str>;
    /// A field that is there and not null.
    fn value(&self, name: &str) -> Option<&Value>;
    /// Whether a field is there and not null.
    fn has(&self, name: &str) -> bool;
    /// A nested object, for writing.
    fn object_mut(&mut self, name: &str) -> Option<&mut Object>;
    /// A nested object, made when absent.
    fn ensure_object(&mut self, name: &str) -> &mut Object;
    /// Calls `f` on each object of a list.
    fn each_object(&mut self, name: &str, f: impl FnMut(&mut Object));
    /// Sets a field that is absent or null.
    fn set_default(&mut self, name: &str, value: impl Into<Value>);
    /// Sets a field that is absent, null, empty or zero: upstream's fields without a pointer.
    fn set_default_zero(&mut self, name: &str, value: impl Into<Value>);
    /// Sets a field.
    fn set(&mut self, name: &str, value: impl Into<Value>);
    /// Sets a field to `value`, or removes it.
    fn set_or_remove(&mut self, name: &str, value: Option<Value>);
}

impl Fields for Map<String, Value> {
    fn text(&self, name: &str) -> &str {
        self.text_opt(name).unwrap_or_default()
    }

    fn text_opt(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(Value::as_i64)
    }

    fn bool_opt(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(Value::as_bool)
    }

    fn is_true(&self, name: &str) -> bool {
        self.bool_opt(name) == Some(true)
    }

    fn object(&self, name: &str) -> Option<&Object> {
        self.get(name).and_then(Value::as_object)
    }

    fn list(&self, name: &str) -> &[Value] {
        self.get(name)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn objects(&self, name: &str) -> impl Iterator<Item = (usize, &Object)> {
        self.list(name)
            .iter()
            .enumerate()
            .filter_map(|(i, v)| Some((i, v.as_object()?)))
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).iter().filter_map(Value::as_str)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|v| !v.is_null())
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn object_mut(&mut self, name: &str) -> Option<&mut Object> {
        self.get_mut(name).and_then(Value::as_object_mut)
    }

    fn ensure_object(&mut self, name: &str) -> &mut Object {
        let slot = self.entry(name).or_insert(Value::Null);
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        slot.as_object_mut().expect("made an object above")
    }

    fn each_object(&mut self, name: &str, f: impl FnMut(&mut Object)) {
        self.get_mut(name)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
            .for_each(f);
    }

    fn set_default(&mut self, name: &str, value: impl Into<Value>) {
        if !self.has(name) {
            self.insert(name.to_owned(), value.into());
        }
    }

    fn set_default_zero(&mut self, name: &str, value: impl Into<Value>) {
        let zero = match self.get(name) {
            None | Some(Value::Null) => true,
            Some(Value::String(s)) => s.is_empty(),
            Some(Value::Number(n)) => n.as_i64() == Some(0),
            Some(_) => false,
        };
        if zero {
            self.insert(name.to_owned(), value.into());
        }
    }

    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.insert(name.to_owned(), value.into());
    }

    fn set_or_remove(&mut self, name: &str, value: Option<Value>) {
        match value {
            Some(value) => self.insert(name.to_owned(), value),
            None => self.remove(name),
        };
    }
}

/// The value of a field that holds a quantity, which may be a bare number.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// Whether two objects agree in a field; absent, null, and what is empty or zero are the same, as upstream's semantic equality has it.
pub fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter().all(|(k, v)| same(Some(v), b.get(k)))
                && b.iter()
                    .all(|(k, v)| a.contains_key(k) || same(None, Some(v)))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (a, b) => {
            let (a, b) = (a.filter(|v| !is_empty(v)), b.filter(|v| !is_empty(v)));
            a == b
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(o) => o.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::String(s) => s.is_empty(),
        _ => false,
    }
}

/// [`same`] for the field `name` of two objects.
pub fn same_field(a: &Object, b: &Object, name: &str) -> bool {
    same(a.get(name), b.get(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn emptiness_is_no_difference() {
        assert!(same(
            Some(&json!({"a": {}, "b": [1]})),
            Some(&json!({"b": [1], "c": ""}))
        ));
        assert!(!same(Some(&json!({"a": 1})), Some(&json!({"a": 2}))));
        assert!(!same(None, Some(&json!(false))));
        assert!(!same(Some(&json!({})), Some(&json!({"a": {"b": 1}}))));
    }
}
