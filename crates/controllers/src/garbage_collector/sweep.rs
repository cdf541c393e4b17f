//! What is done about an object that may be garbage: [`GarbageCollector::attempt_to_delete`].

use std::time::Duration;

use client::{
    ApiError, DeleteOptionsExt as _, DynamicApi, Object as _, PartialObjectMetadata, Patch,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, OwnerReference};
use serde_json::json;
use tracing::debug;

use crate::reconcile::{Error, Next};

use super::{
    GarbageCollector,
    graph::{FOREGROUND, Node, ORPHAN, Place},
    lock,
};

/// How soon an owner that exists and that no informer has shown is asked for again.
const UNSEEN: Duration = Duration::from_secs(30);
const MAX_CONFLICTS: usize = 5;

/// How an owner reference stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The owner is there.
    Solid,
    /// It is gone.
    Dangling,
    /// It is there and waits for this object's deletion.
    Waiting,
}

/// What to do with an object that has owners.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It has an owner; these references are of no use to it.
    Keep { drop: Vec<String> },
    /// Its owner waits for it, and it has dependents of its own.
    DeleteForeground,
    /// No owner is left.
    Delete,
}

fn judge(standings: &[(String, Standing)], has_dependents: bool) -> Verdict {
    let any = |wanted: Standing| standings.iter().any(|(_, standing)| *standing == wanted);
    if any(Standing::Solid) {
        let useless = standings
            .iter()
            .filter(|(_, standing)| *standing != Standing::Solid);
        return Verdict::Keep {
            drop: useless.map(|(uid, _)| uid.clone()).collect(),
        };
    }
    if any(Standing::Waiting) && has_dependents {
        Verdict::DeleteForeground
    } else {
        Verdict::Delete
    }
}

impl GarbageCollector {
    /// The API of a node's resource; an error if discovery does not know it (yet).
    pub(super) fn api(&self, node: &Node) -> Result<DynamicApi, Error> {
        let client = &self.ctx.client;
        match &node.place {
            Place::Resource(gvr) => Ok(client.dynamic(gvr, node.namespace.as_str())),
            Place::Reference { api_version, kind } => {
                self.owner_api(api_version, kind, &node.namespace)
            }
        }
    }

    fn owner_api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
    ) -> Result<DynamicApi, Error> {
        let discovery = self.discovery();
        let resource = discovery.resource_of(api_version, kind).ok_or_else(|| {
            Error::State(format!(
                "no matches for kind {kind:?} in version {api_version:?}"
            ))
        })?;
        let namespace = if resource.namespaced { namespace } else { "" };
        Ok(self.ctx.client.dynamic(&resource.gvr, namespace))
    }

    /// Deletes an object if all its owners are gone; lets a foreground deletion go on that nothing blocks any longer.
    pub(super) async fn attempt_to_delete(&self, uid: &str) -> Result<Next, Error> {
        let Some(node) = lock(&self.graph).get(uid).cloned() else {
            return Ok(Next::OnEvent);
        };
        if node.being_deleted && !node.deleting_dependents {
            return Ok(Next::OnEvent);
        }
        let api = self.api(&node)?;
        let latest = ApiError::not_found_is_none(api.get_metadata(&node.name).await)?;
        let Some(latest) = latest.filter(|latest| latest.uid() == uid) else {
            debug!(kind = ?node.place, name = node.name, "not there any longer");
            self.remove(uid);
            return Ok(Next::OnEvent);
        };
        if node.deleting_dependents {
            return self.process_deleting_dependents(&node, &api).await;
        }
        if latest.owner_references().is_empty() {
            return Ok(if node.is_virtual() {
                Next::After(UNSEEN)
            } else {
                Next::OnEvent
            });
        }
        let mut standings = Vec::new();
        for owner in latest.owner_references() {
            standings.push((
                owner.uid.clone(),
                self.standing(owner, latest.namespace()).await?,
            ));
        }
        let dependents = lock(&self.graph).dependents(uid);
        match judge(&standings, !dependents.is_empty()) {
            Verdict::Keep { drop } if drop.is_empty() => {}
            Verdict::Keep { drop } => self.drop_owners(&api, &latest, &drop).await?,
            Verdict::DeleteForeground => {
                // Of a circle of blocking owners somebody must let go.
                if dependents
                    .iter()
                    .any(|dependent| dependent.deleting_dependents)
                {
                    self.stop_blocking(&api, &latest).await?;
                }
                self.delete(&api, &latest, "Foreground").await?;
            }
            Verdict::Delete => {
                let has = |name: &str| {
                    latest
                        .metadata
                        .finalizers
                        .iter()
                        .flatten()
                        .any(|f| f == name)
                };
                // What its own deletion was asked to do with its dependents is still meant.
                let policy = match (has(ORPHAN), has(FOREGROUND)) {
                    (true, _) => "Orphan",
                    (false, true) => "Foreground",
                    (false, false) => "Background",
                };
                self.delete(&api, &latest, policy).await?;
            }
        }
        Ok(if node.is_virtual() {
            Next::After(UNSEEN)
        } else {
            Next::OnEvent
        })
    }

    async fn process_deleting_dependents(
        &self,
        node: &Node,
        api: &DynamicApi,
    ) -> Result<Next, Error> {
        let dependents = lock(&self.graph).dependents(&node.uid);
        let mut blocked = false;
        for dependent in dependents
            .into_iter()
            .filter(|dependent| dependent.blocks(&node.uid))
        {
            blocked = true;
            if !dependent.deleting_dependents {
                self.attempt_to_delete.add(super::Key(dependent.uid));
            }
        }
        if !blocked {
            self.remove_finalizer(api, node, FOREGROUND).await?;
        }
        Ok(Next::OnEvent)
    }

    async fn standing(&self, owner: &OwnerReference, namespace: &str) -> Result<Standing, Error> {
        if self.is_known_absent(&owner.uid) {
            return Ok(Standing::Dangling);
        }
        let discovery = self.discovery();
        if namespace.is_empty()
            && discovery
                .resource_of(&owner.api_version, &owner.kind)
                .is_some_and(|resource| resource.namespaced)
        {
            // Invalid: which namespace would it be? Such an object is left alone.
            return Ok(Standing::Solid);
        }
        let api = self.owner_api(&owner.api_version, &owner.kind, namespace)?;
        match ApiError::not_found_is_none(api.get_metadata(&owner.name).await)? {
            Some(found) if found.uid() == owner.uid => {
                let waits = found.is_being_deleted()
                    && found
                        .metadata
                        .finalizers
                        .iter()
                        .flatten()
                        .any(|finalizer| finalizer == FOREGROUND);
                Ok(if waits {
                    Standing::Waiting
                } else {
                    Standing::Solid
                })
            }
            _ => {
                self.remember_absent(&owner.uid);
                Ok(Standing::Dangling)
            }
        }
    }

    async fn delete(
        &self,
        api: &DynamicApi,
        latest: &PartialObjectMetadata,
        policy: &str,
    ) -> Result<(), Error> {
        debug!(
            name = latest.name(),
            namespace = latest.namespace(),
            policy,
            "deleting garbage"
        );
        let options = DeleteOptions::propagation(policy)
            .with_uid(latest.uid())
            .with_resource_version(latest.resource_version());
        ApiError::not_found_is_none(api.delete(latest.name(), &options).await)?;
        Ok(())
    }

    /// Writes owner references, if the object has not changed since it was read.
    async fn set_owners(
        &self,
        api: &DynamicApi,
        latest: &PartialObjectMetadata,
        owners: &[OwnerReference],
    ) -> Result<(), Error> {
        let patch = Patch::Merge(json!({
            "metadata": {
                "uid": latest.uid(),
                "resourceVersion": latest.resource_version(),
                "ownerReferences": owners,
            }
        }));
        ApiError::not_found_is_none(api.patch_metadata(latest.name(), &patch).await)?;
        Ok(())
    }

    pub(super) async fn drop_owners(
        &self,
        api: &DynamicApi,
        latest: &PartialObjectMetadata,
        uids: &[String],
    ) -> Result<(), Error> {
        let mut owners = latest.owner_references().to_vec();
        owners.retain(|owner| !uids.contains(&owner.uid));
        self.set_owners(api, latest, &owners).await
    }

    async fn stop_blocking(
        &self,
        api: &DynamicApi,
        latest: &PartialObjectMetadata,
    ) -> Result<(), Error> {
        let mut owners = latest.owner_references().to_vec();
        for owner in &mut owners {
            owner.block_owner_deletion = owner.block_owner_deletion.map(|_| false);
        }
        self.set_owners(api, latest, &owners).await
    }

    pub(super) async fn remove_finalizer(
        &self,
        api: &DynamicApi,
        node: &Node,
        finalizer: &str,
    ) -> Result<(), Error> {
        for _ in 0..MAX_CONFLICTS {
            let latest = ApiError::not_found_is_none(api.get_metadata(&node.name).await)?;
            let Some(latest) = latest.filter(|latest| latest.uid() == node.uid) else {
                return Ok(());
            };
            let mut finalizers = latest.metadata.finalizers.clone().unwrap_or_default();
            let before = finalizers.len();
            finalizers.retain(|known| known != finalizer);
            if finalizers.len() == before {
                return Ok(());
            }
            let patch = Patch::Merge(json!({
                "metadata": { "resourceVersion": latest.resource_version(), "finalizers": finalizers }
            }));
            match api.patch_metadata(&node.name, &patch).await {
                Err(error) if error.is_conflict() => {}
                result => {
                    return ApiError::not_found_is_none(result)
                        .map(drop)
                        .map_err(Error::from);
                }
            }
        }
        Err(Error::State(format!(
            "updateMaxRetries({MAX_CONFLICTS}) has reached for {}/{}",
            node.namespace, node.name
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing::*, *};

    #[test]
    fn verdicts() {
        let keep = |drop: &[&str]| Verdict::Keep {
            drop: drop.iter().map(|uid| (*uid).to_owned()).collect(),
        };
        let table: [(&[Standing], bool, Verdict); 6] = [
            (&[Solid], true, keep(&[])),
            (&[Solid, Dangling, Waiting], true, keep(&["1", "2"])),
            (&[Dangling], true, Verdict::Delete),
            (&[Waiting], false, Verdict::Delete),
            (&[Waiting], true, Verdict::DeleteForeground),
            (&[Dangling, Waiting], true, Verdict::DeleteForeground),
        ];
        for (standings, has_dependents, expected) in table {
            let standings: Vec<_> = standings
                .iter()
                .enumerate()
                .map(|(index, standing)| (index.to_string(), *standing))
                .collect();
            assert_eq!(judge(&standings, has_dependents), expected, "{standings:?}");
        }
    }
}
