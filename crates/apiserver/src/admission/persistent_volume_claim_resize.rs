//! PersistentVolumeClaimResize: a claim grows only where its class allows it.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, quantity::Quantity, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::{lookup, reader::ObjectReader};

const STORAGE_CLASSES: GroupResource = GroupResource::new("storage.k8s.io", "storageclasses");

pub(super) struct PersistentVolumeClaimResize {
    reader: Arc<dyn ObjectReader>,
}

impl PersistentVolumeClaimResize {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "persistentvolumeclaims") {
            return Ok(());
        }
        let (Some(old), Some(new)) = (admission.old_object, admission.new_object()) else {
            return Ok(());
        };
        let grows = match (storage(old), storage(new)) {
            (Some(old), Some(new)) => new > old,
            _ => false,
        };
        if !grows {
            return Ok(());
        }
        if lookup::text(old, &["status", "phase"]) != "Bound" {
            return Err(admission.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let class = lookup::text(new, &["spec", "storageClassName"]);
        let class = (!class.is_empty())
            .then(|| self.reader.get(&STORAGE_CLASSES, "", class))
            .flatten();
        let allowed = class
            .is_some_and(|class| lookup::flag(&class, &["allowVolumeExpansion"]) == Some(true));
        if allowed {
            return Ok(());
        }
        Err(admission.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}

fn storage(claim: &Object) -> Option<Quantity> {
    lookup::text(claim, &["spec", "resources", "requests", "storage"])
        .parse()
        .ok()
}
