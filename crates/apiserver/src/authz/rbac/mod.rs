//! Role-based access control: what a user may do is the union of the rules of the roles bound to them. There are no denials.

mod resolver;
mod rule;

use std::sync::Arc;

use async_trait::async_trait;

pub use resolver::{Resolved, RuleResolver};
pub use rule::{PolicyRule, uncovered};

use super::{Attributes, Authorizer, Decision};
use crate::user::UserInfo;

/// The authorizer of mode `RBAC`.
#[derive(Debug)]
pub struct Rbac {
    resolver: Arc<RuleResolver>,
}

impl Rbac {
    /// Decides by the rules that `resolver` finds.
    pub fn new(resolver: Arc<RuleResolver>) -> Self {
        Self { resolver }
    }
}

#[async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let Attributes { user, request } = attributes;
        let mut allowed_by = None;
        let mut errors = Vec::new();
        self.resolver
            .visit(user, &request.namespace, |rules, describe| {
                match rules {
                    Ok(rules) if rules.iter().any(|rule| rule.allows(request)) => {
                        allowed_by = Some(describe())
                    }
                    Ok(_) => {}
                    Err(error) => errors.push(error),
                }
                allowed_by.is_none()
            });
        if let Some(grant) = allowed_by {
            return (Decision::Allow, format!("RBAC: allowed by {grant}"));
        }
        // A missing role explains a refusal; upstream shows it to the client.
        errors.dedup();
        let reason = match errors.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        };
        (Decision::NoOpinion, reason)
    }

    fn rules_for(&self, user: &UserInfo, namespace: &str) -> Resolved {
        self.resolver.rules_for(user, namespace)
    }
}
