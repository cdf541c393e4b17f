//! Nobody grants what they do not hold: writes of roles and bindings are checked against the writer's own rules.
//!
//! Upstream does this in the storage of the four RBAC resources (`policybased`), after mutating admission and before validation; this is
//! the same place. Whoever may `escalate` a role or `bind` it, and superusers, are free.

use std::sync::Arc;

use apimachinery::{
    Object, gvk::GroupResource, gvk::GroupVersion, meta, quote_list, status::Status,
};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::{
    authz::{
        Attributes, Authorizer, Decision,
        rbac::{PolicyRule, RuleResolver, uncovered},
    },
    lookup,
    request_info::RequestInfo,
    user::MASTERS,
};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) struct RbacEscalation {
    rules: Arc<RuleResolver>,
    authorizer: Arc<dyn Authorizer>,
}

impl RbacEscalation {
    pub(super) fn new(rules: Arc<RuleResolver>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { rules, authorizer }
    }

    async fn may(
        &self,
        admission: &Admission<'_>,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        let request = RequestInfo {
            is_resource: true,
            verb: verb.to_owned(),
            group_version: GroupVersion::new(GROUP, "v1"),
            namespace: namespace.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..RequestInfo::default()
        };
        let attributes = Attributes {
            user: admission.user,
            request: &request,
        };
        self.authorizer.authorize(attributes).await.0 == Decision::Allow
    }

    /// What of `wanted` the writer does not hold in the namespace it writes to, as the message lists it.
    fn missing(&self, admission: &Admission<'_>, wanted: &[PolicyRule]) -> Result<(), String> {
        let held = self
            .rules
            .rules_for(admission.user, &admission.request.namespace);
        let missing = uncovered(&held.rules, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = missing.iter().map(PolicyRule::describe).collect();
        lines.sort_unstable();
        lines.dedup();
        let mut message = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            admission.user.name,
            quote_list(&admission.user.groups),
            lines.join("\n")
        );
        if !held.errors.is_empty() {
            message.push_str(&format!(
                "; resolution errors: {}",
                quote_list(&held.errors)
            ));
        }
        Err(message)
    }

    async fn check_role(&self, admission: &Admission<'_>, role: &Object) -> Result<(), Status> {
        let request = admission.request;
        if self
            .may(
                admission,
                "escalate",
                &request.resource,
                &request.namespace,
                admission.name(),
            )
            .await
        {
            return Ok(());
        }
        self.missing(admission, &PolicyRule::of_role(role))
            .map_err(|reason| forbidden(admission, reason))?;
        let aggregates = |role: Option<&Object>| {
            role.is_some_and(|role| {
                !lookup::list(role, &["aggregationRule", "clusterRoleSelectors"]).is_empty()
            })
        };
        // What such a role will hold is not known yet.
        if (aggregates(Some(role)) || aggregates(admission.old_object))
            && self.missing(admission, &PolicyRule::everything()).is_err()
        {
            let reason = "must have cluster-admin privileges to use the aggregationRule";
            return Err(forbidden(admission, reason));
        }
        Ok(())
    }

    async fn check_binding(
        &self,
        admission: &Admission<'_>,
        binding: &Object,
    ) -> Result<(), Status> {
        let namespace = &admission.request.namespace;
        let kind = lookup::text(binding, &["roleRef", "kind"]);
        let name = lookup::text(binding, &["roleRef", "name"]);
        let resource = match kind {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            other => {
                let message = format!("unsupported role reference kind: {other:?}");
                return Err(Status::unclassified(message));
            }
        };
        if self.may(admission, "bind", resource, namespace, name).await {
            return Ok(());
        }
        if kind == "Role" && namespace.is_empty() {
            return Err(Status::bad_request("Namespace parameter required."));
        }
        if name.is_empty() {
            return Err(Status::bad_request("Name parameter required."));
        }
        let Some(rules) = self.rules.role_rules(kind, name, namespace) else {
            // Upstream names the binding's resource with the role's name.
            let resource = GroupResource {
                group: GROUP.into(),
                resource: admission.request.resource.clone().into(),
            };
            return Err(Status::not_found(&resource, name));
        };
        self.missing(admission, &rules)
            .map_err(|reason| forbidden(admission, reason))
    }
}

/// Upstream's storage refuses here, which knows no other name than the object's own: none, before one is generated.
fn forbidden(admission: &Admission<'_>, reason: impl std::fmt::Display) -> Status {
    let resource = admission.request.gvr().group_resource();
    Status::forbidden(&resource, admission.object_name(), reason)
}

#[async_trait]
impl Plugin for RbacEscalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let Some(object) = admission.new_object() else {
            return Ok(());
        };
        let superuser = admission.user.groups.iter().any(|group| group == MASTERS);
        if admission.request.group_version.group != GROUP
            || superuser
            || only_for_the_collector(admission, object)
        {
            return Ok(());
        }
        match admission.request.resource.as_str() {
            "roles" | "clusterroles" => self.check_role(admission, object).await,
            "rolebindings" | "clusterrolebindings" => self.check_binding(admission, object).await,
            _ => Ok(()),
        }
    }
}

/// The garbage collector edits owner references and finalizers, and grants nothing by it.
fn only_for_the_collector(admission: &Admission<'_>, new: &Object) -> bool {
    let Some(old) = admission.old_object else {
        return false;
    };
    let without = |object: &Object| {
        let mut object = object.clone();
        for field in [
            "ownerReferences",
            "finalizers",
            "resourceVersion",
            "managedFields",
            "selfLink",
        ] {
            meta::remove(&mut object, field);
        }
        object
    };
    without(old) == without(new)
}
