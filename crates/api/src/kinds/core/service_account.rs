//! `v1` ServiceAccount: who a pod is.

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "serviceaccounts"),
    gvk: GroupVersionKind::new("", "v1", "ServiceAccount"),
    singular: "serviceaccount",
    scope: Scope::Namespaced,
    short_names: &["sa"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource {
        name: "token",
        gvk: GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest"),
        verbs: verbs::CREATE,
    }],
    storage: Some(Storage::plain("serviceaccounts")),
    strategy: &ServiceAccountStrategy,
};

#[derive(Debug)]
struct ServiceAccountStrategy;

impl Strategy for ServiceAccountStrategy {
    fn prepare_for_create(&self, object: &mut Object) {
        names_of_secrets(object);
    }
    fn prepare_for_update(&self, new: &mut Object, _old: &Object) {
        names_of_secrets(new);
    }
    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        crate::meta::validate_new(new, &RESOURCE)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        const ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";
        let has = |object: &Object| meta::annotation(object, ANNOTATION).is_some();
        if !has(new) || old.is_some_and(has) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ANNOTATION}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }
}

/// Of the references to secrets, only names count.
fn names_of_secrets(account: &mut Object) {
    account.each_object("secrets", |secret| {
        secret.retain(|field, _| field == "name");
    });
}
