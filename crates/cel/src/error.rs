//! Why an evaluation yields no value.

use std::sync::Arc;

/// Why an evaluation yields no value. `Display` is upstream's wording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression fails for these values: `no such key: a`. `||` and `&&` may absorb it.
    #[error("{0}")]
    Failed(Arc<str>),
    /// The one evaluation cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimitExceeded,
    /// The budget that several evaluations share is used up.
    #[error(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )]
    OutOfBudget,
}

impl EvalError {
    pub(crate) fn failed(message: impl Into<Arc<str>>) -> Self {
        Self::Failed(message.into())
    }

    pub(crate) fn no_such_key(key: &str) -> Self {
        Self::failed(format!("no such key: {key}"))
    }

    pub(crate) fn no_such_overload() -> Self {
        Self::failed("no such overload")
    }

    /// Whether `||` and `&&` may go on after it.
    pub(crate) fn is_absorbable(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}
