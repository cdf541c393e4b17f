//! NamespaceExists: nothing happens in a namespace that is not there. Off by default, since NamespaceLifecycle says the same and more.

use std::sync::Arc;

use apimachinery::status::Status;
use async_trait::async_trait;

use super::{Admission, Operation, Plugin, matching};
use crate::reader::ObjectReader;

pub(super) struct NamespaceExists {
    reader: Arc<dyn ObjectReader>,
}

impl NamespaceExists {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let name = admission.request.namespace.as_str();
        if name.is_empty() || admission.request.resource == "namespaces" {
            return Ok(());
        }
        matching::namespace(&self.reader, name).await.map(|_| ())
    }
}
