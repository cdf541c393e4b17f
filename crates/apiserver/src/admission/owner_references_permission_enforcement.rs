//! OwnerReferencesPermissionEnforcement: an owner reference lets the garbage collector delete an object, so that who adds one must be allowed
//! to delete; one that blocks the owner's deletion takes the right to set the owner's finalizers. Off by default, as upstream.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{
    Object,
    gvk::{GroupVersion, GroupVersionResource},
    lookup,
    meta::{self, OwnerReference},
    status::Status,
};
use async_trait::async_trait;
use serde_json::Value;

use super::{Admission, Operation, Plugin, Resources};
use crate::{
    authz::{Attributes, Authorizer, Decision},
    request_info::RequestInfo,
};

pub(super) struct OwnerReferencesPermissionEnforcement {
    authorizer: Arc<dyn Authorizer>,
    resources: Arc<dyn Resources>,
}

impl OwnerReferencesPermissionEnforcement {
    pub(super) fn new(authorizer: Arc<dyn Authorizer>, resources: Arc<dyn Resources>) -> Self {
        Self {
            authorizer,
            resources,
        }
    }

    /// Why the user may not do that; none if he may.
    async fn why_not(&self, admission: &Admission<'_>, request: &RequestInfo) -> Option<String> {
        let attributes = Attributes {
            user: admission.user,
            request,
        };
        let (decision, reason) = self.authorizer.authorize(attributes).await;
        (decision != Decision::Allow).then_some(reason)
    }

    async fn check_blocking(
        &self,
        admission: &Admission<'_>,
        reference: &OwnerReference<'_>,
    ) -> Result<(), Status> {
        let unknown = |reason: String| {
            admission.forbidden(format!(
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {} Kind {}: {reason}",
                reference.api_version, reference.kind
            ))
        };
        let version = GroupVersion::parse(reference.api_version).ok_or_else(|| {
            unknown(format!(
                "unexpected GroupVersion string: {}",
                reference.api_version
            ))
        })?;
        let kind = version.kind(reference.kind.to_owned());
        let Some((resource, namespaced)) = self.resources.resource_of(&kind) else {
            return Err(unknown(format!(
                "no matches for kind {:?} in version {:?}",
                reference.kind, reference.api_version
            )));
        };
        let mut request = finalizers(&resource, reference.name);
        if namespaced {
            // An owner in a namespace has its dependents there.
            admission.namespace().clone_into(&mut request.namespace);
        }
        match self.why_not(admission, &request).await {
            None => Ok(()),
            Some(reason) => Err(admission.forbidden(format!(
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {reason}, <nil>"
            ))),
        }
    }
}

/// The request to set an object's finalizers.
fn finalizers(resource: &GroupVersionResource, name: &str) -> RequestInfo {
    RequestInfo {
        is_resource: true,
        verb: "update".to_owned(),
        group_version: GroupVersion {
            group: resource.group.clone(),
            version: resource.version.clone(),
        },
        resource: resource.resource.to_string(),
        subresource: "finalizers".to_owned(),
        name: name.to_owned(),
        ..RequestInfo::default()
    }
}

fn references(object: &Object) -> &[Value] {
    lookup::list(object, &["metadata", "ownerReferences"])
}

/// References that block their owner's deletion and did not before.
fn newly_blocking<'a>(new: &'a Object, old: Option<&Object>) -> Vec<OwnerReference<'a>> {
    let before: HashMap<&str, bool> = old
        .into_iter()
        .flat_map(meta::owner_references)
        .map(|reference| (reference.uid, reference.block_owner_deletion))
        .collect();
    meta::owner_references(new)
        .filter(|reference| reference.block_owner_deletion)
        .filter(|reference| before.get(reference.uid) != Some(&true))
        .collect()
}

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        // The strategy keeps a pod's references as they are when its status is written.
        if admission.is_subresource("", "pods", "status") {
            return Ok(());
        }
        let Some(new) = admission.new_object() else {
            return Ok(());
        };
        let old = admission.old_object;
        if references(new) == old.map(references).unwrap_or_default() {
            return Ok(());
        }
        // Who creates could as well not have created.
        if admission.operation != Operation::Create {
            let delete = RequestInfo {
                verb: "delete".to_owned(),
                name: admission.object_name().to_owned(),
                ..admission.request.clone()
            };
            if let Some(reason) = self.why_not(admission, &delete).await {
                return Err(admission.forbidden(format!(
                    "cannot set an ownerRef on a resource you can't delete: {reason}, <nil>"
                )));
            }
        }
        let blocking = newly_blocking(new, old);
        if blocking.is_empty() {
            return Ok(());
        }
        let anything = finalizers(&GroupVersionResource::new("*", "*", "*"), "*");
        if self.why_not(admission, &anything).await.is_none() {
            return Ok(());
        }
        for reference in &blocking {
            self.check_blocking(admission, reference).await?;
        }
        Ok(())
    }
}
