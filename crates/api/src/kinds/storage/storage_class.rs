//! `storage.k8s.io/v1` StorageClass: how storage is made. Only labels and a few flags may change.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
    validate::{one_of, selectors, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "storageclasses"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "StorageClass"),
    singular: "storageclass",
    scope: Scope::Cluster,
    short_names: &["sc"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("storageclasses")),
    strategy: &StorageClassStrategy,
};

#[derive(Debug)]
struct StorageClassStrategy;

impl Strategy for StorageClassStrategy {
    fn default(&self, object: &mut Object) {
        object.set_default("reclaimPolicy", "Delete");
        object.set_default("volumeBindingMode", "Immediate");
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        provisioner(&mut errors, object, "provisioner");
        parameters(&mut errors, object);
        let policy = object.text("reclaimPolicy");
        if !policy.is_empty() {
            let at = Path::new("reclaimPolicy");
            one_of(&mut errors, &at, policy, &["Delete", "Retain"]);
        }
        let at = Path::new("volumeBindingMode");
        match object.text_opt("volumeBindingMode") {
            None => errors.push(FieldError::required(&at, "")),
            Some(mode) => one_of(
                &mut errors,
                &at,
                mode,
                &["Immediate", "WaitForFirstConsumer"],
            ),
        }
        selectors::topology_selector_terms(
            &mut errors,
            &Path::new("allowedTopologies"),
            object.list("allowedTopologies"),
        );
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_renewed(new, old, &RESOURCE);
        for field in [
            "parameters",
            "provisioner",
            "reclaimPolicy",
            "volumeBindingMode",
        ] {
            errors.extend(crate::meta::validate_immutable_field(
                new,
                old,
                field,
                &Path::default(),
            ));
        }
        errors
    }
}

/// The name of what provides volumes, as a field of a class.
pub(super) fn provisioner(errors: &mut ErrorList, class: &Object, field: &str) {
    let (at, name) = (Path::new(field), class.text(field).to_lowercase());
    if name.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        text(errors, &at, &name, names::qualified_name(&name));
    }
}

/// What a class tells its provisioner: bounded in number and size.
pub(super) fn parameters(errors: &mut ErrorList, class: &Object) {
    const MAX_COUNT: usize = 512;
    const MAX_BYTES: usize = 256 * 1024;
    let at = Path::new("parameters");
    let Some(parameters) = class.object("parameters") else {
        return;
    };
    if parameters.len() > MAX_COUNT {
        errors.push(FieldError::too_long(&at, MAX_COUNT));
        return;
    }
    if parameters.contains_key("") {
        errors.push(FieldError::invalid(&at, "", "field can not be empty."));
    }
    let values = parameters.values().filter_map(|value| value.as_str());
    let bytes =
        parameters.keys().map(String::len).sum::<usize>() + values.map(str::len).sum::<usize>();
    if bytes > MAX_BYTES {
        errors.push(FieldError::too_long(&at, MAX_BYTES));
    }
}
