//! A compiled expression.

use crate::{
    activation::Activation,
    checker,
    cost::Budget,
    environment::Environment,
    error::EvalError,
    estimate::{self, Estimate},
    eval,
    parser::{self, Options},
    plan::{self, Plan},
    source::CompileErrors,
    types::Type,
    value::Value,
};

/// A compiled expression: evaluated any number of times, from any thread.
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    result: Type,
    estimate: Estimate,
}

impl Program {
    pub(crate) fn compile(environment: &Environment, source: &str) -> Result<Self, CompileErrors> {
        let options = Options {
            bindings: environment.has_bindings(),
        };
        let (ast, root) = parser::parse(source, options)?;
        let checked = checker::check(environment, source, ast, root)?;
        checker::validate(&checked, source)?;
        Ok(Self {
            result: checked.type_of(root).clone(),
            estimate: estimate::estimate(environment, &checked),
            plan: plan::plan(&checked)
                .map_err(|message| CompileErrors::instantiation(source, message))?,
        })
    }

    /// The static type of the value.
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// What an evaluation costs at least and at most, by the bounds that declarations state.
    pub fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// Evaluates. What it cost is taken from the budget, also if it fails.
    ///
    /// # Errors
    /// If the expression has no value for these variables, or costs more than it may.
    pub fn evaluate<'a>(
        &self,
        activation: &Activation<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        eval::evaluate(&self.plan, activation, budget, 0)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }
}
