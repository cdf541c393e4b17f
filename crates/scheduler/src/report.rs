//! What is said of a pod that goes nowhere: an event, its `PodScheduled` condition, and the node that it waits for.

use std::{sync::Arc, time::Instant};

use client::{EventType, Patch};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use serde_json::{Value, json};
use tracing::warn;

use crate::{
    algorithm::{FitError, Nomination},
    metrics::Attempt,
    pod_info::PodInfo,
    queue::QueuedPod,
    scheduler::Scheduler,
};

/// Bytes that the message of an event may have.
const MAX_MESSAGE: usize = 1024;

impl Scheduler {
    /// Puts a pod back and says why; its attempt began then.
    pub(crate) fn refuse(&mut self, pod: QueuedPod, error: FitError, began: Instant) {
        let info = pod.info;
        let (reason, result) = if error.refused_by.is_empty() {
            ("SchedulerError", Attempt::Error)
        } else {
            ("Unschedulable", Attempt::Unschedulable)
        };
        let profile = self.profiles.of(&info);
        self.metrics.attempted(profile.name(), result, began);
        if result == Attempt::Unschedulable {
            self.metrics.preempted(match &error.nomination {
                Nomination::Preempt(preemption) => Some(preemption.victims.len()),
                Nomination::Keep | Nomination::Clear => None,
            });
        }
        let nominated = match &error.nomination {
            Nomination::Keep => None,
            Nomination::Clear => {
                self.cache.nominations().withdraw(&info.uid);
                info.nominated_node().map(|_| Value::Null)
            }
            Nomination::Preempt(preemption) => {
                self.cache
                    .nominations()
                    .nominate(Arc::clone(&info), &preemption.node);
                (info.nominated_node() != Some(&preemption.node)).then(|| json!(preemption.node))
            }
        };
        self.events.event(
            info.pod.as_ref(),
            EventType::Warning,
            "FailedScheduling",
            truncated(&error.message),
        );
        self.write_condition(&info, reason, &error.message, nominated);
        match error.nomination {
            Nomination::Preempt(preemption) => self.preempt(info, error.refused_by, preemption),
            Nomination::Keep | Nomination::Clear => {
                self.queue
                    .fail(&info.uid, error.refused_by, self.clock.now());
            }
        }
    }

    fn write_condition(
        &mut self,
        info: &Arc<PodInfo>,
        reason: &str,
        message: &str,
        nominated: Option<Value>,
    ) {
        let mut status = serde_json::Map::new();
        if !condition_stands(&info.pod, reason, message) {
            let condition = json!({
                "type": "PodScheduled",
                "status": "False",
                "reason": reason,
                "message": message,
                "lastProbeTime": null,
                "lastTransitionTime": transition_time(&info.pod, self.clock.now()),
                "observedGeneration": info.pod.metadata.generation,
            });
            status.insert("conditions".to_owned(), json!([condition]));
        }
        if let Some(nominated) = nominated {
            status.insert("nominatedNodeName".to_owned(), nominated);
        }
        if status.is_empty() {
            return;
        }
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": info.uid },
            "status": status,
        }));
        let pods = self.client.api::<Pod>(&info.namespace);
        let info = Arc::clone(info);
        self.tasks.spawn_cancellable("condition", async move {
            // A pod that has gone needs no condition; anything else is tried again with the next attempt.
            if let Err(error) = pods.patch_status(&info.name, &patch).await
                && !error.is_not_found()
                && !error.is_conflict()
            {
                warn!(pod = info.key(), %error, "updating the PodScheduled condition failed");
            }
        });
    }
}

/// As much of a message as an event takes.
fn truncated(message: &str) -> String {
    let suffix = " ...";
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MAX_MESSAGE - suffix.len());
    format!("{}{suffix}", &message[..end])
}

/// Whether the pod says so already.
fn condition_stands(pod: &Pod, reason: &str, message: &str) -> bool {
    scheduled_condition(pod).is_some_and(|condition| {
        condition.status == "False"
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(message)
    })
}

/// When the condition became what it is about to be: unchanged while it stays false.
fn transition_time(pod: &Pod, now: Timestamp) -> String {
    let kept = scheduled_condition(pod)
        .filter(|condition| condition.status == "False")
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0);
    kept.unwrap_or(now)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

fn scheduled_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")
}
