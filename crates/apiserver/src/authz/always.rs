//! The authorizers that do not look: `AlwaysAllow`, `AlwaysDeny`, and the superusers' group.

use async_trait::async_trait;

use super::{
    Attributes, Authorizer, Decision,
    rbac::{PolicyRule, Resolved},
};
use crate::user::{MASTERS, UserInfo};

/// Mode `AlwaysAllow`.
#[derive(Debug)]
pub struct AlwaysAllow;

#[async_trait]
impl Authorizer for AlwaysAllow {
    async fn authorize(&self, _attributes: Attributes<'_>) -> (Decision, String) {
        (Decision::Allow, String::new())
    }

    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> Resolved {
        Resolved {
            rules: PolicyRule::everything().into(),
            ..Resolved::default()
        }
    }
}

/// Mode `AlwaysDeny`: has no opinion, ever, so that nothing is allowed.
#[derive(Debug)]
pub struct AlwaysDeny;

#[async_trait]
impl Authorizer for AlwaysDeny {
    async fn authorize(&self, _attributes: Attributes<'_>) -> (Decision, String) {
        (Decision::NoOpinion, "Everything is forbidden.".to_owned())
    }
}

/// Members of `system:masters` may do everything, whatever the modes: the way back in when roles are broken.
#[derive(Debug)]
pub struct PrivilegedGroup;

#[async_trait]
impl Authorizer for PrivilegedGroup {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let member = attributes.user.groups.iter().any(|group| group == MASTERS);
        (
            if member {
                Decision::Allow
            } else {
                Decision::NoOpinion
            },
            String::new(),
        )
    }
}
