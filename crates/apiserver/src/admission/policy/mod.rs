//! Admission by policies: expressions that refuse or change, where bindings say so.
//!
//! [`expression`] compiles and evaluates, [`inputs`] is what expressions see, [`conditions`] are the match conditions that webhooks have as
//! well; [`binding`] and [`params`] say where a policy applies and with what. Compiled once per change of the policy or the binding, and
//! paired in [`pairs`]; what both sorts of policies share is in [`definition`] and [`policies`].

mod authorizer;
mod binding;
mod conditions;
mod definition;
mod expression;
mod inputs;
mod mutating;
mod pairs;
mod params;
mod policies;
#[cfg(test)]
mod tests;
mod validating;

use apimachinery::{gvk::GroupVersionKind, meta};

use super::Admission;

pub(super) use authorizer::RequestAuthorizer;
pub(super) use conditions::MatchConditions;
pub(super) use inputs::Inputs;
pub(super) use mutating::MutatingAdmissionPolicy;
pub(super) use validating::ValidatingAdmissionPolicy;

/// Requests that no policy may stand in the way of: policies themselves, lest nobody could repair a broken one, and the questions by
/// which the cluster's parts find out who may do what.
fn is_exempt(admission: &Admission<'_>) -> bool {
    let info = admission.request;
    match (info.group_version.group.as_ref(), info.resource.as_str()) {
        ("admissionregistration.k8s.io", resource) => matches!(
            resource,
            "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        ),
        ("authentication.k8s.io", resource) => {
            matches!(resource, "selfsubjectreviews" | "tokenreviews")
        }
        ("authorization.k8s.io", resource) => matches!(
            resource,
            "localsubjectaccessreviews"
                | "selfsubjectaccessreviews"
                | "selfsubjectrulesreviews"
                | "subjectaccessreviews"
        ),
        _ => false,
    }
}

/// The namespace that expressions see: of what stands in one, and is none itself.
fn namespace_name<'a>(admission: &'a Admission<'_>) -> &'a str {
    const NAMESPACE: GroupVersionKind = GroupVersionKind::new("", "v1", "Namespace");
    if *admission.kind == NAMESPACE {
        ""
    } else {
        admission.namespace()
    }
}

/// What a parameter is called: `namespace/name`.
fn param_key(param: Option<&serde_json::Value>) -> String {
    param
        .and_then(serde_json::Value::as_object)
        .map(|param| format!("{}/{}", meta::namespace(param), meta::name(param)))
        .unwrap_or_default()
}
