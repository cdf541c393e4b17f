//! The PersistentVolumeClaim protection controller: a claim that is to go stays until no pod uses it.
//!
//! The admission plugin gives each claim the finalizer; here it is taken off. What the informer does not know the server may: the last look
//! before is at the server.

use std::sync::Arc;

use async_trait::async_trait;
use client::{Event, Informer, ListParams, Object as _, ObjectKey};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::{
    context::ControllerContext,
    pods,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

use super::pod_claims::{self, CLAIM_INDEX, by_claim};

pub(crate) const NAME: &str = "persistentvolumeclaim-protection-controller";
const FINALIZER: &str = "kubernetes.io/pvc-protection";

struct PvcProtection {
    ctx: ControllerContext,
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(PvcProtection {
        claims: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    controller.pods.add_index(CLAIM_INDEX, by_claim);
    let queue = ctx.queue("pvcprotection");
    queue_changes(&ctx, NAME, &controller.claims, &queue);
    let changed = queue.clone();
    on_events(&ctx, NAME, &controller.pods, move |event| match event {
        Event::Deleted(pod) => pod_claims::keys(&pod).for_each(|key| changed.add(key)),
        Event::Added(pod) | Event::Updated { new: pod, .. } => {
            // Others cannot let go of a claim.
            if pods::is_terminal(&pod) || is_shut_down(&pod) || pods::node_name(&pod).is_empty() {
                pod_claims::keys(&pod).for_each(|key| changed.add(key));
            }
        }
        // The claims' own resync queues all.
        Event::Resync => {}
    });
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.others,
        &queue,
        controller,
    );
}

/// Whether the kubelet is done with a pod, or it was deleted by force: what is left waits for finalizers alone.
fn is_shut_down(pod: &Pod) -> bool {
    pod.is_being_deleted() && pod.metadata.deletion_grace_period_seconds == Some(0)
}

/// Whether a pod uses a claim. Those without a node do not: no kubelet starts a pod with a claim that is to go.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    !pods::node_name(pod).is_empty()
        && pod_claims::volumes(pod).any(|volume| {
            let named = volume.persistent_volume_claim.as_ref();
            named.is_some_and(|source| source.claim_name == claim.name())
                || volume.ephemeral.is_some()
                    && !is_shut_down(pod)
                    && pod_claims::ephemeral_claim_name(pod, volume) == claim.name()
                    && pod_claims::is_for_pod(pod, claim)
        })
}

#[async_trait]
impl Reconciler for PvcProtection {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.claims.has_synced().await;
        self.pods.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(claim) = self.claims.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let mut finalizers = claim.metadata.finalizers.clone().unwrap_or_default();
        let protected = finalizers.iter().any(|known| known == FINALIZER);
        if claim.is_being_deleted() != protected {
            return Ok(Next::OnEvent);
        }
        if protected {
            let known = self.pods.store().by_index(CLAIM_INDEX, &key.to_string());
            if known.iter().any(|pod| uses(pod, &claim)) || self.is_used_live(&claim).await? {
                return Ok(Next::OnEvent);
            }
            finalizers.retain(|known| known != FINALIZER);
        } else {
            // Older than the admission plugin.
            finalizers.push(FINALIZER.to_owned());
        }
        let mut changed = (*claim).clone();
        changed.metadata.finalizers = Some(finalizers);
        let api = self.ctx.client.api::<PersistentVolumeClaim>(&key.namespace);
        client::ApiError::not_found_is_none(api.update(&changed).await)?;
        Ok(Next::OnEvent)
    }
}

impl PvcProtection {
    async fn is_used_live(&self, claim: &PersistentVolumeClaim) -> Result<bool, Error> {
        let api = self.ctx.client.api::<Pod>(claim.namespace());
        let pods = api.list(&ListParams::default()).await?.items;
        Ok(pods.iter().any(|pod| uses(pod, claim)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_uses_a_claim() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({"metadata": {
            "name": "p-data", "namespace": "ns",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}],
        }}))
        .unwrap();
        let pod = |node: &str, volume: serde_json::Value, deleted: bool| -> Pod {
            let mut pod = json!({
                "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
                "spec": {"nodeName": node, "containers": [], "volumes": [volume]},
            });
            if deleted {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            }
            serde_json::from_value(pod).unwrap()
        };
        let named = json!({"name": "v", "persistentVolumeClaim": {"claimName": "p-data"}});
        let other = json!({"name": "v", "persistentVolumeClaim": {"claimName": "other"}});
        let own = json!({"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}});
        assert!(uses(&pod("n", named.clone(), false), &claim));
        assert!(uses(&pod("n", named.clone(), true), &claim));
        assert!(!uses(&pod("", named, false), &claim));
        assert!(!uses(&pod("n", other, false), &claim));
        assert!(uses(&pod("n", own.clone(), false), &claim));
        assert!(!uses(&pod("n", own, true), &claim));
    }
}
