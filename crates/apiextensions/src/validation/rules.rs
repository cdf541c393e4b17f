//! The rules of `x-kubernetes-validations` themselves: their texts, and that they compile at a cost that can be borne.

use std::{cell::RefCell, rc::Rc};

use api::fields::Fields;
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use cel::Program;
use serde_json::Value;

use super::{internal, invalid_shown, schema::Limits};
use crate::{
    field_path::{self, Notation},
    rules::compile,
    schema::{SchemaRef, Structural},
};

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

/// So much may one rule cost by estimate.
const RULE_LIMIT: u64 = 10_000_000;
/// So much may all rules of a schema cost together.
const SCHEMA_LIMIT: u64 = 100_000_000;
/// So many of the most expensive rules are named.
const MOST_EXPENSIVE: usize = 4;

/// What all rules of a schema cost together.
#[derive(Debug, Default)]
struct TotalCost {
    total: u64,
    most_expensive: Vec<(Path, u64)>,
}

impl TotalCost {
    fn observe(&mut self, path: Path, cost: u64) {
        self.total = self.total.saturating_add(cost);
        // What contributes less than a hundredth is no culprit.
        if cost < SCHEMA_LIMIT / 100 {
            return;
        }
        self.most_expensive.push((path, cost));
        self.most_expensive
            .sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        self.most_expensive.truncate(MOST_EXPENSIVE);
    }
}

/// Where rules are compiled: a node of the compiled schema.
#[derive(Clone)]
pub(super) struct RuleContext {
    schema: SchemaRef,
    is_root: bool,
    /// How often the node occurs at most in one object; none if nothing bounds it.
    cardinality: Option<u64>,
    total: Rc<RefCell<TotalCost>>,
}

impl RuleContext {
    pub(super) fn root(schema: SchemaRef) -> Self {
        Self {
            schema,
            is_root: true,
            cardinality: Some(1),
            total: Rc::default(),
        }
    }

    fn child(&self, schema: &SchemaRef) -> Self {
        let elements = compile::max_elements(&self.schema);
        Self {
            schema: schema.clone(),
            is_root: schema.embedded,
            cardinality: self
                .cardinality
                .zip(elements)
                .map(|(own, elements)| own.saturating_mul(elements)),
            total: Rc::clone(&self.total),
        }
    }

    pub(super) fn property(&self, name: &str) -> Option<Self> {
        Some(self.child(self.schema.property(name)?))
    }

    pub(super) fn additional(&self) -> Option<Self> {
        Some(self.child(self.schema.additional.schema()?))
    }

    pub(super) fn items(&self) -> Option<Self> {
        Some(self.child(self.schema.items.as_ref()?))
    }

    /// Compiles the rules of a node, and says what is wrong with them or too expensive.
    pub(super) fn compile(
        &self,
        errors: &mut ErrorList,
        schema: &Object,
        path: &Path,
        uncorrelatable: Option<&Path>,
        limits: Limits,
    ) {
        let Some(rules) = &self.schema.rules else {
            return;
        };
        let path = path.child("x-kubernetes-validations");
        let compiled = compile::compile(&self.schema, rules.list(), self.is_root);
        let Some(declaration) = &compiled.declaration else {
            errors.push(FieldError::internal(
                &path,
                "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations",
            ));
            return;
        };
        let cardinality = self
            .cardinality
            .unwrap_or_else(|| compile::max_cardinality(declaration));
        let shown = schema.objects("x-kubernetes-validations");
        for ((index, shown), (rule, compiled)) in
            shown.zip(rules.list().iter().zip(&compiled.rules))
        {
            let at = |field: &str| path.index(index).child(field);
            let estimate = |program: &Option<Result<Program, String>>| match program {
                Some(Ok(program)) => program.estimate().max,
                _ => 0,
            };
            let cost = |errors: &mut ErrorList, path: Path, what: &str, cost: u64| {
                if !limits.unchanged && cost > RULE_LIMIT {
                    let message = too_expensive(what, cost, RULE_LIMIT);
                    errors.push(FieldError::forbidden(&path, message));
                }
                self.total.borrow_mut().observe(path, cost);
            };
            let rule_cost = estimate(&compiled.program).saturating_mul(cardinality);
            cost(errors, at("rule"), "estimated rule cost", rule_cost);
            if let Some(Err(detail)) = &compiled.program {
                let shown = internal::show_rule(shown);
                errors.push(invalid_shown(&at("rule"), &shown, detail));
            }
            match &compiled.message {
                Some(Err(detail)) => {
                    let shown = internal::show_rule(shown);
                    errors.push(invalid_shown(&at("messageExpression"), &shown, detail));
                }
                Some(Ok(_)) => cost(
                    errors,
                    at("messageExpression"),
                    "estimated messageExpression cost",
                    estimate(&compiled.message),
                ),
                None => {}
            }
            if compiled.uses_old_self {
                if let Some(uncorrelatable) = uncorrelatable {
                    errors.push(FieldError::invalid(
                        &at("rule"),
                        &*rule.rule,
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"),
                    ));
                }
            } else if let Some(optional) = rule.optional_old_self {
                errors.push(FieldError::invalid(
                    &at("optionalOldSelf"),
                    optional,
                    "may not be set if oldSelf is not used in rule",
                ));
            }
        }
    }

    /// Judges the cost of all rules together.
    pub(super) fn total_cost(self, errors: &mut ErrorList, path: &Path) {
        let total = self.total.borrow();
        if total.total <= SCHEMA_LIMIT {
            return;
        }
        for (path, _) in &total.most_expensive {
            errors.push(FieldError::forbidden(
                path,
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
            ));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(
            path,
            too_expensive(what, total.total, SCHEMA_LIMIT),
        ));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a factor for people")]
fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let exceeds = cost as f64 / limit as f64;
    let factor = if exceeds > 100.0 {
        "more than 100x".to_owned()
    } else if exceeds < 1.5 {
        // One digit would say that the budget is kept.
        format!("{exceeds:.6}x")
    } else {
        format!("{exceeds:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
