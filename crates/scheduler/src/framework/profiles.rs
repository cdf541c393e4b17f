//! The profiles by the `schedulerName` whose pods they are for. All of them sort the queue alike.

use std::{collections::HashMap, sync::Arc};

use super::{ClusterEvent, EventKind, Profile};
use crate::pod_info::PodInfo;

/// At least one profile.
pub(crate) struct Profiles {
    by_name: HashMap<String, Arc<Profile>>,
    /// Who sorts the queue.
    first: Arc<Profile>,
    /// The kinds of events that concern a plugin.
    interests: HashMap<&'static str, &'static [EventKind]>,
}

impl Profiles {
    /// These; `first` sorts the queue.
    pub(crate) fn new(first: Profile, others: Vec<Profile>) -> Self {
        let first = Arc::new(first);
        let mut by_name = HashMap::from([(first.name().to_owned(), Arc::clone(&first))]);
        for profile in others {
            by_name.insert(profile.name().to_owned(), Arc::new(profile));
        }
        let interests = by_name.values().flat_map(|profile| profile.interests());
        let interests = interests.collect();
        Self {
            by_name,
            first,
            interests,
        }
    }

    /// Whether pods with this `schedulerName` are ours.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The profile of a pod.
    pub(crate) fn of(&self, pod: &PodInfo) -> &Arc<Profile> {
        let name = pod.spec().scheduler_name.as_deref().unwrap_or_default();
        self.by_name.get(name).unwrap_or(&self.first)
    }

    /// Whether `event` is of a kind that may help pods that `plugin` refused.
    pub(crate) fn concerns(&self, plugin: &str, event: &ClusterEvent) -> bool {
        let kinds = self.interests.get(plugin).copied().unwrap_or_default();
        kinds.iter().any(|&kind| event.is(kind))
    }

    /// The profile that sorts the queue.
    pub(crate) fn first(&self) -> &Arc<Profile> {
        &self.first
    }
}
