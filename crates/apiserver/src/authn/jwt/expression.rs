//! Expressions over `claims` and `user`: a value for a user, or a yes or no.

use cel::{Activation, Budget, Declaration, Environment, Field, ListType, Program, Type, Value};
use serde_json::Value as Json;

/// A compiled expression over one variable.
pub(super) struct Expression {
    text: String,
    variable: &'static str,
    declaration: Declaration,
    program: Program,
}

/// What an expression must come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A text.
    Text,
    /// A text or a list of texts.
    Texts,
    /// True or false.
    Bool,
}

impl Expression {
    /// Over `claims`, of which nothing is known before they are there.
    pub(super) fn of_claims(text: &str, wanted: Wanted) -> Result<Self, String> {
        Self::compile(text, "claims", Declaration::dynamic(), wanted)
    }

    /// Over `user`, as `authentication.k8s.io/v1 UserInfo`.
    pub(super) fn of_user(text: &str) -> Result<Self, String> {
        let texts = || Declaration::list(Declaration::string(None), ListType::Atomic, None);
        let user = Declaration::object(
            "kubernetes.UserInfo",
            [
                Field::new("username", Declaration::string(None)),
                Field::new("uid", Declaration::string(None)),
                Field::new("groups", texts()),
                Field::new("extra", Declaration::map(texts(), None)),
            ],
        );
        Self::compile(text, "user", user, Wanted::Bool)
    }

    fn compile(
        text: &str,
        variable: &'static str,
        declaration: Declaration,
        wanted: Wanted,
    ) -> Result<Self, String> {
        let program = Environment::new()
            .declare(variable, declaration.clone())
            .compile(text)
            .map_err(|errors| format!("{text:?}: compilation failed: {errors}"))?;
        let fits = match program.result_type() {
            // What is only known at a request may be a text, but a rule has to say that it is one.
            Type::Dyn => wanted != Wanted::Bool,
            Type::Bool => wanted == Wanted::Bool,
            Type::String => wanted != Wanted::Bool,
            Type::List(_) => wanted == Wanted::Texts,
            _ => false,
        };
        if !fits {
            let wanted = match wanted {
                Wanted::Text => "must evaluate to string",
                Wanted::Texts => "must evaluate to one of [string list(string)]",
                Wanted::Bool => "must evaluate to bool",
            };
            return Err(format!("{text:?}: {wanted}"));
        }
        Ok(Self {
            text: text.to_owned(),
            variable,
            declaration,
            program,
        })
    }

    /// The expression as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its value.
    pub(super) fn evaluate(&self, given: &Json) -> Result<Json, String> {
        let activation = Activation::new().with(
            self.variable,
            Value::from_json(given, Some(&self.declaration)),
        );
        let value = self
            .program
            .evaluate(&activation, &mut Budget::default())
            .map_err(|error| format!("expression '{}' resulted in error: {error}", self.text))?;
        value
            .to_json()
            .ok_or_else(|| format!("expression '{}' has no value that JSON can say", self.text))
    }
}
