//! The ways to act as somebody else, and what the asker must be allowed for each.
//!
//! A constrained way asks two things: whether the asker may do *this* as somebody of that sort (`impersonate-on:<mode>:<verb>` on what is
//! requested), and whether it may be that one (`impersonate:<mode>` on each part of the identity). The way of old asks only the
//! second, with verb `impersonate`, and lets the asker do whatever the other may. Nodes and service accounts have fixed groups in the
//! constrained ways, and nobody becomes a member of `system:masters` by them.

use apimachinery::{field::Path, gvk::GroupVersion, status::Status};

use crate::{
    authn::service_account,
    authz::{Attributes, Authorizer, Decision, forbidden},
    request_info::RequestInfo,
    user::{ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED, UserInfo},
};

const NODE_PREFIX: &str = "system:node:";
const NODE_NAME_KEY: &str = "authentication.kubernetes.io/node-name";
/// From so many groups (or extra values) on, one question for all of them comes first.
const MANY: usize = 4;

/// A way, in the order of trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// A service account in a pod acts as the node that the pod is on.
    AssociatedNode,
    /// Anybody as any node.
    ArbitraryNode,
    /// As a service account.
    ServiceAccount,
    /// As anybody who is neither.
    UserInfo,
    /// Unconstrained.
    Legacy,
}

impl Mode {
    pub(super) const ALL: [Self; 5] = [
        Self::AssociatedNode,
        Self::ArbitraryNode,
        Self::ServiceAccount,
        Self::UserInfo,
        Self::Legacy,
    ];

    /// `None` of the way of old.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::AssociatedNode => Some("associated-node"),
            Self::ArbitraryNode => Some("arbitrary-node"),
            Self::ServiceAccount => Some("serviceaccount"),
            Self::UserInfo => Some("user-info"),
            Self::Legacy => None,
        }
    }

    /// As metrics name it.
    pub(super) fn label(self) -> &'static str {
        self.name().unwrap_or("legacy")
    }

    /// The verb that lets the asker be somebody, where it is a constrained one.
    pub(super) fn constraint(self) -> Option<String> {
        self.name().map(|name| format!("impersonate:{name}"))
    }

    /// Whether this is a way from `asker` to `wanted` at all.
    pub(super) fn applies(self, wanted: &UserInfo, asker: &UserInfo) -> bool {
        let only_name =
            wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let node = node_name(&wanted.name);
        let account = service_account::split_username(&wanted.name);
        match self {
            Self::AssociatedNode => only_name && node.is_some_and(|node| runs_on(asker, node)),
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }

    /// The user that `asker` becomes, groups completed.
    pub(super) async fn check(
        self,
        authorizer: &dyn Authorizer,
        wanted: &UserInfo,
        asker: &UserInfo,
        request: &RequestInfo,
    ) -> Result<UserInfo, Status> {
        let asker = match self {
            Self::AssociatedNode => &associated(asker),
            _ => asker,
        };
        let judge = Judge {
            authorizer,
            asker,
            mode: self,
        };
        if let Some(name) = self.name() {
            let action = RequestInfo {
                verb: format!("impersonate-on:{name}:{}", request.verb),
                ..request.clone()
            };
            judge.ask(&action).await?;
        }
        judge.name(wanted).await?;
        judge.uid(wanted).await?;
        judge.groups(wanted).await?;
        judge.extra(wanted).await?;
        Ok(self.completed(wanted))
    }

    fn completed(self, wanted: &UserInfo) -> UserInfo {
        let mut user = wanted.clone();
        if user.groups.is_empty() {
            if self != Self::Legacy && node_name(&user.name).is_some() {
                user.groups = vec!["system:nodes".to_owned()];
            } else if let Some((namespace, _)) = service_account::split_username(&wanted.name) {
                user.groups = service_account::groups(namespace);
            }
        }
        let group = if user.name == ANONYMOUS {
            UNAUTHENTICATED
        } else {
            AUTHENTICATED
        };
        let settled = |one: &String| one == group || one == UNAUTHENTICATED;
        if !user.groups.iter().any(settled) {
            user.groups.push(group.to_owned());
        }
        user
    }
}

/// The asker of an associated node as authorizers see it: which node it is has been checked, and must not matter to them.
fn associated(asker: &UserInfo) -> UserInfo {
    let keys = asker.extra.keys().cloned().collect();
    UserInfo {
        extra: [(
            "authentication.kubernetes.io/associated-node-keys".to_owned(),
            keys,
        )]
        .into(),
        ..asker.clone()
    }
}

fn node_name(username: &str) -> Option<&str> {
    let name = username.strip_prefix(NODE_PREFIX)?;
    api::names::dns1123_subdomain(name)
        .is_empty()
        .then_some(name)
}

fn runs_on(asker: &UserInfo, node: &str) -> bool {
    service_account::split_username(&asker.name).is_some()
        && matches!(asker.extra.get(NODE_NAME_KEY).map(Vec::as_slice), Some([name]) if name == node)
}

/// Asks on behalf of one asker, in one way.
struct Judge<'a> {
    authorizer: &'a dyn Authorizer,
    asker: &'a UserInfo,
    mode: Mode,
}

impl Judge<'_> {
    async fn ask(&self, request: &RequestInfo) -> Result<(), Status> {
        let attributes = Attributes {
            user: self.asker,
            request,
        };
        match self.authorizer.authorize(attributes).await {
            (Decision::Allow, _) => Ok(()),
            (_, reason) => Err(forbidden(attributes, &reason)),
        }
    }

    fn refuse(&self, request: &RequestInfo, reason: &str) -> Status {
        let attributes = Attributes {
            user: self.asker,
            request,
        };
        forbidden(attributes, reason)
    }

    fn constrained(&self) -> bool {
        self.mode != Mode::Legacy
    }

    /// May the asker be this? Users and groups are of the core group in the way of old.
    fn question(&self, resource: &str, name: &str) -> RequestInfo {
        let core =
            !self.constrained() && matches!(resource, "users" | "groups" | "serviceaccounts");
        let group = if core { "" } else { "authentication.k8s.io" };
        RequestInfo {
            is_resource: true,
            verb: self.mode.constraint().unwrap_or("impersonate".to_owned()),
            group_version: GroupVersion {
                group: group.into(),
                version: "v1".into(),
            },
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..RequestInfo::default()
        }
    }

    async fn name(&self, wanted: &UserInfo) -> Result<(), Status> {
        let question =
            if let Some((namespace, name)) = service_account::split_username(&wanted.name) {
                RequestInfo {
                    namespace: namespace.to_owned(),
                    ..self.question("serviceaccounts", name)
                }
            } else {
                match node_name(&wanted.name) {
                    // Any node will do: that it is the asker's own has been seen to.
                    Some(_) if self.mode == Mode::AssociatedNode => self.question("nodes", "*"),
                    Some(node) if self.constrained() => self.question("nodes", node),
                    _ => self.question("users", &wanted.name),
                }
            };
        self.ask(&question).await
    }

    async fn uid(&self, wanted: &UserInfo) -> Result<(), Status> {
        if wanted.uid.is_empty() {
            return Ok(());
        }
        self.ask(&self.question("uids", &wanted.uid)).await
    }

    async fn groups(&self, wanted: &UserInfo) -> Result<(), Status> {
        if self.constrained() {
            for group in &wanted.groups {
                let reason = match group.as_str() {
                    "" => "impersonating the empty string group is not allowed",
                    MASTERS => "impersonating the system:masters group is not allowed",
                    _ => continue,
                };
                return Err(self.refuse(&self.question("groups", group), reason));
            }
            let all = self.question("groups", "*");
            if wanted.groups.len() >= MANY && self.ask(&all).await.is_ok() {
                return Ok(());
            }
        }
        for group in &wanted.groups {
            self.ask(&self.question("groups", group)).await?;
        }
        Ok(())
    }

    async fn extra(&self, wanted: &UserInfo) -> Result<(), Status> {
        let question = |key: &str, value: &str| RequestInfo {
            subresource: key.to_owned(),
            ..self.question("userextras", value)
        };
        if self.constrained() {
            if let Err(reason) = judge_extra(wanted) {
                return Err(self.refuse(&question("", ""), &reason));
            }
            let values: usize = wanted.extra.values().map(Vec::len).sum();
            if values.max(wanted.extra.len()) >= MANY && self.ask(&question("*", "*")).await.is_ok()
            {
                return Ok(());
            }
        }
        for (key, values) in &wanted.extra {
            for value in values {
                self.ask(&question(key, value)).await?;
            }
        }
        Ok(())
    }
}

fn judge_extra(wanted: &UserInfo) -> Result<(), String> {
    for (key, values) in &wanted.extra {
        if key.is_empty() {
            return Err("impersonating the empty string key in extra is not allowed".to_owned());
        }
        let mut errors = Vec::new();
        api::validate::domain_prefixed_path(&mut errors, &Path::new("extra.key"), key);
        if let Some(error) = errors.first() {
            return Err(format!(
                "impersonating an invalid key in extra is not allowed: {error}"
            ));
        }
        if values.iter().any(String::is_empty) {
            return Err("impersonating the empty string value in extra is not allowed".to_owned());
        }
    }
    Ok(())
}
