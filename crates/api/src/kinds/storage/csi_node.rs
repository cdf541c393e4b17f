//! `storage.k8s.io/v1` CSINode: the drivers on a node.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::{Fields, same_field},
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::pod_spec::volumes,
    names,
    validate::{invalid_shown, non_negative, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "csinodes"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "CSINode"),
    singular: "csinode",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("csinodes")),
    strategy: &CsiNodeStrategy,
};

#[derive(Debug)]
struct CsiNodeStrategy;

impl Strategy for CsiNodeStrategy {
    fn default(&self, object: &mut Object) {
        object
            .ensure_object("spec")
            .set_default("drivers", Value::Null);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec").child("drivers");
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (index, driver) in spec.objects("drivers") {
            validate_driver(&mut errors, &path.index(index), driver, &mut seen);
        }
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        // How many volumes a node can hold may change, and is not shown either.
        for (_, was) in before.objects("drivers") {
            let named_so = |driver: &Object| driver.text("name") == was.text("name");
            for (_, driver) in after.objects("drivers").filter(|(_, d)| named_so(d)) {
                if ["nodeID", "topologyKeys"]
                    .iter()
                    .all(|field| same_field(driver, was, field))
                {
                    continue;
                }
                let mut shown = driver.clone();
                shown.remove("allocatable");
                errors.push(invalid_shown(
                    &Path::new("spec").child("drivers"),
                    &internal::shown(
                        "io.k8s.api.storage.v1.CSINodeDriver",
                        Some(&Value::Object(shown)),
                    ),
                    "field is immutable",
                ));
            }
        }
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
}

fn validate_driver<'a>(
    errors: &mut ErrorList,
    path: &Path,
    driver: &'a Object,
    seen: &mut BTreeSet<&'a str>,
) {
    const MAX_NODE_ID: usize = 256;
    let name = driver.text("name");
    volumes::csi_driver_name(errors, &path.child("name"), name);
    let node = driver.text("nodeID");
    if node.is_empty() {
        errors.push(FieldError::required(&path.child("nodeID"), ""));
    }
    if node.len() > MAX_NODE_ID {
        errors.push(FieldError::invalid(
            &path.child("nodeID"),
            node,
            format!("must be {MAX_NODE_ID} characters or less"),
        ));
    }
    let count = driver.object("allocatable").and_then(|a| a.int("count"));
    non_negative(errors, &path.child("allocatable").child("count"), count);
    if !seen.insert(name) {
        errors.push(FieldError::duplicate(&path.child("name"), name));
    }
    // Upstream complains about keys at the driver's own path.
    let at = path;
    let mut keys: Vec<&str> = Vec::new();
    for key in driver.texts("topologyKeys") {
        if key.is_empty() {
            errors.push(FieldError::required(at, ""));
        }
        if keys.contains(&key) {
            errors.push(FieldError::duplicate(at, key));
        }
        keys.push(key);
        text(errors, at, key, names::qualified_name(key));
    }
}
