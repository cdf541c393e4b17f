//! `x-kubernetes-validations`: rules in the Common Expression Language.
//!
//! Rules stand at a node of a schema and are asked of every value that the node describes, as `self`; a rule that uses `oldSelf` is a
//! transition rule, asked where there is an old value. They are compiled once a node, when a value first meets them, and a definition whose rules
//! do not compile, or could cost too much, is refused when it is written ([`crate::validation`]).

pub(crate) mod compile;
mod run;

use std::sync::OnceLock;

use serde_json::{Map, Value};

pub use run::{Judgement, validate};

pub(crate) use run::validate_value;

use compile::{Compiled, compile};

use crate::schema::Structural;

/// A rule as it stands in the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The expression; true if the value is valid.
    pub rule: Box<str>,
    /// What is said if it is not.
    pub message: Box<str>,
    /// An expression that yields what is said.
    pub message_expression: Box<str>,
    /// `FieldValueInvalid`, `FieldValueForbidden`, …; empty if not said.
    pub reason: Box<str>,
    /// The field that the complaint is about, below the rule's own: `.spec.x`.
    pub field_path: Box<str>,
    /// Whether a transition rule is also asked of new values.
    pub optional_old_self: Option<bool>,
}

impl Rule {
    /// From its JSON; fields of the wrong type count as absent.
    pub fn parse(rule: &Map<String, Value>) -> Self {
        let text = |key: &str| -> Box<str> {
            rule.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into()
        };
        Self {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old_self: rule.get("optionalOldSelf").and_then(Value::as_bool),
        }
    }

    /// What stands for it in complaints: its message, or itself.
    fn shown(&self) -> &str {
        let text = if self.message.is_empty() {
            &self.rule
        } else {
            &self.message
        };
        text.trim()
    }

    /// What is said if it fails.
    fn complaint(&self) -> String {
        if self.message.is_empty() {
            format!("failed rule: {}", self.shown())
        } else {
            self.shown().to_owned()
        }
    }
}

/// The rules of a node.
#[derive(Debug, Default)]
pub struct Rules {
    list: Box<[Rule]>,
    /// As those of any node, and as those of a root, whose `self` has a name and a kind.
    compiled: [OnceLock<Compiled>; 2],
}

impl Rules {
    /// Not yet compiled.
    pub fn new(list: Box<[Rule]>) -> Self {
        Self {
            list,
            compiled: Default::default(),
        }
    }

    /// In the order of the schema.
    pub fn list(&self) -> &[Rule] {
        &self.list
    }

    fn compiled(&self, schema: &Structural, is_root: bool) -> &Compiled {
        self.compiled[usize::from(is_root)].get_or_init(|| compile(schema, &self.list, is_root))
    }
}

impl Clone for Rules {
    fn clone(&self) -> Self {
        Self::new(self.list.clone())
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

#[cfg(test)]
mod tests;
