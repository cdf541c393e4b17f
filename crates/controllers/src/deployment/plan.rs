//! What a Deployment does next: `plan(deployment, replica sets, pods, now) → actions`, without I/O.
//!
//! The plan is worked out on copies, as they should become; the actions are the difference to what is. Upstream's order of steps is kept
//! (`syncDeployment`): pause and resume, scaling of a rollout under way, then one step of the strategy. One step at a time: its effect on
//! the pods shows in the ReplicaSets' status, and that calls the controller again.

use std::{sync::Arc, time::Duration};

use client::Object as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};

use super::{
    annotations, bounds,
    bounds::{new_set_replicas, replicas, set_replicas},
    recreate, rolling, scale, status, template,
};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Create the new ReplicaSet.
    CreateReplicaSet(Box<ReplicaSet>),
    /// Change a ReplicaSet, and with it perhaps its size.
    UpdateReplicaSet {
        /// As it should become.
        set: Box<ReplicaSet>,
        /// Its size now.
        from: i32,
    },
    /// Delete a ReplicaSet beyond the history limit.
    DeleteReplicaSet {
        /// Its name.
        name: String,
    },
    /// Write the status and the revision annotation.
    UpdateStatus(Box<Deployment>),
}

/// What to do, in this order, and when to look again without an event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) recheck_after: Option<Duration>,
}

/// A Deployment and its ReplicaSets as they should become.
pub(super) struct Rollout<'a> {
    pub(super) deployment: Deployment,
    /// In order of creation.
    pub(super) sets: Vec<ReplicaSet>,
    /// Which of them runs the Deployment's template.
    pub(super) new: Option<usize>,
    pub(super) now: Timestamp,
    observed: &'a Deployment,
    observed_sets: Vec<&'a ReplicaSet>,
    deletions: Vec<String>,
}

/// Plans the next step. `sets` are those that the Deployment owns, `pods` those of its namespace.
pub(super) fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    let mut rollout = Rollout::observe(deployment, sets, now);
    if deployment.is_being_deleted() {
        rollout.sync_status();
        return rollout.finish();
    }
    rollout.sync_pause_conditions();
    if rollout.is_paused() || scale::is_scaling_event(&rollout) {
        scale::scale(&mut rollout);
        if rollout.is_paused() {
            rollout.clean_up_history();
        }
        rollout.sync_status();
    } else {
        if bounds::is_rolling(deployment) {
            rolling::step(&mut rollout);
        } else {
            recreate::step(&mut rollout, pods);
        }
        rollout.sync_rollout_status();
    }
    rollout.finish()
}

impl<'a> Rollout<'a> {
    fn observe(observed: &'a Deployment, sets: &'a [Arc<ReplicaSet>], now: Timestamp) -> Self {
        let mut observed_sets: Vec<&ReplicaSet> = sets.iter().map(|set| &**set).collect();
        observed_sets.sort_by_key(|set| {
            (
                set.metadata.creation_timestamp.clone(),
                set.name().to_owned(),
            )
        });
        let template = template::of_deployment(observed);
        let mut rollout = Self {
            deployment: observed.clone(),
            sets: observed_sets.iter().map(|set| (*set).clone()).collect(),
            // The oldest, should there be several: so that all controllers of a Deployment agree.
            new: observed_sets
                .iter()
                .position(|set| template::runs(set, &template)),
            now,
            observed,
            observed_sets,
            deletions: Vec::new(),
        };
        rollout.sync_revision();
        rollout
    }

    /// The ReplicaSet of the Deployment's template.
    pub(super) fn new_set(&self) -> Option<&ReplicaSet> {
        self.new.map(|index| &self.sets[index])
    }

    /// The others, oldest first.
    pub(super) fn old_sets(&self) -> impl Iterator<Item = usize> + use<> {
        let new = self.new;
        (0..self.sets.len()).filter(move |index| Some(*index) != new)
    }

    /// The sum of `spec.replicas`.
    pub(super) fn total(&self) -> i32 {
        self.sets.iter().map(set_replicas).sum()
    }

    fn is_paused(&self) -> bool {
        self.deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.paused)
            .unwrap_or_default()
    }

    /// Whether all wanted pods are there, by the last written status.
    pub(super) fn is_complete(&self) -> bool {
        self.deployment
            .status
            .as_ref()
            .is_some_and(|status| status::is_complete(&self.deployment, status))
    }

    /// Sets the size of a ReplicaSet and notes the Deployment's on it.
    pub(super) fn resize(&mut self, index: usize, size: i32) {
        let set = &mut self.sets[index];
        set.spec.get_or_insert_default().replicas = Some(size);
        annotations::set_replicas_annotations(&self.deployment, set);
    }

    fn next_revision(&self) -> i64 {
        self.old_sets()
            .map(|index| annotations::revision(&self.sets[index]))
            .max()
            .unwrap_or_default()
            + 1
    }

    /// Keeps revision, annotations and `minReadySeconds` of an existing new ReplicaSet in step with the Deployment.
    fn sync_revision(&mut self) {
        let revision = self.next_revision();
        let Some(index) = self.new else { return };
        let set = &mut self.sets[index];
        annotations::set_new_replica_set_annotations(&self.deployment, set, revision);
        let min_ready_seconds = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds);
        let spec = set.spec.get_or_insert_default();
        if spec.min_ready_seconds.unwrap_or_default() != min_ready_seconds.unwrap_or_default() {
            spec.min_ready_seconds = min_ready_seconds;
        }
        let (name, revision) = (
            set.name().to_owned(),
            set.annotation(annotations::REVISION).map(str::to_owned),
        );
        if let Some(revision) = revision {
            self.set_deployment_revision(revision);
        }
        if status::progress_deadline(&self.deployment).is_some()
            && status::get(
                &self.deployment.status.clone().unwrap_or_default(),
                status::PROGRESSING,
            )
            .is_none()
        {
            self.set_progressing(
                "True",
                "FoundNewReplicaSet",
                format!("Found new replica set {name:?}"),
            );
        }
    }

    fn set_deployment_revision(&mut self, revision: String) {
        let annotations = self.deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::REVISION.to_owned(), revision);
    }

    fn set_progressing(&mut self, value: &str, reason: &str, message: String) {
        let condition = status::condition(status::PROGRESSING, value, reason, message, self.now);
        status::set(self.deployment.status.get_or_insert_default(), condition);
    }

    /// Makes the new ReplicaSet if there is none.
    pub(super) fn ensure_new_set(&mut self) {
        if self.new.is_some() {
            return;
        }
        let revision = self.next_revision();
        let mut set = template::new_replica_set(&self.deployment);
        let size = new_set_replicas(&self.deployment, self.total(), 0);
        set.spec.get_or_insert_default().replicas = Some(size);
        annotations::set_new_replica_set_annotations(&self.deployment, &mut set, revision);
        annotations::set_replicas_annotations(&self.deployment, &mut set);
        let name = set.name().to_owned();
        self.new = Some(self.sets.len());
        self.sets.push(set);
        self.set_deployment_revision(revision.to_string());
        if status::progress_deadline(&self.deployment).is_some() {
            self.set_progressing(
                "True",
                "NewReplicaSetCreated",
                format!("Created new replica set {name:?}"),
            );
        }
    }

    /// A pause stops the progress deadline, a resumption starts it anew.
    fn sync_pause_conditions(&mut self) {
        if status::progress_deadline(&self.deployment).is_none() {
            return;
        }
        let current = self
            .deployment
            .status
            .as_ref()
            .and_then(|s| status::get(s, status::PROGRESSING));
        let reason = current.and_then(|condition| condition.reason.as_deref());
        match (self.is_paused(), reason) {
            // The user is to see that it had timed out.
            (_, Some(status::TIMED_OUT)) | (true, Some("DeploymentPaused")) => {}
            (true, _) => self.set_progressing(
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused".to_owned(),
            ),
            (false, Some("DeploymentPaused")) => {
                self.set_progressing(
                    "Unknown",
                    "DeploymentResumed",
                    "Deployment is resumed".to_owned(),
                );
            }
            (false, _) => {}
        }
    }

    /// Deletes old ReplicaSets without pods beyond `revisionHistoryLimit`, the oldest revisions first.
    pub(super) fn clean_up_history(&mut self) {
        let limit = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.revision_history_limit);
        let Some(limit) = limit
            .filter(|limit| *limit != i32::MAX)
            .and_then(|limit| usize::try_from(limit).ok())
        else {
            return;
        };
        let mut old: Vec<&ReplicaSet> = self
            .old_sets()
            .map(|index| &self.sets[index])
            .filter(|set| !set.is_being_deleted())
            .collect();
        old.sort_by_key(|set| annotations::revision(set));
        let excess = old.len().saturating_sub(limit);
        let idle = |set: &&ReplicaSet| {
            let status = set.status.clone().unwrap_or_default();
            status.replicas == 0
                && set_replicas(set) == 0
                && set.generation() <= status.observed_generation.unwrap_or_default()
        };
        let deletions: Vec<String> = old
            .into_iter()
            .take(excess)
            .filter(idle)
            .map(|set| set.name().to_owned())
            .collect();
        self.deletions.extend(deletions);
    }

    fn sync_status(&mut self) {
        let status = status::calculate(&self.deployment, &self.sets, self.new_set(), self.now);
        self.deployment.status = Some(status);
    }

    fn sync_rollout_status(&mut self) {
        let status = status::rollout(&self.deployment, &self.sets, self.new_set(), self.now);
        self.deployment.status = Some(status);
    }

    /// The difference between what should be and what is.
    fn finish(self) -> Plan {
        let mut actions = Vec::new();
        for (index, set) in self.sets.into_iter().enumerate() {
            match self.observed_sets.get(index) {
                None => actions.push(Action::CreateReplicaSet(Box::new(set))),
                Some(observed) if **observed != set => {
                    actions.push(Action::UpdateReplicaSet {
                        from: set_replicas(observed),
                        set: Box::new(set),
                    });
                }
                Some(_) => {}
            }
        }
        actions.extend(
            self.deletions
                .into_iter()
                .map(|name| Action::DeleteReplicaSet { name }),
        );
        let status = self.deployment.status.clone().unwrap_or_default();
        let recheck_after = if replicas(&self.deployment) == 0 && self.deployment.is_being_deleted()
        {
            None
        } else {
            status::recheck_after(&self.deployment, &status, self.now)
        };
        let changed = self.deployment.status != self.observed.status
            || self.deployment.annotation(annotations::REVISION)
                != self.observed.annotation(annotations::REVISION);
        if changed {
            actions.push(Action::UpdateStatus(Box::new(self.deployment)));
        }
        Plan {
            actions,
            recheck_after,
        }
    }
}
