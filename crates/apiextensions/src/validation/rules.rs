//! The rules of `x-kubernetes-validations` themselves: their texts, and that they compile at a cost that can be borne.

use api::fields::Fields;
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::{
    field_path::{self, Notation},
    schema::Limits,
};
use crate::schema::{SchemaRef, Structural};

const REASONS: &[&str] = &[
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// What can be said of rules without compiling them.
pub(super) fn texts(errors: &mut ErrorList, schema: &Object, path: &Path) {
    let path = path.child("x-kubernetes-validations");
    let mut compiled = None;
    for (index, rule) in schema.objects("x-kubernetes-validations") {
        let at = |field: &str| path.index(index).child(field);
        let expression = rule.text("rule").trim();
        let message = rule.text("message");
        if expression.is_empty() {
            errors.push(FieldError::required(&at("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            errors.push(FieldError::invalid(
                &at("message"),
                message,
                "must be non-empty if specified",
            ));
        } else if has_newlines(message.trim()) {
            errors.push(FieldError::invalid(
                &at("message"),
                message,
                "must not contain line breaks",
            ));
        } else if has_newlines(expression) && message.trim().is_empty() {
            errors.push(FieldError::required(
                &at("message"),
                "message must be specified if rule contains line breaks",
            ));
        }
        let message_expression = rule.text("messageExpression");
        if !message_expression.is_empty() && message_expression.trim().is_empty() {
            errors.push(FieldError::required(
                &at("messageExpression"),
                "messageExpression must be non-empty if specified",
            ));
        }
        if let Some(reason) = rule.text_opt("reason")
            && !REASONS.contains(&reason)
        {
            errors.push(FieldError::not_supported(&at("reason"), reason, REASONS));
        }
        let field_path = rule.text("fieldPath");
        if field_path.is_empty() {
            continue;
        }
        if field_path.trim().is_empty() {
            errors.push(FieldError::invalid(
                &at("fieldPath"),
                field_path,
                "must be non-empty if specified",
            ));
        }
        if has_newlines(field_path) {
            errors.push(FieldError::invalid(
                &at("fieldPath"),
                field_path,
                "must not contain line breaks",
            ));
        }
        let known = compiled.get_or_insert_with(|| {
            Structural::compile(Some(&Value::Object(schema.clone())), &super::interner())
        });
        if field_path::resolve(field_path, known, Notation::Brackets).is_err() {
            errors.push(FieldError::invalid(
                &at("fieldPath"),
                field_path,
                "must be a valid path",
            ));
        }
    }
}

/// Where rules are compiled: a node of the compiled schema.
pub(super) struct RuleContext {
    schema: SchemaRef,
}

impl RuleContext {
    pub(super) fn root(schema: SchemaRef) -> Self {
        Self { schema }
    }

    pub(super) fn property(&self, name: &str) -> Option<Self> {
        Some(Self {
            schema: self.schema.property(name)?.clone(),
        })
    }

    pub(super) fn additional(&self) -> Option<Self> {
        Some(Self {
            schema: self.schema.additional.schema()?.clone(),
        })
    }

    pub(super) fn items(&self) -> Option<Self> {
        Some(Self {
            schema: self.schema.items.as_ref()?.clone(),
        })
    }

    /// Compiles the rules of a node.
    pub(super) fn compile(
        &self,
        _errors: &mut ErrorList,
        _schema: &Object,
        _path: &Path,
        _uncorrelatable: Option<&Path>,
        _limits: Limits,
    ) {
    }

    /// Judges the cost of all rules together.
    pub(super) fn total_cost(self, _errors: &mut ErrorList, _path: &Path) {}
}
