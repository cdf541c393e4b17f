//! Carries a plan out: writes it to volumes and claims, and waits until the volume controller has bound them.

use std::collections::BTreeMap;

use client::{Object as _, Patch};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::json;

use super::{
    BOUND_BY_CONTROLLER, Plan, SELECTED_NODE, VolumeBinding, annotation, is_fully_bound, volume_of,
};
use crate::pod_info::PodInfo;

/// That the pod has gone wakes nobody: look now and then.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// Resource versions of volumes, by name.
type Versions = BTreeMap<String, String>;

impl VolumeBinding {
    /// Binds a pod's volumes. The message of an error is one for people.
    pub(super) async fn bind(&self, pod: &PodInfo, plan: &Plan) -> Result<(), String> {
        let before = self.write(plan).await.map_err(|error| error.to_string())?;
        let clock = &self.handle.clock;
        let deadline = clock.now() + self.bind_timeout;
        let changes = &self.handle.listers.changes;
        loop {
            let changed = changes.notified();
            if self
                .is_done(pod, plan, &before)
                .map_err(|error| format!("binding volumes: {error}"))?
            {
                return Ok(());
            }
            let now = clock.now();
            if now >= deadline {
                return Err("binding volumes: context deadline exceeded".to_owned());
            }
            tokio::select! {
                () = changed => {}
                () = clock.sleep_until(deadline.min(now + LOOK_AGAIN)) => {}
            }
        }
    }

    /// Answers the versions that the volumes had before.
    async fn write(&self, plan: &Plan) -> Result<Versions, client::ApiError> {
        let client = &self.handle.client;
        let mut before = Versions::new();
        for (name, claim) in &plan.bindings {
            let Some(volume) = self.handle.listers.volumes.get("", name) else {
                continue;
            };
            before.insert(name.clone(), volume.resource_version().to_owned());
            let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
            let mut metadata = json!({
                "resourceVersion": volume.resource_version(),
                "uid": volume.uid(),
            });
            if reference.is_none() {
                metadata["annotations"] = json!({ BOUND_BY_CONTROLLER: "yes" });
            }
            let patch = Patch::Merge(json!({
                "metadata": metadata,
                "spec": { "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": claim.namespace(),
                    "name": claim.name(),
                    "uid": claim.uid(),
                    "resourceVersion": claim.resource_version(),
                }},
            }));
            client
                .api::<PersistentVolume>("")
                .patch(name, &patch)
                .await?;
        }
        for claim in &plan.provisions {
            if annotation(claim, SELECTED_NODE) == Some(&plan.node) {
                continue;
            }
            let patch = Patch::Merge(json!({
                "metadata": {
                    "resourceVersion": claim.resource_version(),
                    "uid": claim.uid(),
                    "annotations": { SELECTED_NODE: plan.node },
                },
            }));
            let claims = client.api::<PersistentVolumeClaim>(claim.namespace());
            claims.patch(claim.name(), &patch).await?;
        }
        Ok(before)
    }

    /// Whether all claims are bound, as far as is known here; an error says that they will not be.
    fn is_done(&self, pod: &PodInfo, plan: &Plan, before: &Versions) -> Result<bool, String> {
        let listers = &self.handle.listers;
        let known = listers.pods.get(&pod.namespace, &pod.name);
        if known.is_none_or(|known| known.uid() != pod.uid) {
            return Err("pod does not exist any more".to_owned());
        }
        for (name, claim) in &plan.bindings {
            let Some(volume) = listers.volumes.get("", name) else {
                return Err(format!("persistentvolume {name:?} not found"));
            };
            if before.get(name).map(String::as_str) == Some(volume.resource_version()) {
                // Our write has not been seen here yet.
                return Ok(false);
            }
            let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
            let has_uid = reference
                .and_then(|r| r.uid.as_deref())
                .is_some_and(|uid| !uid.is_empty());
            if !has_uid {
                return Err(format!("ClaimRef got reset for pv {name:?}"));
            }
            if !self.is_bound(claim)? {
                return Ok(false);
            }
        }
        for claim in &plan.provisions {
            let Some(now) = listers.claims.get(claim.namespace(), claim.name()) else {
                let name = claim.name();
                return Err(format!("persistentvolumeclaim {name:?} not found"));
            };
            let is_ours = now.resource_version() == claim.resource_version();
            if !is_ours && annotation(&now, SELECTED_NODE) != Some(&plan.node) {
                return Err(format!("provisioning failed for PVC {:?}", claim.name()));
            }
            if !self.is_bound(claim)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_bound(&self, claim: &PersistentVolumeClaim) -> Result<bool, String> {
        let listers = &self.handle.listers;
        let name = claim.name();
        let Some(now) = listers.claims.get(claim.namespace(), name) else {
            return Err(format!("persistentvolumeclaim {name:?} not found"));
        };
        let volume = volume_of(&now).and_then(|volume| listers.volumes.get("", volume));
        Ok(is_fully_bound(&now) && volume.is_some())
    }
}
