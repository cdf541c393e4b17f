//! One expression: compiled, or why not; evaluated, or why not, as users read it.

use api::kinds::admissionregistration::expressions::{Expressions, Returns, Uses};
use cel::{Activation, Budget, EvalError, Program, Value};

use super::super::metrics::ErrorType;

/// A compiled expression, and its text.
#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    program: Result<Program, String>,
}

/// Nothing more is evaluated: what may be spent is spent.
#[derive(Debug)]
pub(super) struct OutOfBudget(pub(super) String);

/// Why an expression has no value.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) error: ErrorType,
}

impl From<OutOfBudget> for Failure {
    fn from(spent: OutOfBudget) -> Self {
        Self {
            message: spent.0,
            error: ErrorType::OutOfBudget,
        }
    }
}

/// The value of an expression, or why it has none.
pub(super) type Evaluated<'a> = Result<Value<'a>, Failure>;

impl Expression {
    pub(super) fn new(text: &str, expressions: &Expressions, uses: Uses, returns: Returns) -> Self {
        Self {
            text: text.to_owned(),
            program: expressions
                .compile(text, uses, returns)
                .map_err(|wrong| wrong.to_string()),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates, at the cost of the budget.
    pub(super) fn evaluate<'a>(
        &'a self,
        activation: &Activation<'a>,
        budget: &mut Budget,
    ) -> Result<Evaluated<'a>, OutOfBudget> {
        let program = match &self.program {
            Ok(program) => program,
            Err(reason) => {
                return Ok(Err(Failure {
                    message: format!("compilation error: {reason}"),
                    error: ErrorType::Compile,
                }));
            }
        };
        match program.evaluate(activation, budget) {
            Ok(value) => Ok(Ok(value)),
            Err(error @ EvalError::OutOfBudget) => Err(OutOfBudget(error.to_string())),
            Err(error) => Ok(Err(Failure {
                message: format!("expression '{}' resulted in error: {error}", self.text),
                error: ErrorType::Invalid,
            })),
        }
    }
}
