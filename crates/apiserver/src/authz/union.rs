//! The authorizers of `--authorization-mode` or `--authorization-config` in order, behind the superusers' group.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::{
    Attributes, Authorizer, Decision,
    always::{AlwaysAllow, AlwaysDeny, PrivilegedGroup},
    node::NodeAuthorizer,
    rbac::{Rbac, Resolved, RuleResolver},
};
use crate::{reader::ObjectReader, user::UserInfo};

/// An authorization mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What kubelets may do.
    Node,
    /// Roles and bindings.
    Rbac,
    /// Everybody everything.
    AlwaysAllow,
    /// Nobody anything.
    AlwaysDeny,
    /// Somebody else decides.
    Webhook,
}

impl Mode {
    /// As flags and `AuthorizationConfiguration` write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Rbac => "RBAC",
            Self::AlwaysAllow => "AlwaysAllow",
            Self::AlwaysDeny => "AlwaysDeny",
            Self::Webhook => "Webhook",
        }
    }

    /// The authorizer's name where flags ask for it, which give it none.
    pub fn default_name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Rbac => "rbac",
            Self::AlwaysAllow => "alwaysallow",
            Self::AlwaysDeny => "alwaysdeny",
            Self::Webhook => "default",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "Node" => Ok(Self::Node),
            "RBAC" => Ok(Self::Rbac),
            "AlwaysAllow" => Ok(Self::AlwaysAllow),
            "AlwaysDeny" => Ok(Self::AlwaysDeny),
            "Webhook" => Ok(Self::Webhook),
            _ => Err(format!("{text:?} is not a valid authorization mode")),
        }
    }
}

/// Asks each in turn. Who is asked can be exchanged while serving.
pub struct Union {
    authorizers: ArcSwap<Vec<Arc<dyn Authorizer>>>,
}

impl Union {
    /// Of these, in order, behind the superusers' group.
    pub fn new(authorizers: Vec<Arc<dyn Authorizer>>) -> Self {
        let union = Self {
            authorizers: ArcSwap::default(),
        };
        union.replace(authorizers);
        union
    }

    /// Asks these from now on.
    pub fn replace(&self, authorizers: Vec<Arc<dyn Authorizer>>) {
        let mut all: Vec<Arc<dyn Authorizer>> = vec![Arc::new(PrivilegedGroup)];
        all.extend(authorizers);
        self.authorizers.store(Arc::new(all));
    }
}

/// The authorizer of a mode; `None` of [`Mode::Webhook`], which needs to know more.
pub fn of_mode(
    mode: Mode,
    reader: &Arc<dyn ObjectReader>,
    resolver: &Arc<RuleResolver>,
) -> Option<Arc<dyn Authorizer>> {
    Some(match mode {
        Mode::Node => Arc::new(NodeAuthorizer::new(Arc::clone(reader))),
        Mode::Rbac => Arc::new(Rbac::new(Arc::clone(resolver))),
        Mode::AlwaysAllow => Arc::new(AlwaysAllow),
        Mode::AlwaysDeny => Arc::new(AlwaysDeny),
        Mode::Webhook => return None,
    })
}

#[async_trait]
impl Authorizer for Union {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let mut reasons = Vec::new();
        let authorizers = self.authorizers.load_full();
        for authorizer in authorizers.iter() {
            match authorizer.authorize(attributes).await {
                (Decision::NoOpinion, reason) if reason.is_empty() => {}
                (Decision::NoOpinion, reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        (Decision::NoOpinion, reasons.join("\n"))
    }

    fn rules_for(&self, user: &UserInfo, namespace: &str) -> Resolved {
        let mut all = Resolved::default();
        for authorizer in self.authorizers.load().iter() {
            let resolved = authorizer.rules_for(user, namespace);
            all.rules.extend(resolved.rules);
            all.errors.extend(resolved.errors);
        }
        all
    }
}
