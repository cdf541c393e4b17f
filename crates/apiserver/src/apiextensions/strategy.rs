//! What happens to a custom resource on its way into the store: generation and status, and validation by the schema of its version.
//!
//! Follows upstream's `customresource` strategies.

use std::sync::Arc;

use ::apiextensions::definition::Version;
use api::{Scope, Strategy, names};
use apimachinery::{Object, field::ErrorList, gvk::GroupVersionKind, meta};

use super::finalizers;

/// Of one version.
#[derive(Debug)]
pub(super) struct CustomStrategy {
    version: Arc<Version>,
    scope: Scope,
}

impl CustomStrategy {
    pub(super) fn new(version: &Arc<Version>, scope: Scope) -> Self {
        Self {
            version: Arc::clone(version),
            scope,
        }
    }
}

impl Strategy for CustomStrategy {
    fn prepare_for_create(&self, object: &mut Object) {
        if self.version.has_status {
            object.remove("status");
        }
        meta::set_generation(object, 1);
    }

    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        if self.version.has_status {
            match old.get("status") {
                Some(status) => new.insert("status".to_owned(), status.clone()),
                None => new.remove("status"),
            };
        }
        let raised = i64::from(!same_content(new, old));
        meta::set_generation(new, meta::generation(old) + raised);
    }

    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        let status = new.remove("status");
        let managed = meta::managed_fields(new).to_vec();
        let version = meta::resource_version(new).to_owned();
        *new = old.clone();
        match status {
            Some(status) => new.insert("status".to_owned(), status),
            None => new.remove("status"),
        };
        meta::set_managed_fields(new, managed);
        meta::set_resource_version(new, &version);
    }

    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            names::dns1123_subdomain(&names::mask_trailing_dash(name))
        } else {
            names::dns1123_subdomain(name)
        }
    }

    fn validate(&self, object: &Object) -> ErrorList {
        self.version.validate(object)
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        self.judge_update(new, old, &mut Vec::new())
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        self.judge_status_update(new, old, &mut Vec::new())
    }

    fn judge_update(&self, new: &Object, old: &Object, excused: &mut Vec<String>) -> ErrorList {
        self.version.validate_update(new, old, excused)
    }

    fn judge_status_update(
        &self,
        new: &Object,
        old: &Object,
        excused: &mut Vec<String>,
    ) -> ErrorList {
        self.version.validate_status_update(new, old, excused)
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        finalizers::warnings(new, old)
    }

    fn deprecation(&self) -> Option<&str> {
        self.version.deprecation_warning.as_deref()
    }

    fn demands_qualified_finalizers(&self) -> bool {
        false
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn unknown_field_label(&self, _served: &GroupVersionKind, field: &str) -> String {
        format!("field label not supported: {field}")
    }

    fn is_selectable(&self, field: &str) -> bool {
        field == "metadata.name"
            || field == "metadata.namespace" && self.scope == Scope::Namespaced
            || self
                .version
                .selectable_fields
                .iter()
                .any(|known| known.label.as_ref() == field)
    }
}

/// Whether everything but the metadata is the same.
fn same_content(new: &Object, old: &Object) -> bool {
    let content = |object: &'_ Object| object.iter().filter(|(key, _)| *key != "metadata").count();
    content(new) == content(old)
        && new
            .iter()
            .all(|(key, value)| key == "metadata" || old.get(key) == Some(value))
}
