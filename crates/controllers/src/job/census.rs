//! A Job's pods, sorted by what they are to it.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use client::Object as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::JobSpec,
    core::v1::{ContainerStatus, Pod},
};

use crate::pods;

use super::indexes::Indexes;

pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX_LABEL: &str = "batch.kubernetes.io/job-completion-index";

/// Whether a pod still is to be counted.
pub(super) fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == FINALIZER)
}

/// Whether a Job's pods have indexes.
pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// Whether a pod is replaced only when it has ended, not already when it is on its way out.
pub(super) fn waits_for_end(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// The completion index of a pod, if it has one that counts.
pub(super) fn index_of(spec: &JobSpec, pod: &Pod) -> Option<i32> {
    let index: i32 = pod.annotation(INDEX_LABEL)?.parse().ok()?;
    (0..spec.completions.unwrap_or_default())
        .contains(&index)
        .then_some(index)
}

/// A Job's pods, sorted by what they are to it.
pub(super) struct Census<'a> {
    pub(super) active: Vec<&'a Arc<Pod>>,
    pub(super) terminating: Vec<&'a Arc<Pod>>,
    pub(super) succeeded: Vec<&'a Arc<Pod>>,
    /// Those that have failed, and, where nobody waits for their end, those on their way out.
    pub(super) failed: Vec<&'a Arc<Pod>>,
}

impl<'a> Census<'a> {
    pub(super) fn take(spec: &JobSpec, pods: &'a [Arc<Pod>]) -> Self {
        let waits = waits_for_end(spec);
        let mut census = Self {
            active: Vec::new(),
            terminating: Vec::new(),
            succeeded: Vec::new(),
            failed: Vec::new(),
        };
        for pod in pods {
            match pods::phase(pod) {
                "Succeeded" => census.succeeded.push(pod),
                "Failed" => census.failed.push(pod),
                _ if pod.is_being_deleted() => {
                    census.terminating.push(pod);
                    if !waits {
                        census.failed.push(pod);
                    }
                }
                _ => census.active.push(pod),
            }
        }
        census
    }

    /// The indexes that pods work on, or occupy until they have ended.
    pub(super) fn occupied(&self, spec: &JobSpec) -> Indexes {
        let waits = waits_for_end(spec);
        let terminating = self.terminating.iter().filter(|_| waits);
        self.active
            .iter()
            .chain(terminating)
            .filter_map(|pod| index_of(spec, pod))
            .collect()
    }

    /// Active pods to do without: those of no or of a double index, and otherwise those that have come least far, until only `wanted`
    /// are left.
    pub(super) fn surplus(&self, spec: &JobSpec, wanted: usize) -> Vec<Arc<Pod>> {
        let mut pods = self.active.clone();
        pods.sort_by_key(|pod| {
            let phase = match pods::phase(pod) {
                "Pending" => 0,
                "Unknown" => 1,
                _ => 2,
            };
            let scheduled = !pods::node_name(pod).is_empty();
            let created = pod.metadata.creation_timestamp.clone();
            let restarts = Reverse(pods::max_restarts(pod));
            (
                scheduled,
                phase,
                pods::is_ready(pod),
                restarts,
                Reverse(created),
            )
        });
        let mut surplus = Vec::new();
        if is_indexed(spec) {
            // Of several pods of one index the one that has come farthest stays.
            let mut seen = BTreeSet::new();
            let mut kept = Vec::new();
            for pod in pods.into_iter().rev() {
                match index_of(spec, pod) {
                    Some(index) if seen.insert(index) => kept.push(pod),
                    _ => surplus.push(Arc::clone(pod)),
                }
            }
            kept.reverse();
            pods = kept;
        }
        let too_many = (self.active.len() - surplus.len()).saturating_sub(wanted);
        surplus.extend(pods.into_iter().take(too_many).cloned());
        surplus
    }
}

/// When a pod ended: its last container, sidecars included; otherwise as good as known.
pub(super) fn finished_at(pod: &Pod) -> Option<Timestamp> {
    let deleted = || {
        let grace = pod
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or_default();
        let gone = pod.metadata.deletion_timestamp.as_ref()?.0;
        gone.checked_sub(SignedDuration::from_secs(grace)).ok()
    };
    let unready = || {
        let ready = pods::condition(pod, "Ready").filter(|ready| ready.status == "False")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    last_container_end(pod)
        .or_else(unready)
        .or_else(deleted)
        .or_else(created)
}

fn last_container_end(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let is_sidecar = |container: &&ContainerStatus| {
        let mut specs = pod
            .spec
            .iter()
            .flat_map(|spec| spec.init_containers.iter().flatten());
        specs.any(|spec| {
            spec.name == container.name && spec.restart_policy.as_deref() == Some("Always")
        })
    };
    let sidecars = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter(is_sidecar);
    let mut last = None;
    for container in status.container_statuses.iter().flatten().chain(sidecars) {
        // One that has not ended, or nobody knows when: nothing is known of the pod either.
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        last = last.max(Some(ended.finished_at.as_ref()?.0));
    }
    last
}
