//! What the encoder needs of a tree, whoever owns its texts.
//!
//! Objects that a handler holds are `serde_json` trees, which own all that is in them. Those that are read from the store only to be sent
//! on are read as [`Borrowed`](super::borrowed::Borrowed) ones, which own nothing but their branches.

use std::borrow::Cow;

use serde_json::Value;

use crate::Object;

/// A JSON value.
pub(super) trait Tree: Sized {
    /// The members of an object.
    type Members: Members<Value = Self>;

    fn is_null(&self) -> bool;
    fn text(&self) -> Option<&str>;
    fn flag(&self) -> Option<bool>;
    fn integer(&self) -> Option<i64>;
    fn float(&self) -> Option<f64>;
    fn items(&self) -> Option<&[Self]>;
    fn members(&self) -> Option<&Self::Members>;
    /// As compact JSON.
    fn json(&self) -> Cow<'_, str>;
}

/// The members of an object, sorted by name.
pub(super) trait Members {
    /// Of a member.
    type Value: Tree<Members = Self>;

    fn named(&self, name: &str) -> Option<&Self::Value>;
    fn each(&self) -> impl Iterator<Item = (&str, &Self::Value)>;
}

impl Tree for Value {
    type Members = Object;

    fn is_null(&self) -> bool {
        self.is_null()
    }

    fn text(&self) -> Option<&str> {
        self.as_str()
    }

    fn flag(&self) -> Option<bool> {
        self.as_bool()
    }

    fn integer(&self) -> Option<i64> {
        self.as_i64()
    }

    fn float(&self) -> Option<f64> {
        self.as_f64()
    }

    fn items(&self) -> Option<&[Self]> {
        self.as_array().map(Vec::as_slice)
    }

    fn members(&self) -> Option<&Object> {
        self.as_object()
    }

    fn json(&self) -> Cow<'_, str> {
        self.to_string().into()
    }
}

impl Members for Object {
    type Value = Value;

    fn named(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.iter().map(|(name, value)| (name.as_str(), value))
    }
}
