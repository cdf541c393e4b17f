//! StorageObjectInUseProtection: claims and volumes carry a finalizer, so that one in use outlives its deletion until it is free.

use apimachinery::{meta, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};

pub(super) struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let finalizer = if admission.is("", "persistentvolumeclaims") {
            "kubernetes.io/pvc-protection"
        } else if admission.is("", "persistentvolumes") {
            "kubernetes.io/pv-protection"
        } else if admission.is("storage.k8s.io", "volumeattributesclasses") {
            "kubernetes.io/vac-protection"
        } else {
            return Ok(());
        };
        if let Some(object) = admission.object.as_deref_mut()
            && !meta::has_finalizer(object, finalizer)
        {
            meta::add_finalizer(object, finalizer);
        }
        Ok(())
    }
}
