//! `storage.k8s.io/v1` CSINode: the drivers on a node.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::{Fields, same_field},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    validate::invalid_shown,
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

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        for (_, driver) in after.objects("drivers") {
            let was = before
                .objects("drivers")
                .find(|(_, d)| d.text("name") == driver.text("name"));
            if let Some((_, was)) = was
                && !["nodeID", "topologyKeys", "allocatable"]
                    .iter()
                    .all(|f| same_field(driver, was, f))
            {
                let shown = |f: &str| driver.value(f).map_or("null".to_owned(), |v| v.to_string());
                errors.push(invalid_shown(
                    &Path::new("spec").child("drivers"),
                    &format!(
                        "{{\"Name\":{:?},\"NodeID\":{:?},\"TopologyKeys\":{},\"Allocatable\":{}}}",
                        driver.text("name"),
                        driver.text("nodeID"),
                        shown("topologyKeys"),
                        shown("allocatable")
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
