//! The Common Expression Language as Kubernetes 1.36 speaks it: parser, type checker, evaluator, Kubernetes' libraries, cost. No I/O.
//!
//! ```
//! use cel::{Activation, Budget, Declaration, Environment, Value};
//!
//! let environment = Environment::new().declare("self", Declaration::dynamic());
//! let program = environment.compile("self.min <= self.max").expect("it is well formed");
//! let object = serde_json::json!({"min": 1, "max": 2});
//! let activation = Activation::new().with("self", Value::from_json(&object, None));
//! let value = program.evaluate(&activation, &mut Budget::default()).expect("both fields are there");
//! assert_eq!(value.as_bool(), Some(true));
//! ```
//!
//! An [`Environment`] declares variables and compiles; a [`Program`] is evaluated any number of times, from any thread, against an [`Activation`] that holds
//! the variables' values; a [`Budget`] bounds what evaluations cost. Wording of errors, semantics and costs follow cel-go and the libraries of
//! Kubernetes. Expressions are hostile input: text, nesting, time and memory are bounded.

mod activation;
mod ast;
mod checker;
mod cost;
mod declaration;
mod environment;
mod error;
mod escape;
mod estimate;
mod eval;
mod function;
mod lexer;
mod library;
mod macros;
mod parser;
mod plan;
mod program;
mod schema;
mod source;
mod types;
mod value;
mod words;

#[cfg(test)]
mod tests;

pub use activation::{Activation, Composed};
pub use cost::{Budget, PER_CALL_LIMIT, RUNTIME_COST_BUDGET};
pub use declaration::{Declaration, Field, ListType, MAX_REQUEST_BYTES, ObjectType};
pub use environment::Environment;
pub use error::EvalError;
pub use escape::{escape, unescape};
pub use estimate::Estimate;
pub use library::{
    Opaque,
    authorizer::{Attributes, Authorize, Decision, NonResource},
};
pub use program::Program;
pub use schema::{Schema, declaration};
pub use source::{CompileErrors, Issue};
pub use types::Type;
pub use value::{Instant, List, ListKind, Map, Text, Value};
pub use words::is_reserved;
