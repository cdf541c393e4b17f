//! What a controller of EndpointSlices has written and its informer has not shown yet: a plan made before that would create slices twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use client::{Object as _, ObjectKey};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Generations of slices as they were last written, by owner (the Service, or the Endpoints). Bounded by the number of slices;
/// [`SliceTracker::forget_all`] takes an owner out.
#[derive(Default)]
pub(crate) struct SliceTracker {
    written: Mutex<HashMap<ObjectKey, HashMap<String, i64>>>,
}

impl SliceTracker {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, HashMap<String, i64>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the informer has not shown all that was written.
    pub(crate) fn is_behind(&self, owner: &ObjectKey, existing: &[Arc<EndpointSlice>]) -> bool {
        self.lock().get(owner).is_some_and(|written| {
            written.iter().any(|(name, generation)| {
                !existing
                    .iter()
                    .any(|slice| slice.name() == name && slice.generation() >= *generation)
            })
        })
    }

    /// A slice was written.
    pub(crate) fn remember(&self, owner: &ObjectKey, slice: &EndpointSlice) {
        self.lock()
            .entry(owner.clone())
            .or_default()
            .insert(slice.name().to_owned(), slice.generation());
    }

    /// A slice was deleted.
    pub(crate) fn forget(&self, owner: &ObjectKey, name: &str) {
        if let Some(slices) = self.lock().get_mut(owner) {
            slices.remove(name);
        }
    }

    /// The owner is gone.
    pub(crate) fn forget_all(&self, owner: &ObjectKey) {
        self.lock().remove(owner);
    }
}
