//! How many objects follow the pages of lists that are under way.
//!
//! `remainingItemCount` is counted once, for the first page of a list. A later page of the same revision has as many behind it as the page before had, less
//! its own: nothing is passed over again for each of a hundred pages.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use etcd::Revision;

use super::Snapshot;

/// Of so many pages it is remembered: of more lists at once, some are counted again.
const PAGES: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Remaining(Mutex<VecDeque<Page>>);

/// What is known of a page that was given out.
#[derive(Debug)]
struct Page {
    revision: Revision,
    namespace: Box<str>,
    last: Bytes,
    left: usize,
}

impl Remaining {
    /// How many objects of a namespace (empty: all) follow the key `last` of a snapshot, where a page of `length` objects began after the key `after`.
    pub(super) fn count(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        after: Option<&[u8]>,
        length: usize,
        last: &Bytes,
    ) -> usize {
        let revision = snapshot.revision;
        let left = match after {
            Some(after) => self.find(revision, namespace, after),
            None => namespace.is_empty().then(|| snapshot.objects.len()),
        };
        let left = left.and_then(|left| left.checked_sub(length));
        let left = left.unwrap_or_else(|| snapshot.iter(namespace, Some(last)).count());
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.truncate(PAGES - 1);
        pages.push_front(Page {
            revision,
            namespace: namespace.into(),
            last: last.clone(),
            left,
        });
        left
    }

    fn find(&self, revision: Revision, namespace: &str, last: &[u8]) -> Option<usize> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |page: &&Page| {
            page.revision == revision && *page.namespace == *namespace && page.last == last
        };
        pages.iter().find(is_it).map(|page| page.left)
    }
}
