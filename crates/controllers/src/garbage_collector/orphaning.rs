//! An owner goes and its dependents stay: [`GarbageCollector::attempt_to_orphan`].
//!
//! The owner is taken out of all its dependents before it is let go. One that is forgotten is garbage a moment later, and deleted. So it is not enough
//! to ask the graph, which may not have heard yet of dependents that were made before the owner's deletion: watches of two resources are told
//! nothing about each other. What counts is what the server had when the deletion began: monitors that have come that far know it, and for the others the
//! server is asked. (Upstream asks its graph alone.)

use apimachinery::gvk::GroupVersionResource;
use client::{ApiError, Informer, ListParams, Object as _, PartialObjectMetadata};
use futures_util::{StreamExt as _, future::join_all, stream};
use tracing::warn;

use crate::reconcile::{Error, Next};

use super::{GarbageCollector, graph::ORPHAN, lock};

/// So many lists are asked for at once.
const LISTS: usize = 8;
/// Objects on a page of them.
const PAGE: u32 = 500;

/// What has an owner that goes.
struct Dependent {
    gvr: GroupVersionResource,
    namespace: String,
    name: String,
    uid: String,
}

impl Dependent {
    fn of(gvr: &GroupVersionResource, object: &PartialObjectMetadata) -> Self {
        Self {
            gvr: gvr.clone(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
        }
    }
}

fn is_owned_by(object: &PartialObjectMetadata, owner: &str) -> bool {
    object.owner_references().iter().any(|o| o.uid == owner)
}

impl GarbageCollector {
    /// Takes an owner out of all its dependents, then lets it go.
    pub(super) async fn attempt_to_orphan(&self, uid: &str) -> Result<Next, Error> {
        let Some(node) = lock(&self.graph).get(uid).cloned() else {
            return Ok(Next::OnEvent);
        };
        let api = self.api(&node)?;
        let owner = ApiError::not_found_is_none(api.get_metadata(&node.name).await)?;
        let Some(owner) = owner.filter(|owner| owner.uid() == uid) else {
            return Ok(Next::OnEvent);
        };
        let dependents = self.dependents_of(&owner).await;
        let orphaned = join_all(dependents.iter().map(|one| self.orphan(one, uid))).await;
        Error::aggregate(orphaned.into_iter().filter_map(Result::err).collect())?;
        self.remove_finalizer(&api, &node, ORPHAN).await?;
        Ok(Next::OnEvent)
    }

    /// All that the server has when it has this version of the owner.
    async fn dependents_of(&self, owner: &PartialObjectMetadata) -> Vec<Dependent> {
        let discovery = self.discovery();
        let preferred = discovery.preferred();
        let may_depend = |gvr: &GroupVersionResource| {
            let resource = preferred.iter().find(|resource| resource.gvr == *gvr);
            // Dependents of an owner in a namespace are in that namespace.
            owner.namespace().is_empty() || resource.is_none_or(|resource| resource.namespaced)
        };
        let informers: Vec<_> = lock(&self.informers)
            .iter()
            .filter(|(gvr, _)| may_depend(gvr))
            .map(|(gvr, informer)| (gvr.clone(), informer.clone()))
            .collect();
        stream::iter(informers)
            .map(|(gvr, informer)| async move {
                self.dependents_among(&gvr, &informer, owner).await
            })
            .buffer_unordered(LISTS)
            .concat()
            .await
    }

    async fn dependents_among(
        &self,
        gvr: &GroupVersionResource,
        informer: &Informer<PartialObjectMetadata>,
        owner: &PartialObjectMetadata,
    ) -> Vec<Dependent> {
        if !informer.has_reached(owner.resource_version()) {
            match self.list_dependents(gvr, owner).await {
                Ok(dependents) => return dependents,
                // A resource that does not answer must not keep owners of others for ever.
                Err(error) => {
                    warn!(resource = %gvr.group_resource(), %error, "dependents are those that are known");
                }
            }
        }
        let store = informer.store();
        let known = match owner.namespace() {
            "" => store.list(),
            namespace => store.list_namespace(namespace),
        };
        known
            .iter()
            .filter(|object| is_owned_by(object, owner.uid()))
            .map(|object| Dependent::of(gvr, object))
            .collect()
    }

    async fn list_dependents(
        &self,
        gvr: &GroupVersionResource,
        owner: &PartialObjectMetadata,
    ) -> Result<Vec<Dependent>, ApiError> {
        let api = self.ctx.client.dynamic(gvr, owner.namespace());
        let mut params = ListParams {
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut dependents = Vec::new();
        loop {
            let page = api.list_metadata(&params).await?;
            let owned = page
                .items
                .iter()
                .filter(|object| is_owned_by(object, owner.uid()));
            dependents.extend(owned.map(|object| Dependent::of(gvr, object)));
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(dependents);
            }
            params.continue_token = next;
        }
    }

    async fn orphan(&self, dependent: &Dependent, owner: &str) -> Result<(), Error> {
        let api = self
            .ctx
            .client
            .dynamic(&dependent.gvr, dependent.namespace.as_str());
        let latest = ApiError::not_found_is_none(api.get_metadata(&dependent.name).await)?;
        match latest.filter(|latest| latest.uid() == dependent.uid) {
            Some(latest) if is_owned_by(&latest, owner) => {
                self.drop_owners(&api, &latest, &[owner.to_owned()]).await
            }
            _ => Ok(()),
        }
    }
}
