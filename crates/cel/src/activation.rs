//! The values of variables, for one evaluation or several.

use std::sync::{Arc, OnceLock};

use crate::{error::EvalError, program::Program, value::Value};

/// A variable of a policy, whose value is that of an expression: `variables.name`.
#[derive(Debug)]
pub struct Composed {
    /// Its name.
    pub name: Arc<str>,
    /// Its expression, which may use the variables before it.
    pub program: Program,
}

/// The values of variables. Cheap to make: one is made for each request.
#[derive(Debug, Default)]
pub struct Activation<'a> {
    variables: Vec<(&'a str, Value<'a>)>,
    composed: &'a [Composed],
    /// The values of `composed` that have been asked for.
    values: Vec<OnceLock<Result<Value<'a>, EvalError>>>,
}

impl<'a> Activation<'a> {
    /// Without any variable.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more variable.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a variable, or replaces it.
    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name, value)),
        }
    }

    /// With `variables`: each is evaluated once, when an expression first asks for it, at the cost of that expression's budget.
    #[must_use]
    pub fn with_composed(mut self, composed: &'a [Composed]) -> Self {
        self.composed = composed;
        self.values = composed.iter().map(|_| OnceLock::new()).collect();
        self.with("variables", Value::Map(crate::value::Map::Composed))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Value<'a>> {
        self.variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
    }

    /// A composed variable: its program, and the place of its value.
    pub(crate) fn composed(
        &self,
        name: &str,
    ) -> Option<(&'a Program, &OnceLock<Result<Value<'a>, EvalError>>)> {
        let at = self.composed.iter().position(|c| &*c.name == name)?;
        Some((&self.composed[at].program, &self.values[at]))
    }
}
