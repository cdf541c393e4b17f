//! Mirror pods: the API's images of static pods, so that users see them. Deleting one changes nothing but the image.

use std::{collections::BTreeSet, sync::Arc};

use client::{ApiError, Client, DeleteOptionsExt as _, Kind as _};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use tracing::{debug, warn};

use crate::{
    pod::{CONFIG_HASH, CONFIG_MIRROR, annotation, name, namespace, uid},
    status::StatusManager,
};

/// Keeps mirror pods as static pods are.
pub struct MirrorPods {
    client: Client,
    node_name: String,
    status: StatusManager,
}

impl MirrorPods {
    /// On this server.
    pub fn new(client: Client, node_name: String, status: StatusManager) -> Self {
        Self {
            client,
            node_name,
            status,
        }
    }

    /// Makes the mirrors that are missing, and removes those that mirror nothing, or something else by now. Idempotent; what fails
    /// is tried again at the next call. Says whether all went well.
    pub async fn reconcile(&self, static_pods: &[Arc<Pod>], mirrors: &[Arc<Pod>]) -> bool {
        let mut well = true;
        let mut mirrored = BTreeSet::new();
        for mirror in mirrors {
            let original = static_pods
                .iter()
                .find(|pod| name(pod) == name(mirror) && namespace(pod) == namespace(mirror));
            let current = original.is_some_and(|pod| {
                annotation(pod, CONFIG_HASH) == annotation(mirror, CONFIG_MIRROR)
            }) && mirror.metadata.deletion_timestamp.is_none();
            match original {
                Some(original) if current => {
                    mirrored.insert(uid(original).to_owned());
                    self.status.set_mirror(uid(original), mirror);
                }
                _ => well &= self.delete(mirror).await,
            }
        }
        for pod in static_pods
            .iter()
            .filter(|pod| !mirrored.contains(uid(pod)))
        {
            well &= match self.create(pod).await {
                Ok(mirror) => {
                    self.status.set_mirror(uid(pod), &mirror);
                    true
                }
                // The old one is on its way out; its deletion will wake us.
                Err(error) if error.is_already_exists() => true,
                Err(error) => {
                    warn!(pod = name(pod), %error, "cannot create mirror pod");
                    false
                }
            };
        }
        well
    }

    async fn delete(&self, mirror: &Pod) -> bool {
        let options = DeleteOptions::grace_period(0).with_uid(uid(mirror));
        match self
            .client
            .api::<Pod>(namespace(mirror))
            .delete(name(mirror), &options)
            .await
        {
            Ok(()) => true,
            Err(error) if error.is_not_found() || error.is_conflict() => true,
            Err(error) => {
                warn!(pod = name(mirror), %error, "cannot delete mirror pod");
                false
            }
        }
    }

    async fn create(&self, pod: &Pod) -> Result<Pod, ApiError> {
        let mut mirror = pod.clone();
        mirror.status = None;
        mirror.metadata.uid = None;
        mirror.metadata.creation_timestamp = None;
        mirror.metadata.resource_version = None;
        let hash = annotation(pod, CONFIG_HASH).unwrap_or_default().to_owned();
        mirror
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(CONFIG_MIRROR.to_owned(), hash);
        // The mirror goes with its node.
        let node = self.client.api::<Node>("").get_opt(&self.node_name).await?;
        mirror.metadata.owner_references = node.map(|node| {
            let mut owner = node.owner_reference();
            owner.controller = Some(true);
            vec![owner]
        });
        debug!(pod = name(pod), "creating mirror pod");
        self.client.api::<Pod>(namespace(pod)).create(&mirror).await
    }
}
