//! Carries out a preemption: withdraws the nominations that it voids, says in each victim's status why it goes, deletes it, and records
//! an event. All of it beside the scheduling of other pods; as [KEP-4832](https://kep.k8s.io/4832) has it.

use base::Clock;
use client::{ApiError, Client, DeleteOptionsExt as _, EventRecorder, EventType, Patch};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::DeleteOptions};
use serde_json::json;
use tracing::{debug, warn};

use crate::{pod_info::PodInfo, preemption::Preemption};

/// Deletions under way at the same time for one pod.
const PARALLEL: usize = 16;

/// What a preemption needs to be carried out. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) client: Client,
    pub(crate) events: EventRecorder,
    pub(crate) clock: Clock,
}

impl Executor {
    /// Makes the room that `preemption` has decided on for `pod`. An error says that some victim is still there.
    pub(crate) async fn execute(
        &self,
        pod: &PodInfo,
        preemption: Preemption,
    ) -> Result<(), ApiError> {
        for displaced in &preemption.displaced {
            if let Err(error) = self.clear_nomination(displaced).await {
                // It will find out by itself, only later.
                warn!(pod = displaced.key(), %error, "clearing the nomination failed");
            }
        }
        let mut preempting = Vec::with_capacity(preemption.victims.len());
        for victim in &preemption.victims {
            if !victim.is_terminating() {
                preempting.push(self.preempt(pod, victim, &preemption.node));
            }
        }
        let results: Vec<Result<(), ApiError>> = stream::iter(preempting)
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        results.into_iter().collect()
    }

    /// Takes the nominated node out of a pod's status.
    pub(crate) async fn clear_nomination(&self, pod: &PodInfo) -> Result<(), ApiError> {
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": pod.uid },
            "status": { "nominatedNodeName": null },
        }));
        let pods = self.client.api::<Pod>(&pod.namespace);
        unless_gone(pods.patch_status(&pod.name, &patch).await.map(drop))
    }

    async fn preempt(&self, pod: &PodInfo, victim: &PodInfo, node: &str) -> Result<(), ApiError> {
        let scheduler = pod.spec().scheduler_name.as_deref().unwrap_or_default();
        let pods = self.client.api::<Pod>(&victim.namespace);
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": victim.uid },
            "status": { "conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "PreemptionByScheduler",
                "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
                "lastProbeTime": null,
                "lastTransitionTime": self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "observedGeneration": victim.pod.metadata.generation,
            }]},
        }));
        unless_gone(pods.patch_status(&victim.name, &patch).await.map(drop))?;
        let options = DeleteOptions::default().with_uid(&victim.uid);
        unless_gone(pods.delete(&victim.name, &options).await)?;
        debug!(pod = pod.key(), victim = victim.key(), node, "preempted");
        let message = format!("Preempted by pod {} on node {node}", pod.uid);
        self.events
            .event(victim.pod.as_ref(), EventType::Normal, "Preempted", message);
        Ok(())
    }
}

/// A pod that has gone meanwhile (or has been made anew) is out of the way, too.
fn unless_gone(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}
