//! DefaultStorageClass and DefaultIngressClass: who names no class gets the one that is annotated as default.
//!
//! Of several defaults the youngest is taken, then the first by name.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::{lookup, reader::ObjectReader};

const STORAGE_CLASSES: GroupResource = GroupResource::new("storage.k8s.io", "storageclasses");
const INGRESS_CLASSES: GroupResource = GroupResource::new("networking.k8s.io", "ingressclasses");
/// The older way for a claim or an ingress to name its class: whoever uses it has chosen.
const OLD_STORAGE_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const OLD_INGRESS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// The name of the youngest class with one of these annotations set to `true`.
fn default_class(
    reader: &dyn ObjectReader,
    resource: &GroupResource,
    annotations: &[&str],
) -> Option<String> {
    let classes = reader.list(resource, "");
    let is_default = |class: &&Arc<Object>| {
        let mut values = annotations
            .iter()
            .map(|annotation| meta::annotation(class, annotation));
        values.any(|value| value == Some("true"))
    };
    let youngest = classes.iter().filter(is_default).min_by(|a, b| {
        meta::creation_timestamp(b)
            .cmp(meta::creation_timestamp(a))
            .then_with(|| meta::name(a).cmp(meta::name(b)))
    });
    youngest.map(|class| meta::name(class).to_owned())
}

pub(super) struct DefaultStorageClass {
    reader: Arc<dyn ObjectReader>,
}

impl DefaultStorageClass {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "persistentvolumeclaims") {
            return Ok(());
        }
        let Some(claim) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        // An empty name is a choice too: no class.
        let chosen = lookup::value(claim, &["spec", "storageClassName"]).is_some();
        if chosen || meta::annotation(claim, OLD_STORAGE_ANNOTATION).is_some() {
            return Ok(());
        }
        let annotations = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(class) = default_class(&*self.reader, &STORAGE_CLASSES, &annotations) {
            lookup::set(claim, &["spec", "storageClassName"], class);
        }
        Ok(())
    }
}

pub(super) struct DefaultIngressClass {
    reader: Arc<dyn ObjectReader>,
}

impl DefaultIngressClass {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !admission.is("networking.k8s.io", "ingresses") {
            return Ok(());
        }
        let Some(ingress) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        let chosen = lookup::value(ingress, &["spec", "ingressClassName"]).is_some();
        if chosen || meta::annotation(ingress, OLD_INGRESS_ANNOTATION).is_some() {
            return Ok(());
        }
        let annotations = ["ingressclass.kubernetes.io/is-default-class"];
        if let Some(class) = default_class(&*self.reader, &INGRESS_CLASSES, &annotations) {
            lookup::set(ingress, &["spec", "ingressClassName"], class);
        }
        Ok(())
    }
}
