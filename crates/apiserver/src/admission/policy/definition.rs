//! A policy, compiled: what both sorts have. What a sort has beyond that is its [`Body`].

use api::kinds::admissionregistration::expressions::Expressions;
use apimachinery::{Object, gvk::GroupVersionKind, meta};
use cel::Composed;

use super::{super::matching::Matcher, MatchConditions, params};
use crate::lookup;

/// What one sort of policies does.
pub(super) trait Body: Send + Sync + 'static {
    /// Of a policy's spec; the expressions know its variables.
    fn compile(spec: &Object, expressions: &Expressions) -> Self;
}

pub(super) struct Policy<B> {
    pub(super) name: String,
    pub(super) ignores_failure: bool,
    /// Which requests it is about; none if it does not say, which is wrong.
    pub(super) matcher: Option<Matcher>,
    /// The kind of its parameters, if it has any.
    pub(super) param_kind: Option<GroupVersionKind>,
    pub(super) conditions: MatchConditions,
    pub(super) variables: Vec<Composed>,
    pub(super) body: B,
}

impl<B: Body> Policy<B> {
    pub(super) fn of(policy: &Object) -> Self {
        let empty = Object::new();
        let spec = lookup::map(policy, &["spec"]).unwrap_or(&empty);
        let param_kind = params::kind_of(spec);
        let mut expressions = Expressions::new(param_kind.is_some(), true);
        for variable in lookup::objects(spec, &["variables"]) {
            let text = |field: &str| lookup::text(variable, &[field]);
            // One that does not compile fails whatever uses it.
            let _ = expressions.add_variable(text("name"), text("expression"));
        }
        Self {
            name: meta::name(policy).to_owned(),
            ignores_failure: lookup::text(spec, &["failurePolicy"]) == "Ignore",
            matcher: lookup::map(spec, &["matchConstraints"]).map(Matcher::of_policy),
            conditions: MatchConditions::of(spec, &expressions),
            body: B::compile(spec, &expressions),
            param_kind,
            variables: expressions.into_variables(),
        }
    }
}
