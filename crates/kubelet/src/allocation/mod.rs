//! Resources that are granted to pods: what a resize asks for becomes the pod's only when it fits (KEP-1287).
//!
//! A pod has three sizes: *desired* (its spec in the API), *allocated* (what this node granted; everything in the kubelet works with
//! this one) and *actuated* (what its cgroups have). A resize that does not fit waits, as `PodResizePending`, and is looked at again
//! when other pods change; one that was granted is `PodResizeInProgress` until its worker has carried it out.
//! Both sizes outlive the kubelet, in a file of the pod's directory.

mod conditions;
mod record;
mod resize;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::Clock;
use k8s_openapi::api::core::v1::{Pod, PodCondition, ResourceRequirements};
use tracing::warn;

pub use conditions::{IN_PROGRESS, PENDING};
pub use record::PodResources;
pub use resize::{ContainerResize, container_resize, is_resizing, pod_resizes};

use self::{
    conditions::{DEFERRED, ResizeConditions, message},
    record::Record,
};
use crate::{
    admission::Refusal,
    events::{EventKind, PodEvents},
    paths::Paths,
    pod::{format_pod, uid},
};

/// The manager. Cheap to clone; clones are the same. Bounded by the pods of the node.
#[derive(Clone)]
pub struct AllocationManager {
    pods: Arc<Mutex<HashMap<String, Entry>>>,
    paths: Paths,
    events: PodEvents,
    clock: Clock,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    record: Record,
    conditions: ResizeConditions,
}

impl AllocationManager {
    /// Keeps its records below these directories.
    pub fn new(paths: Paths, events: PodEvents, clock: Clock) -> Self {
        Self {
            pods: Arc::default(),
            paths,
            events,
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, pod_uid: &str) -> PathBuf {
        self.paths.resources(pod_uid)
    }

    /// Takes in a pod that is new to this kubelet: what an earlier one granted it, or what its spec asks for.
    pub fn add(&self, pod: &Pod) {
        let file = self.file(uid(pod));
        let (record, conditions) = match Record::load(&file) {
            Some(record) => (record, ResizeConditions::of(pod)),
            None => {
                let record = Record {
                    allocated: PodResources::of(pod),
                    actuated: PodResources::default(),
                };
                self.save(pod, &record);
                (record, ResizeConditions::default())
            }
        };
        let entry = Entry { record, conditions };
        self.lock().insert(uid(pod).to_owned(), entry);
    }

    /// A record that cannot be written costs a restarted kubelet its memory, not the pod its life.
    fn save(&self, pod: &Pod, record: &Record) {
        if let Err(error) = record.save(&self.file(uid(pod))) {
            warn!(pod = format_pod(pod), %error, "cannot record the pod's resources");
        }
    }

    /// Forgets a pod; its file goes with its directory.
    pub fn forget(&self, pod_uid: &str) {
        self.lock().remove(pod_uid);
    }

    /// The pod with the resources that were granted to it.
    pub fn allocated(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        let changed = self
            .lock()
            .get(uid(pod))
            .and_then(|entry| entry.record.allocated.put_into(pod));
        changed.map_or_else(|| pod.clone(), Arc::new)
    }

    /// What the cgroups of a pod have, as far as it differs or may differ from what was granted.
    pub fn actuated(&self, pod_uid: &str) -> PodResources {
        self.lock()
            .get(pod_uid)
            .map(|entry| entry.record.actuated.clone())
            .unwrap_or_default()
    }

    /// A container was started, or its cgroup changed, with these resources.
    pub fn set_actuated(&self, pod: &Pod, container: &str, resources: &ResourceRequirements) {
        self.change(pod, |actuated| {
            let old = actuated
                .containers
                .insert(container.to_owned(), resources.clone());
            old.as_ref() != Some(resources)
        });
    }

    /// The pod's own cgroup has what its spec says.
    pub fn set_actuated_pod(&self, pod: &Pod) {
        let new = &crate::pod::spec(pod).resources;
        self.change(pod, |actuated| {
            let changed = actuated.pod != *new;
            actuated.pod.clone_from(new);
            changed
        });
    }

    fn change(&self, pod: &Pod, change: impl FnOnce(&mut PodResources) -> bool) {
        let mut pods = self.lock();
        let Some(entry) = pods.get_mut(uid(pod)) else {
            return;
        };
        if change(&mut entry.record.actuated) {
            self.save(pod, &entry.record);
        }
    }

    /// Both conditions of a pod, as far as they hold.
    pub fn conditions(&self, pod_uid: &str) -> Vec<PodCondition> {
        self.lock()
            .get(pod_uid)
            .map(|entry| entry.conditions.list())
            .unwrap_or_default()
    }

    /// Whether a pod's spec asks for something else than it has been granted.
    pub fn wants_resize(&self, pod: &Pod) -> bool {
        self.lock()
            .get(uid(pod))
            .is_some_and(|entry| entry.record.allocated.put_into(pod).is_some())
    }

    /// The resize was taken back before it was granted.
    pub fn clear_pending(&self, pod_uid: &str) {
        if let Some(entry) = self.lock().get_mut(pod_uid) {
            entry.conditions.pending = None;
        }
    }

    /// Looks whether a pod's resize can be granted. `fits` judges the pod as it wants to be. Says whether the pod's worker has
    /// something new to do or to tell.
    pub fn judge(&self, pod: &Pod, fits: impl FnOnce(&Pod) -> Result<(), Refusal>) -> bool {
        if !self.wants_resize(pod) {
            self.clear_pending(uid(pod));
            return false;
        }
        let verdict = fits(pod);
        let (now, generation) = (self.clock.now(), pod.metadata.generation);
        let mut pods = self.lock();
        let Some(entry) = pods.get_mut(uid(pod)) else {
            return false;
        };
        match verdict {
            Ok(()) => {
                entry.record.allocated = PodResources::of(pod);
                entry.conditions.pending = None;
                // An error of an earlier resize is not this one's.
                entry.conditions.in_progress = None;
                entry.conditions.set_in_progress(None, generation, now);
                self.save(pod, &entry.record);
                drop(pods);
                let text = message("Pod resize started", pod, generation, "");
                self.events
                    .pod(pod, EventKind::Normal, "ResizeStarted", text);
                true
            }
            Err(refusal) => {
                let told = entry
                    .conditions
                    .set_pending(&refusal.message, generation, now);
                drop(pods);
                if told {
                    let what = format!("Pod resize {DEFERRED}");
                    let text = message(&what, pod, generation, &refusal.message);
                    self.events
                        .pod(pod, EventKind::Warning, "ResizeDeferred", text);
                }
                told
            }
        }
    }

    /// The worker looked: is something still to be carried out?
    pub fn progress(&self, pod: &Pod, resizing: bool) {
        let (now, generation) = (self.clock.now(), pod.metadata.generation);
        let ended = {
            let mut pods = self.lock();
            let Some(entry) = pods.get_mut(uid(pod)) else {
                return;
            };
            if resizing {
                entry.conditions.set_in_progress(None, generation, now);
                None
            } else {
                entry.conditions.in_progress.take()
            }
        };
        if let Some(ended) = ended {
            let text = message("Pod resize completed", pod, ended.observed_generation, "");
            self.events
                .pod(pod, EventKind::Normal, "ResizeCompleted", text);
        }
    }

    /// Carrying out failed.
    pub fn fail(&self, pod: &Pod, error: &str) {
        let (told, generation) = {
            let mut pods = self.lock();
            let Some(entry) = pods.get_mut(uid(pod)) else {
                return;
            };
            let conditions = &mut entry.conditions;
            let told =
                conditions.set_in_progress(Some(error), pod.metadata.generation, self.clock.now());
            let condition = conditions.in_progress.as_ref();
            (told, condition.and_then(|c| c.observed_generation))
        };
        if told {
            let text = message("Pod resize error", pod, generation, error);
            self.events
                .pod(pod, EventKind::Warning, "ResizeError", text);
        }
    }
}

/// The pods whose resize waits, in the order in which they are looked at: first those that ask for no more than they have, then by
/// priority, then Guaranteed before others, then the longest waiting.
pub fn order_of_resizes(
    manager: &AllocationManager,
    pods: &[Arc<Pod>],
    waiting: &BTreeSet<String>,
) -> Vec<Arc<Pod>> {
    use crate::resources::{QosClass, pod_requests, qos_class};
    let asks_more = |pod: &Arc<Pod>| {
        let (new, old) = (pod_requests(pod), pod_requests(&manager.allocated(pod)));
        ["cpu", "memory"]
            .iter()
            .any(|name| new.get(*name).copied().unwrap_or(0) > old.get(*name).copied().unwrap_or(0))
    };
    let since = |pod: &Arc<Pod>| {
        let conditions = manager.conditions(uid(pod));
        let pending = conditions
            .iter()
            .find(|condition| condition.type_ == PENDING);
        pending
            .and_then(|condition| condition.last_transition_time.as_ref())
            .map_or(jiff::Timestamp::MAX, |time| time.0)
    };
    let mut list: Vec<_> = pods
        .iter()
        .filter(|pod| waiting.contains(uid(pod)))
        .cloned()
        .collect();
    list.sort_by_cached_key(|pod| {
        (
            asks_more(pod),
            std::cmp::Reverse(crate::pod::spec(pod).priority.unwrap_or_default()),
            qos_class(pod) != QosClass::Guaranteed,
            since(pod),
        )
    });
    list
}
