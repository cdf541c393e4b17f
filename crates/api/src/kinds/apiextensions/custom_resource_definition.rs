//! `apiextensions.k8s.io/v1` CustomResourceDefinition: a kind of the user's own. Its schemas are judged where they are compiled ([`Rules`]).

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::{Value, json};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

/// What keeps a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    gvk: GroupVersionKind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    singular: "customresourcedefinition",
    scope: Scope::Cluster,
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ))],
    storage: Some(Storage::plain(
        "apiextensions.k8s.io/customresourcedefinitions",
    )),
    strategy: &CustomResourceDefinitionStrategy::new(&Unjudged),
};

/// What judges definitions. Their schemas are compiled by a crate that builds on this one, and which brings the rules.
pub trait Rules: Send + Sync + std::fmt::Debug {
    /// See [`Strategy::validate`].
    fn validate(&self, _definition: &Object) -> ErrorList {
        ErrorList::new()
    }
    /// See [`Strategy::validate_update`].
    fn validate_update(&self, _new: &Object, _old: &Object) -> ErrorList {
        ErrorList::new()
    }
    /// See [`Strategy::validate_status_update`].
    fn validate_status_update(&self, _new: &Object, _old: &Object) -> ErrorList {
        ErrorList::new()
    }
    /// See [`Strategy::warnings`].
    fn warnings(&self, _new: &Object, _old: Option<&Object>) -> Vec<String> {
        Vec::new()
    }
}

/// Takes every definition: where none is written.
#[derive(Debug)]
struct Unjudged;

impl Rules for Unjudged {}

/// The strategy, with the rules that were brought.
#[derive(Debug)]
pub struct CustomResourceDefinitionStrategy {
    rules: &'static dyn Rules,
}

impl CustomResourceDefinitionStrategy {
    /// With these rules.
    pub const fn new(rules: &'static dyn Rules) -> Self {
        Self { rules }
    }
}

impl Strategy for CustomResourceDefinitionStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        if !spec.has("conversion") {
            spec.ensure_object("conversion").set("strategy", "None");
        }
        if let Some(webhook) = spec
            .object_mut("conversion")
            .and_then(|c| c.object_mut("webhook"))
            && let Some(service) = webhook
                .object_mut("clientConfig")
                .and_then(|c| c.object_mut("service"))
        {
            service.set_default("port", 443);
        }
        let names = spec.ensure_object("names");
        let kind = names.text("kind").to_owned();
        if !kind.is_empty() {
            names.set_default_zero("singular", kind.to_lowercase());
            names.set_default_zero("listKind", format!("{kind}List"));
        }
        status_fields(object);
    }
    fn is_stored_as_json(&self) -> bool {
        true
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        status_fields(object);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        // What was ever the storage version may still be in the store.
        if let Some(version) = storage_version(new) {
            let status = new.ensure_object("status");
            let mut stored = status.list("storedVersions").to_vec();
            if !stored.contains(&version) {
                stored.push(version);
                status.set("storedVersions", stored);
            }
        }
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
    }
    fn validate(&self, object: &Object) -> ErrorList {
        self.rules.validate(object)
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        self.rules.validate_update(new, old)
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        self.rules.validate_status_update(new, old)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        self.rules.warnings(new, old)
    }
    fn begin_deletion(&self, object: &Object, now: &str) -> Option<Object> {
        if meta::is_deleting(object) {
            return None;
        }
        let mut marked = object.clone();
        meta::set_deletion_timestamp(&mut marked, now);
        meta::add_finalizer(&mut marked, CLEANUP_FINALIZER);
        let condition = json!({
            "type": "Terminating", "status": "True", "lastTransitionTime": now, "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        });
        let status = marked.ensure_object("status");
        let mut conditions = status.list("conditions").to_vec();
        conditions.retain(|condition| condition["type"] != "Terminating");
        conditions.push(condition);
        status.set("conditions", conditions);
        Some(marked)
    }
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

fn storage_version(object: &Object) -> Option<Value> {
    let spec = object.object("spec")?;
    let (_, version) = spec
        .objects("versions")
        .find(|(_, v)| v.is_true("storage"))?;
    version.get("name").cloned()
}

fn status_fields(object: &mut Object) {
    let storage = storage_version(object);
    let status = object.ensure_object("status");
    status.set_default("conditions", Value::Null);
    if status.list("storedVersions").is_empty() {
        let stored = storage.map_or(Value::Null, |version| json!([version]));
        status.set("storedVersions", stored);
    }
    status.set_default("acceptedNames", json!({"plural": "", "kind": ""}));
}
