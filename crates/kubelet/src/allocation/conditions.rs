//! `PodResizePending` and `PodResizeInProgress`: what users see of a resize on its way (KEP-1287).

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::json;

use crate::pod::{containers, init_containers};

/// The type of a resize that this node has not granted.
pub const PENDING: &str = "PodResizePending";
/// The type of a resize that was granted and is not carried out yet.
pub const IN_PROGRESS: &str = "PodResizeInProgress";
/// The reason of a pending resize that may be granted later.
pub(super) const DEFERRED: &str = "Deferred";
/// The reason of a resize whose carrying out failed.
pub(super) const ERROR: &str = "Error";

/// Both conditions of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ResizeConditions {
    pub(super) pending: Option<PodCondition>,
    pub(super) in_progress: Option<PodCondition>,
}

impl ResizeConditions {
    /// Those that an earlier kubelet had told the API of.
    pub(super) fn of(pod: &Pod) -> Self {
        let find = |type_: &str| {
            let conditions = pod.status.as_ref()?.conditions.as_ref()?;
            conditions.iter().find(|c| c.type_ == type_).cloned()
        };
        Self {
            pending: find(PENDING),
            in_progress: find(IN_PROGRESS),
        }
    }

    pub(super) fn list(&self) -> Vec<PodCondition> {
        [&self.pending, &self.in_progress]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Sets the pending condition; says whether it differs from what it was.
    pub(super) fn set_pending(
        &mut self,
        message: &str,
        generation: Option<i64>,
        now: Timestamp,
    ) -> bool {
        let new = condition(
            PENDING,
            self.pending.as_ref(),
            DEFERRED,
            message,
            generation,
            now,
        );
        replace(&mut self.pending, new)
    }

    /// Sets the other one. While it stands, its generation stays, and so do reason and message unless new ones are given.
    pub(super) fn set_in_progress(
        &mut self,
        error: Option<&str>,
        generation: Option<i64>,
        now: Timestamp,
    ) -> bool {
        let old = self.in_progress.as_ref();
        let kept = |field: Option<&Option<String>>| field.cloned().flatten().unwrap_or_default();
        let (reason, message) = match error {
            Some(message) => (ERROR.to_owned(), message.to_owned()),
            None => (kept(old.map(|c| &c.reason)), kept(old.map(|c| &c.message))),
        };
        let generation = old.map_or(generation, |condition| condition.observed_generation);
        let new = condition(IN_PROGRESS, old, &reason, &message, generation, now);
        replace(&mut self.in_progress, new)
    }
}

/// Puts the new condition there; says whether it tells something new.
fn replace(place: &mut Option<PodCondition>, new: PodCondition) -> bool {
    let told = |condition: &PodCondition| {
        (
            condition.reason.clone(),
            condition.message.clone(),
            condition.observed_generation,
        )
    };
    let changed = place.as_ref().map(told) != Some(told(&new));
    if changed {
        *place = Some(new);
    }
    changed
}

fn condition(
    type_: &str,
    old: Option<&PodCondition>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> PodCondition {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let since = old
        .filter(|old| old.reason.as_deref().unwrap_or_default() == reason)
        .and_then(|old| old.last_transition_time.clone());
    PodCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: text(reason),
        message: text(message),
        observed_generation: generation,
        last_probe_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    }
}

/// The text of an event about a resize: what happened, and the resources in JSON.
pub(super) fn message(what: &str, pod: &Pod, generation: Option<i64>, error: &str) -> String {
    let each = |container: &Container| json!({"name": container.name, "resources": container.resources.clone().unwrap_or_default()});
    let mut summary = serde_json::Map::new();
    for (field, list) in [
        ("initContainers", init_containers(pod)),
        ("containers", containers(pod)),
    ] {
        if !list.is_empty() {
            summary.insert(field.to_owned(), list.iter().map(each).collect());
        }
    }
    summary.insert(
        "generation".to_owned(),
        generation.unwrap_or_default().into(),
    );
    if !error.is_empty() {
        summary.insert("error".to_owned(), error.into());
    }
    format!("{what}: {}", serde_json::Value::Object(summary))
}
