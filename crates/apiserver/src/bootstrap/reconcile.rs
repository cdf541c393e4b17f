//! How roles and bindings that are there are brought up to the policy of this version: what is missing is added, nothing is taken away, and
//! one annotated `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone.

use apimachinery::{Object, gvk::GroupResource, meta};
use serde_json::Value;

use super::{Wanted, policy};
use crate::{
    authz::rbac::{PolicyRule, uncovered},
    lookup,
};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The whole policy.
pub(super) fn rbac_policy() -> impl Iterator<Item = Wanted> {
    let wanted = |resource, object, mend| Wanted {
        resource: GroupResource::new("rbac.authorization.k8s.io", resource),
        object,
        mend,
    };
    policy::cluster_roles()
        .map(move |object| {
            wanted(
                "clusterroles",
                object,
                mend_role as fn(&Object, &Object) -> Option<Object>,
            )
        })
        .chain(
            policy::cluster_role_bindings()
                .map(move |object| wanted("clusterrolebindings", object, mend_binding)),
        )
        .chain(policy::roles().map(move |object| wanted("roles", object, mend_role)))
        .chain(
            policy::role_bindings().map(move |object| wanted("rolebindings", object, mend_binding)),
        )
}

fn mend_role(existing: &Object, wanted: &Object) -> Option<Object> {
    let mut mended = begin(existing, wanted)?;
    let selectors = ["aggregationRule", "clusterRoleSelectors"];
    let missing = missing_values(existing, wanted, &selectors);
    if !missing.is_empty() {
        lookup::list_mut(&mut mended, &selectors[..1], selectors[1]).extend(missing);
    }
    // The rules of an aggregated role are its controller's.
    if lookup::list(wanted, &selectors).is_empty() {
        let held = PolicyRule::of_role(existing);
        let missing = uncovered(&held, &PolicyRule::of_role(wanted));
        if !missing.is_empty() {
            lookup::list_mut(&mut mended, &[], "rules")
                .extend(missing.iter().map(PolicyRule::to_value));
        }
    }
    (mended != *existing).then_some(mended)
}

fn mend_binding(existing: &Object, wanted: &Object) -> Option<Object> {
    let mut mended = begin(existing, wanted)?;
    if lookup::value(existing, &["roleRef"]) != lookup::value(wanted, &["roleRef"]) {
        tracing::warn!(
            name = meta::name(existing),
            "a bootstrap binding names another role than its own: left as it is"
        );
        return None;
    }
    let missing = missing_values(existing, wanted, &["subjects"]);
    if !missing.is_empty() {
        lookup::list_mut(&mut mended, &[], "subjects").extend(missing);
    }
    (mended != *existing).then_some(mended)
}

/// The existing object with the labels and annotations of the policy that it lacks; `None` if it is protected.
fn begin(existing: &Object, wanted: &Object) -> Option<Object> {
    if meta::annotation(existing, AUTOUPDATE) == Some("false") {
        return None;
    }
    let mut mended = existing.clone();
    for (key, value) in meta::labels(wanted).into_iter().flatten() {
        if meta::label(existing, key).is_none() {
            meta::set_label(&mut mended, key, value.as_str());
        }
    }
    for (key, value) in meta::annotations(wanted).into_iter().flatten() {
        if meta::annotation(existing, key).is_none() {
            meta::set_annotation(&mut mended, key, value.as_str());
        }
    }
    Some(mended)
}

fn missing_values(existing: &Object, wanted: &Object, path: &[&str]) -> Vec<Value> {
    let there = lookup::list(existing, path);
    lookup::list(wanted, path)
        .iter()
        .filter(|value| !there.contains(value))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(rules: Value, autoupdate: &str) -> Object {
        super::super::objects::object(json!({
            "metadata": {"name": "r", "annotations": {AUTOUPDATE: autoupdate}}, "rules": rules,
        }))
    }

    fn rule(verbs: &[&str]) -> Value {
        json!({"verbs": verbs, "apiGroups": [""], "resources": ["pods"]})
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_more_stays() {
        let wanted = role(json!([rule(&["get", "list"])]), "true");
        let more = role(json!([rule(&["get", "list", "delete"])]), "true");
        assert_eq!(mend_role(&more, &wanted), None);
        let less = role(json!([rule(&["get"])]), "true");
        let mended = mend_role(&less, &wanted).unwrap();
        assert_eq!(mended["rules"], json!([rule(&["get"]), rule(&["list"])]));
        assert_eq!(mend_role(&role(json!([]), "false"), &wanted), None);
    }
}
