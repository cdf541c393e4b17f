//! `matchConditions`: expressions that must all be true, or the webhook or policy is not asked. One that is false settles it, also when
//! another fails; if none is false and one fails, the failure policy decides.

use api::kinds::admissionregistration::expressions::{Expressions, Returns, Uses};
use apimachinery::Object;
use cel::{Activation, Budget};

use super::expression::{Expression, OutOfBudget};
use crate::lookup;

/// What the conditions of one webhook or policy may cost together, as upstream: a quarter of what validations may.
const BUDGET: u64 = 2_500_000;

/// Compiled conditions.
#[derive(Debug)]
pub(in super::super) struct MatchConditions {
    conditions: Vec<Expression>,
    ignores_failure: bool,
}

impl MatchConditions {
    /// Of a webhook or of a policy's spec.
    pub(in super::super) fn of(owner: &Object, expressions: &Expressions) -> Self {
        let uses = Uses {
            authorizer: true,
            ..Uses::default()
        };
        let conditions = lookup::objects(owner, &["matchConditions"]).map(|condition| {
            let text = lookup::text(condition, &["expression"]);
            Expression::new(text, expressions, uses, Returns::Bool)
        });
        Self {
            conditions: conditions.collect(),
            ignores_failure: lookup::text(owner, &["failurePolicy"]) == "Ignore",
        }
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether all are met; the error is for a failure policy that does not ignore it.
    pub(in super::super) fn are_met<'a>(
        &'a self,
        activation: &Activation<'a>,
    ) -> Result<bool, String> {
        let mut budget = Budget::new(BUDGET);
        let mut failures = Vec::new();
        let mut refused = false;
        for condition in &self.conditions {
            match condition.evaluate(activation, &mut budget) {
                Ok(Ok(value)) => refused |= value.as_bool() == Some(false),
                Ok(Err(failure)) => failures.push(failure),
                Err(OutOfBudget(failure)) => {
                    return if self.ignores_failure {
                        Ok(false)
                    } else {
                        Err(failure)
                    };
                }
            }
        }
        if refused {
            return Ok(false);
        }
        match failures.as_slice() {
            [] => Ok(true),
            _ if self.ignores_failure => Ok(false),
            [only] => Err(only.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}
