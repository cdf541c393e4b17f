//! Selection among objects that a webhook converts: by what they are in the version asked for, which the cache knows nothing of.
//!
//! The cache selects by labels and fields as they are stored. Where an object is stored in another version and a webhook is needed to tell what it
//! is in this one, it is converted first and judged then, as upstream does. A watch remembers of each object whether it was selected, for its
//! events tell of objects that come into the selection and leave it; as much as there are objects.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{meta, status::Status};
use bytes::Bytes;
use etcd::Revision;

use super::Endpoint;
use crate::cacher::{CachedObject, EventType, Predicate, Snapshot, Step};

/// How many objects a webhook is asked to convert at once.
const BATCH: usize = 500;

/// What is selected of converted objects.
pub(super) struct Selection {
    endpoint: Arc<Endpoint>,
    wanted: Predicate,
    /// By key: whether the object was selected when it was last seen. Of watches alone.
    seen: HashMap<Bytes, bool>,
}

impl Selection {
    /// `None` where the cache can select by itself.
    pub(super) fn of(endpoint: &Arc<Endpoint>, wanted: &Predicate) -> Option<Self> {
        let by_content = !wanted.labels.is_everything() || !wanted.fields.is_empty();
        (by_content && endpoint.needs_preparation()).then(|| Self {
            endpoint: Arc::clone(endpoint),
            wanted: wanted.clone(),
            seen: HashMap::new(),
        })
    }

    /// What the cache is to be asked for: all that may turn out to be selected.
    pub(super) fn candidates(&self) -> Predicate {
        self.wanted.candidates()
    }

    /// The first objects that are selected, up to a limit, and whether there are more.
    pub(super) async fn page(
        &self,
        snapshot: &Snapshot,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<Arc<CachedObject>>, bool), Status> {
        let candidates = self.candidates();
        let candidates: Vec<_> = snapshot.select(&candidates, after).cloned().collect();
        let mut items = Vec::new();
        for (index, batch) in candidates.chunks(BATCH).enumerate() {
            self.endpoint.prepare(batch).await?;
            for (at, object) in batch.iter().enumerate() {
                if !self.matches(object) {
                    continue;
                }
                items.push(Arc::clone(object));
                if items.len() == limit {
                    // There is more as long as there are objects, selected or not.
                    return Ok((items, index * BATCH + at + 1 < candidates.len()));
                }
            }
        }
        Ok((items, false))
    }

    /// Takes note of what a watch that begins after a revision has to do with: what has not changed since.
    pub(super) async fn note(
        &mut self,
        snapshot: &Snapshot,
        after: Revision,
    ) -> Result<(), Status> {
        let candidates = self.candidates();
        let unchanged = snapshot
            .select(&candidates, None)
            .filter(|object| object.revision <= after);
        let unchanged: Vec<_> = unchanged.cloned().collect();
        for batch in unchanged.chunks(BATCH) {
            self.endpoint.prepare(batch).await?;
            for object in batch {
                self.seen.insert(object.key.clone(), self.matches(object));
            }
        }
        Ok(())
    }

    /// What a step of a watch, whose object is prepared, is to who selects; `None`: nothing.
    pub(super) fn sift(&mut self, step: Step) -> Option<Step> {
        let Step::Event(kind, object) = step else {
            return Some(step);
        };
        let matches = self.matches(&object);
        let before = match kind {
            EventType::Deleted => self.seen.remove(&object.key),
            _ => self.seen.insert(object.key.clone(), matches),
        };
        let kind = match (kind, before, matches) {
            (EventType::Deleted, Some(true), _) | (EventType::Deleted, None, true) => kind,
            (EventType::Deleted, ..) | (_, Some(false), false) => return None,
            (_, Some(true), true) => EventType::Modified,
            (_, Some(false), true) => EventType::Added,
            (_, Some(true), false) => EventType::Deleted,
            // Not seen before: new, or changed since the watch's beginning and maybe selected then.
            (_, None, true) => kind,
            (EventType::Modified, None, false) => EventType::Deleted,
            (_, None, false) => return None,
        };
        Some(Step::Event(kind, object))
    }

    fn matches(&self, cached: &CachedObject) -> bool {
        if self.endpoint.is_own(cached) {
            return self.wanted.matches(cached);
        }
        let object = self.endpoint.tree(cached);
        let values = self.endpoint.custom.as_ref();
        let values = values.map(|custom| custom.selectable(&object));
        let values = values.unwrap_or_default();
        self.wanted
            .labels
            .matches_with(|key| meta::label(&object, key))
            && self.wanted.fields.matches(|field| match field {
                "metadata.name" => Some(meta::name(&object)),
                "metadata.namespace" => Some(meta::namespace(&object)),
                _ => {
                    let found = values.iter().find(|(name, _)| *name == field);
                    found.map(|(_, value)| value.as_str())
                }
            })
    }
}
