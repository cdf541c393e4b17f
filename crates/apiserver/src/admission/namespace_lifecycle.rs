//! NamespaceLifecycle: nothing is created in a namespace that does not exist or is ending, and the system's own namespaces stay.

use std::sync::Arc;

use apimachinery::{
    gvk::GroupResource,
    meta,
    status::{Status, StatusCause},
};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::{lookup, reader::ObjectReader};

const NAMESPACES: GroupResource = GroupResource::new("", "namespaces");
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle {
    reader: Arc<dyn ObjectReader>,
}

impl NamespaceLifecycle {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(
            operation,
            Operation::Create | Operation::Update | Operation::Delete
        )
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let request = admission.request;
        if request.group_version.group.is_empty() && request.resource == "namespaces" {
            let immortal = IMMORTAL.contains(&request.name.as_str());
            if admission.operation == Operation::Delete && immortal {
                return Err(admission.forbidden("this namespace may not be deleted"));
            }
            return Ok(());
        }
        let namespace = request.namespace.as_str();
        // Whoever asks what is allowed may ask about namespaces to come.
        let review = request.resource == "localsubjectaccessreviews";
        if namespace.is_empty() || admission.operation == Operation::Delete || review {
            return Ok(());
        }
        let found = match self.reader.get(&NAMESPACES, "", namespace) {
            Some(found) => Some(found),
            None => self.reader.get_fresh(&NAMESPACES, "", namespace).await?,
        };
        let Some(found) = found else {
            return Err(Status::not_found(&NAMESPACES, namespace));
        };
        let ending = lookup::text(&found, &["status", "phase"]) == "Terminating"
            || meta::is_deleting(&found);
        if admission.operation == Operation::Create && ending {
            let reason = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let cause = StatusCause::new(
                "NamespaceTerminating",
                format!("namespace {namespace} is being terminated"),
                "metadata.namespace",
            );
            return Err(admission.forbidden(reason).with_cause(cause));
        }
        Ok(())
    }
}
