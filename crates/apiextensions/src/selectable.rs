//! `selectableFields`: fields of custom objects by which lists and watches can be narrowed.
//!
//! A path is plain (`.spec.color`), and the field is a string, a whole number or a truth value. An absent field selects as the empty text.

use std::sync::Arc;

use apimachinery::Object;
use serde_json::Value;

use crate::schema::Interner;

/// One.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectableField {
    /// The label of field selectors: `spec.color`.
    pub label: Arc<str>,
    steps: Box<[Arc<str>]>,
}

impl SelectableField {
    /// From its `jsonPath`.
    pub fn parse(json_path: &str, interner: &Interner) -> Self {
        let label = json_path.strip_prefix('.').unwrap_or(json_path);
        Self {
            label: interner.name(label),
            steps: label.split('.').map(|s| interner.name(s)).collect(),
        }
    }

    /// The value of an object, as selectors compare it.
    pub fn value(&self, object: &Object) -> String {
        let mut at = None;
        let mut fields = Some(object);
        for step in &self.steps {
            let Some(found) = fields.and_then(|f| f.get(&**step)) else {
                return String::new();
            };
            fields = found.as_object();
            at = Some(found);
        }
        match at {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }
}
