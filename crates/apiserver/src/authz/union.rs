//! The authorizers of `--authorization-mode` in order, behind the superusers' group.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Attributes, Authorizer, Decision,
    always::{AlwaysAllow, AlwaysDeny, PrivilegedGroup},
    node::NodeAuthorizer,
    rbac::{Rbac, RuleResolver},
};
use crate::reader::ObjectReader;

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
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "Node" => Ok(Self::Node),
            "RBAC" => Ok(Self::Rbac),
            "AlwaysAllow" => Ok(Self::AlwaysAllow),
            "AlwaysDeny" => Ok(Self::AlwaysDeny),
            _ => Err(format!("{text:?} is not a valid authorization mode")),
        }
    }
}

/// Asks each in turn.
pub struct Union {
    authorizers: Vec<Arc<dyn Authorizer>>,
}

impl Union {
    /// Of these, in order.
    pub fn new(authorizers: Vec<Arc<dyn Authorizer>>) -> Self {
        Self { authorizers }
    }

    /// Of the modes, in order, behind the superusers' group.
    pub fn of_modes(
        modes: &[Mode],
        reader: &Arc<dyn ObjectReader>,
        resolver: &Arc<RuleResolver>,
    ) -> Self {
        let mut authorizers: Vec<Arc<dyn Authorizer>> = vec![Arc::new(PrivilegedGroup)];
        authorizers.extend(modes.iter().map(|mode| -> Arc<dyn Authorizer> {
            match mode {
                Mode::Node => Arc::new(NodeAuthorizer::new(Arc::clone(reader))),
                Mode::Rbac => Arc::new(Rbac::new(Arc::clone(resolver))),
                Mode::AlwaysAllow => Arc::new(AlwaysAllow),
                Mode::AlwaysDeny => Arc::new(AlwaysDeny),
            }
        }));
        Self { authorizers }
    }
}

#[async_trait]
impl Authorizer for Union {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let mut reasons = Vec::new();
        for authorizer in &self.authorizers {
            match authorizer.authorize(attributes).await {
                (Decision::NoOpinion, reason) if reason.is_empty() => {}
                (Decision::NoOpinion, reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        (Decision::NoOpinion, reasons.join("\n"))
    }
}
