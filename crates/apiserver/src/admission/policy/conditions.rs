//! `matchConditions`: expressions that must all be true, or the webhook or policy is not asked. One that is false settles it, also when
//! another fails; if none is false and one fails, the failure policy decides.

use std::time::Instant;

use api::kinds::admissionregistration::expressions::{Expressions, Returns, Uses};
use apimachinery::Object;
use cel::{Activation, Budget};

use super::{
    super::metrics::{AdmissionMetrics, ConditionOwner},
    expression::{Expression, OutOfBudget},
};
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
        owner: &ConditionOwner<'_>,
        metrics: &AdmissionMetrics,
    ) -> Result<bool, String> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let start = Instant::now();
        let mut failures = Vec::new();
        let met = match self.evaluate(activation, &mut failures) {
            Err(_) if self.ignores_failure => Ok(false),
            met => met,
        };
        let excluded = matches!(met, Ok(false));
        metrics.conditions(owner, start.elapsed(), failures.len(), excluded);
        met
    }

    /// Also gathers what each condition that failed says.
    fn evaluate<'a>(
        &'a self,
        activation: &Activation<'a>,
        failures: &mut Vec<String>,
    ) -> Result<bool, String> {
        let mut budget = Budget::new(BUDGET);
        let mut refused = false;
        for condition in &self.conditions {
            match condition.evaluate(activation, &mut budget) {
                Ok(Ok(value)) => refused |= value.as_bool() == Some(false),
                Ok(Err(failure)) => failures.push(failure.message),
                Err(OutOfBudget(failure)) => return Err(failure),
            }
        }
        match failures.as_slice() {
            _ if refused => Ok(false),
            [] => Ok(true),
            [only] => Err(only.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}
