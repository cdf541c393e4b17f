//! The Namespace controller: empties namespaces that are being deleted, then lets them go.
//!
//! Pods go first and are waited for (upstream's ordered deletion), since NetworkPolicies, Secrets and the like guard and serve them to
//! the end. What there is to delete is discovered anew at each pass: a custom resource may have come since.

mod conditions;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{
    ApiError, ApiResource, DeleteOptionsExt as _, Informer, ListParams, Object as _, ObjectKey,
    PartialObjectMetadata,
};
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::DeleteOptions};
use tracing::debug;

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

use self::conditions::Progress;

pub(crate) const NAME: &str = "namespace-controller";
/// The finalizer in `spec.finalizers` that stands for this controller.
const FINALIZER: &str = "kubernetes";
/// How soon to look again at content that takes its time (graceful termination, finalizers).
const RECHECK: Duration = Duration::from_secs(2);

struct NamespaceController {
    ctx: ControllerContext,
    namespaces: Informer<Namespace>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(NamespaceController {
        namespaces: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("namespace");
    queue_changes(&ctx, NAME, &controller.namespaces, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.namespace,
        &queue,
        controller,
    );
}

fn holds_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.as_ref());
    finalizers
        .into_iter()
        .flatten()
        .any(|finalizer| finalizer == FINALIZER)
}

#[async_trait]
impl Reconciler for NamespaceController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.namespaces.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(cached) = self
            .namespaces
            .store()
            .get_key(key)
            .filter(|namespace| namespace.is_being_deleted())
        else {
            return Ok(Next::OnEvent);
        };
        let api = self.ctx.client.api::<Namespace>("");
        // Fresh: the pass ends with a write.
        let Some(mut namespace) = api.get_opt(cached.name()).await? else {
            return Ok(Next::OnEvent);
        };
        if !namespace.is_being_deleted()
            || namespace.uid() != cached.uid()
            || !holds_finalizer(&namespace)
        {
            return Ok(Next::OnEvent);
        }
        let status = namespace.status.get_or_insert_default();
        if status.phase.as_deref() != Some("Terminating") {
            status.phase = Some("Terminating".to_owned());
            namespace = api.update_status(&namespace).await?;
        }
        let progress = self.delete_content(namespace.name()).await?;
        let status = namespace.status.get_or_insert_default();
        if progress.apply_to(status, self.ctx.clock.now()) {
            namespace = api.update_status(&namespace).await?;
        }
        if !progress.is_done() {
            let failures = [
                &progress.discovery_failures[..],
                &progress.deletion_failures[..],
            ]
            .concat();
            if failures.is_empty() {
                return Ok(Next::After(RECHECK));
            }
            return Err(Error::State(format!(
                "deletion of namespace {key}: {}",
                failures.join("; ")
            )));
        }
        if let Some(finalizers) = &mut namespace.spec.get_or_insert_default().finalizers {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let finalized = api.update_subresource("finalize", &namespace).await;
        ApiError::not_found_is_none(finalized)?;
        Ok(Next::OnEvent)
    }
}

impl NamespaceController {
    async fn delete_content(&self, namespace: &str) -> Result<Progress, Error> {
        let discovery = self.ctx.client.discover().await?;
        let mut progress = Progress {
            discovery_failures: discovery.failed.iter().map(ToString::to_string).collect(),
            ..Progress::default()
        };
        progress.discovery_failures.sort();
        let resources = discovery.preferred();
        let deletable = |resource: &&&ApiResource| {
            resource.namespaced && resource.supports(&["delete", "list"])
        };
        let (pods, others): (Vec<&ApiResource>, Vec<&ApiResource>) = resources
            .iter()
            .filter(deletable)
            .partition(|resource| resource.gvr.group.is_empty() && resource.gvr.resource == "pods");
        for resource in pods {
            self.delete_all(namespace, resource, &mut progress).await;
        }
        if !progress.remaining.is_empty() {
            return Ok(progress);
        }
        for resource in others {
            self.delete_all(namespace, resource, &mut progress).await;
        }
        Ok(progress)
    }

    /// Deletes all objects of a resource, and notes what is left.
    async fn delete_all(&self, namespace: &str, resource: &ApiResource, progress: &mut Progress) {
        match self.try_delete_all(namespace, resource).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                debug!(namespace, resource = %resource.gvr.resource, left = left.len(), "content remains");
                progress.remaining.insert(resource.gvr.clone(), left.len());
                for finalizer in left
                    .iter()
                    .flat_map(|object| object.metadata.finalizers.iter().flatten())
                {
                    *progress.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
            }
            // It was discovered and is gone since, or it cannot be listed after all.
            Err(error) if error.is_not_found() || error.is_method_not_supported() => {}
            Err(error) => {
                progress
                    .deletion_failures
                    .push(format!("{}: {error}", resource.gvr.group_resource()));
            }
        }
    }

    async fn try_delete_all(
        &self,
        namespace: &str,
        resource: &ApiResource,
    ) -> Result<Vec<PartialObjectMetadata>, ApiError> {
        let api = self.ctx.client.dynamic(&resource.gvr, namespace);
        let options = DeleteOptions::propagation("Background");
        let found = api.list_metadata(&ListParams::default()).await?.items;
        if found.is_empty() {
            return Ok(found);
        }
        // What is on its way already must not be shortened or lengthened by asking again.
        if found.iter().any(|object| !object.is_being_deleted()) {
            if resource.supports(&["deletecollection"]) {
                api.delete_collection(&options, &ListParams::default())
                    .await?;
            } else {
                for object in found.iter().filter(|object| !object.is_being_deleted()) {
                    ApiError::not_found_is_none(api.delete(object.name(), &options).await)?;
                }
            }
        }
        Ok(api.list_metadata(&ListParams::default()).await?.items)
    }
}
