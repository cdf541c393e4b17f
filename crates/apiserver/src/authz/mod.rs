//! Authorization: one file an authorizer, asked in the order of `--authorization-mode`; the first with an opinion decides.

mod always;
pub mod configuration;
mod forbidden;
mod match_conditions;
mod metrics;
pub mod node;
pub mod rbac;
mod review_selector;
pub mod reviews;
mod union;
pub mod webhook;

use async_trait::async_trait;

pub use always::{AlwaysAllow, AlwaysDeny, PrivilegedGroup};
pub use forbidden::forbidden;
pub use match_conditions::MatchConditions;
pub use metrics::{AuthorizationMetrics, DecisionMetrics};
pub use union::{Mode, Union, of_mode};
pub use webhook::{Webhook, WebhookSettings};

use self::rbac::Resolved;
use crate::{request_info::RequestInfo, user::UserInfo};

/// Who wants to do what.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a UserInfo,
    /// What, by verb, group, resource, subresource, namespace and name, or path.
    pub request: &'a RequestInfo,
}

/// An authorizer's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and nobody else is asked.
    Allow,
    /// No, and nobody else is asked.
    Deny,
    /// Ask the next; when nobody has an opinion it is no.
    NoOpinion,
}

/// Decides on requests.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// The decision and its reason, which is shown to the client when it is no.
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String);

    /// What the user may do in `namespace`, as far as it can be listed: what SelfSubjectRulesReview shows.
    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> Resolved {
        Resolved::default()
    }
}

#[cfg(test)]
mod tests;
