//! Trees of small objects that the server's own parts read again and again: namespaces, service accounts, limits, classes.
//!
//! The watch cache holds bytes; admission and authorization read the same few objects at each request. Their trees are kept until another version is
//! read. Large objects, of which there may be many, are not kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apimachinery::Object;
use bytes::Bytes;
use etcd::Revision;

use super::Endpoint;
use crate::cacher::CachedObject;

/// So many trees are kept; when there are more, all are forgotten.
const MAX_TREES: usize = 512;
/// Objects larger than this are parsed anew.
const MAX_BYTES: usize = 4 << 10;

/// By the endpoint's number and the object's key.
type ByKey = HashMap<(u64, Bytes), (Revision, Arc<Object>)>;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Trees {
    trees: Mutex<ByKey>,
}

impl Trees {
    /// The tree of an object in the version of an endpoint.
    pub(super) fn of(&self, endpoint: &Endpoint, cached: &CachedObject) -> Arc<Object> {
        if cached.size() > MAX_BYTES {
            return Arc::new(endpoint.tree(cached));
        }
        let key = (endpoint.number(), cached.key.clone());
        let known = match self.lock().get(&key) {
            Some((revision, tree)) if *revision == cached.revision => Some(Arc::clone(tree)),
            _ => None,
        };
        if let Some(tree) = known {
            return tree;
        }
        let tree = Arc::new(endpoint.tree(cached));
        let mut trees = self.lock();
        if trees.len() >= MAX_TREES {
            trees.clear();
        }
        trees.insert(key, (cached.revision, Arc::clone(&tree)));
        tree
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ByKey> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
