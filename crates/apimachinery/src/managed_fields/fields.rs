//! The fields of one entry as they lie in the store: text, until somebody asks for the set.
//!
//! Most writes touch the fields of one manager, and those of all others go back as they came.

use std::cell::OnceCell;

use serde_json::Value;

use super::set::FieldSet;
use crate::{encode, json_string::is_plain};

/// A set, its text, or both.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    /// What the set reads as; none when it was made of something else.
    text: Option<String>,
    set: OnceCell<FieldSet>,
}

impl Default for Fields {
    fn default() -> Self {
        FieldSet::default().into()
    }
}

impl From<FieldSet> for Fields {
    fn from(set: FieldSet) -> Self {
        Self {
            text: None,
            set: OnceCell::from(set),
        }
    }
}

impl Fields {
    /// Of text that this module has written.
    pub(super) fn of_text(text: String) -> Self {
        Self {
            text: Some(text),
            set: OnceCell::new(),
        }
    }

    /// What an entry states; `None` if it is no set.
    pub(super) fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::default()),
            Value::String(text) => Some(Self::of_text(text.clone())),
            tree => FieldSet::from_fields_v1(tree).map(Self::from),
        }
    }

    pub(super) fn set(&self) -> &FieldSet {
        self.set.get_or_init(|| read(self.text.as_deref()))
    }

    fn into_set(self) -> FieldSet {
        let Self { text, set } = self;
        set.into_inner().unwrap_or_else(|| read(text.as_deref()))
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.text {
            Some(text) => text == "{}",
            None => self.set().is_empty(),
        }
    }

    /// Takes out what is in the other.
    pub(super) fn subtract(&mut self, other: &FieldSet) {
        if self.may_share_with(other) {
            let mut set = std::mem::take(self).into_set();
            set.subtract(other);
            *self = set.into();
        }
    }

    /// Takes in another set.
    pub(super) fn absorb(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else if !other.is_empty() {
            let mut set = std::mem::take(self).into_set();
            set.absorb(other.into_set());
            *self = set.into();
        }
    }

    /// Whether the two can have anything in common, as far as it can be told from the text: a step of the other's top that is nowhere in it
    /// is not at its top.
    fn may_share_with(&self, other: &FieldSet) -> bool {
        let Some(text) = self.text.as_deref().filter(|_| self.set.get().is_none()) else {
            return true;
        };
        let mut steps = other.view().steps().map(|(step, _)| step);
        steps.any(|step| !is_plain(step.as_bytes()) || text.contains(step.as_str()))
    }

    /// As a tree, which clients are shown.
    pub(super) fn into_tree(self) -> Value {
        self.into_set().into_fields_v1()
    }

    /// As text, which is stored.
    pub(super) fn into_text(self) -> Value {
        if let Some(text) = self.text {
            return Value::String(text);
        }
        let mut text = Vec::new();
        encode::json(&self.into_tree(), &mut text);
        Value::String(String::from_utf8(text).unwrap_or_default())
    }
}

fn read(text: Option<&str>) -> FieldSet {
    let tree = text.map(serde_json::from_str::<Value>);
    let set = tree.and_then(|tree| FieldSet::from_fields_v1(&tree.ok()?));
    set.unwrap_or_default()
}
