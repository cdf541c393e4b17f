//! What ReplicaSet and ReplicationController have in common, so that one controller runs both.

use client::Kind;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{
            PodTemplateSpec, ReplicationController, ReplicationControllerCondition,
            ReplicationControllerStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, Time},
};

use super::plan::Counts;
use crate::config::ConcurrentSyncs;

/// A failure to create or delete pods, as the `ReplicaFailure` condition tells it.
pub(crate) struct Failure {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) at: Time,
}

/// A kind that keeps a number of equal pods.
pub(crate) trait Replicated: Kind {
    /// The controller's name.
    const CONTROLLER: &'static str;
    /// The name that its queue is counted under.
    const QUEUE: &'static str;
    /// How many objects of the kind are worked on at once.
    fn concurrent_syncs(all: &ConcurrentSyncs) -> usize;
    /// `spec.replicas`.
    fn replicas(&self) -> i32;
    /// `spec.selector`; nothing if it is missing.
    fn selector(&self) -> Option<LabelSelector>;
    /// `spec.template`.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// `spec.minReadySeconds`.
    fn min_ready_seconds(&self) -> i32;
    /// The object with a new status.
    fn with_status(&self, counts: &Counts, terminating: i32, failure: Option<&Failure>) -> Self;
    /// Whether the statuses are the same.
    fn same_status(&self, other: &Self) -> bool;
}

/// The condition's type.
const REPLICA_FAILURE: &str = "ReplicaFailure";

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const QUEUE: &'static str = "replicaset";

    fn concurrent_syncs(all: &ConcurrentSyncs) -> usize {
        all.replica_set
    }

    fn replicas(&self) -> i32 {
        self.spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
    }

    fn selector(&self) -> Option<LabelSelector> {
        self.spec.as_ref().map(|spec| spec.selector.clone())
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds)
            .unwrap_or_default()
    }

    fn with_status(&self, counts: &Counts, terminating: i32, failure: Option<&Failure>) -> Self {
        let old = self.status.clone().unwrap_or_default();
        let mut conditions = old.conditions.clone().unwrap_or_default();
        let failed_before = conditions
            .iter()
            .any(|condition| condition.type_ == REPLICA_FAILURE);
        match failure {
            None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
            // The first failure stands until there is none.
            Some(_) if failed_before => {}
            Some(failure) => conditions.push(ReplicaSetCondition {
                type_: REPLICA_FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(failure.reason.to_owned()),
                message: Some(failure.message.clone()),
                last_transition_time: Some(failure.at.clone()),
            }),
        }
        let status = ReplicaSetStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: nonzero(counts.fully_labeled),
            ready_replicas: nonzero(counts.ready),
            available_replicas: nonzero(counts.available),
            terminating_replicas: Some(terminating),
            observed_generation: self.metadata.generation,
            conditions: (!conditions.is_empty()).then_some(conditions),
        };
        Self {
            status: Some(status),
            ..self.clone()
        }
    }

    fn same_status(&self, other: &Self) -> bool {
        self.status.clone().unwrap_or_default() == other.status.clone().unwrap_or_default()
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replicationcontroller-controller";
    const QUEUE: &'static str = "replicationmanager";

    fn concurrent_syncs(all: &ConcurrentSyncs) -> usize {
        all.replication_controller
    }

    fn replicas(&self) -> i32 {
        self.spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
    }

    fn selector(&self) -> Option<LabelSelector> {
        let labels = self
            .spec
            .as_ref()?
            .selector
            .clone()
            .filter(|labels| !labels.is_empty())?;
        Some(LabelSelector {
            match_labels: Some(labels),
            match_expressions: None,
        })
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds)
            .unwrap_or_default()
    }

    fn with_status(&self, counts: &Counts, _terminating: i32, failure: Option<&Failure>) -> Self {
        let old = self.status.clone().unwrap_or_default();
        let mut conditions = old.conditions.clone().unwrap_or_default();
        let failed_before = conditions
            .iter()
            .any(|condition| condition.type_ == REPLICA_FAILURE);
        match failure {
            None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
            Some(_) if failed_before => {}
            Some(failure) => conditions.push(ReplicationControllerCondition {
                type_: REPLICA_FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(failure.reason.to_owned()),
                message: Some(failure.message.clone()),
                last_transition_time: Some(failure.at.clone()),
            }),
        }
        let status = ReplicationControllerStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: nonzero(counts.fully_labeled),
            ready_replicas: nonzero(counts.ready),
            available_replicas: nonzero(counts.available),
            observed_generation: self.metadata.generation,
            conditions: (!conditions.is_empty()).then_some(conditions),
        };
        Self {
            status: Some(status),
            ..self.clone()
        }
    }

    fn same_status(&self, other: &Self) -> bool {
        self.status.clone().unwrap_or_default() == other.status.clone().unwrap_or_default()
    }
}

/// Zeros are left out on the wire.
fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
