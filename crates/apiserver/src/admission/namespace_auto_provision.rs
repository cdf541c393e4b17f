//! NamespaceAutoProvision: a namespace comes into being with the first object in it. Off by default.

use std::sync::Arc;

use apimachinery::{gvk::GroupResource, status::Status};
use async_trait::async_trait;
use serde_json::json;

use super::{Admission, Operation, Plugin};
use crate::reader::{ObjectReader, ObjectWriter};

const NAMESPACES: GroupResource = GroupResource::new("", "namespaces");

pub(super) struct NamespaceAutoProvision {
    reader: Arc<dyn ObjectReader>,
    writer: Arc<dyn ObjectWriter>,
}

impl NamespaceAutoProvision {
    pub(super) fn new(reader: Arc<dyn ObjectReader>, writer: Arc<dyn ObjectWriter>) -> Self {
        Self { reader, writer }
    }
}

#[async_trait]
impl Plugin for NamespaceAutoProvision {
    fn name(&self) -> &'static str {
        "NamespaceAutoProvision"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let name = admission.request.namespace.as_str();
        let is_namespace = admission.request.resource == "namespaces";
        if admission.dry_run || name.is_empty() || is_namespace {
            return Ok(());
        }
        if self.reader.get(&NAMESPACES, "", name).is_some() {
            return Ok(());
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let namespace = namespace.as_object().cloned().unwrap_or_default();
        match self.writer.create(&NAMESPACES, "", namespace).await {
            Ok(_) => Ok(()),
            Err(status) if status.is_already_exists() => Ok(()),
            Err(status) => Err(admission.forbidden(status.message)),
        }
    }
}
