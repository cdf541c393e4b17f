//! The parameters of a policy under a binding: objects of the policy's `paramKind`, by name or by labels. A policy without parameters is
//! evaluated once, without any.

use apimachinery::{
    Object,
    gvk::{GroupVersion, GroupVersionKind},
    meta,
};
use serde_json::Value;

use super::{super::Resources, binding::ParamRef};
use crate::lookup;

/// The `paramKind` of a policy's spec.
pub(super) fn kind_of(spec: &Object) -> Option<GroupVersionKind> {
    let kind = lookup::map(spec, &["paramKind"])?;
    let version = GroupVersion::parse(lookup::text(kind, &["apiVersion"])).unwrap_or_default();
    Some(version.kind(lookup::text(kind, &["kind"]).to_owned()))
}

/// Whether objects of this kind are served at all; the error configures the policy wrongly.
pub(super) fn check_kind(
    kind: Option<&GroupVersionKind>,
    resources: &dyn Resources,
) -> Result<(), String> {
    match kind {
        Some(kind) if resources.resource_of(kind).is_none() => Err(format!(
            "failed to find resource referenced by paramKind: '{}/{}, Kind={}'",
            kind.group, kind.version, kind.kind
        )),
        _ => Ok(()),
    }
}

/// Each parameter that the policy is to be evaluated with. None of them: not at all.
pub(super) async fn collect(
    kind: Option<&GroupVersionKind>,
    reference: Option<&ParamRef>,
    namespace: &str,
    resources: &dyn Resources,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else {
        return Ok(vec![None]);
    };
    let Some((_, namespaced)) = resources.resource_of(kind) else {
        return Err(format!("paramKind kind `{kind}` not known"));
    };
    let namespace = match (namespaced, reference.namespace.as_str()) {
        (false, "") => "",
        (false, _) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
                    .to_owned(),
            );
        }
        (true, "") if namespace.is_empty() => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .to_owned(),
            );
        }
        (true, "") => namespace,
        (true, given) => given,
    };
    let name = (!reference.name.is_empty()).then_some(reference.name.as_str());
    if name.is_none() && reference.selector.is_none() {
        return Err("one of name or selector must be provided".to_owned());
    }
    let found = resources.objects(kind, namespace, name).await;
    let mut found = found.map_err(|status| status.message)?;
    if let (None, Some(selector)) = (name, &reference.selector) {
        let selector = selector.as_ref().map_err(Clone::clone)?;
        found.retain(|object| selector.matches(meta::labels(object)));
    }
    if found.is_empty() && reference.denies_absence {
        return Err(
            "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
        );
    }
    Ok(found
        .into_iter()
        .map(|param| Some(Value::Object(param)))
        .collect())
}
