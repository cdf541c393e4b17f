//! `x-kubernetes-validations`: rules in the Common Expression Language.

use serde_json::{Map, Value};

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
}
