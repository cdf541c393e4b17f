//! Something computed from all objects of a resource, and computed again when one of them changes.
//!
//! Authorizers and admission plugins need views that the watch cache does not keep: bindings by subject, priority classes by name.
//! A view is rebuilt by the first reader after a change ([`ObjectReader::generation`] moved), from the cache's own parsed objects;
//! every other reader takes a pointer. Readers during a rebuild wait for it, so that a write which has been acknowledged and has
//! reached the cache is never decided upon by an older view.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use apimachinery::{Object, gvk::GroupResource};
use arc_swap::ArcSwapOption;

use crate::reader::ObjectReader;

/// How a view is made of all objects.
type Build<T> = fn(&[Arc<Object>]) -> T;

/// A view of type `T` over one resource.
pub struct Derived<T> {
    reader: Arc<dyn ObjectReader>,
    resource: GroupResource,
    build: Build<T>,
    current: ArcSwapOption<View<T>>,
    rebuilding: Mutex<()>,
}

struct View<T> {
    generation: u64,
    value: Arc<T>,
}

impl<T> Derived<T> {
    /// Of `resource`, made by `build`, which gets the objects in key order.
    pub fn new(reader: Arc<dyn ObjectReader>, resource: GroupResource, build: Build<T>) -> Self {
        Self {
            reader,
            resource,
            build,
            current: ArcSwapOption::empty(),
            rebuilding: Mutex::new(()),
        }
    }

    /// The view as of now.
    pub fn get(&self) -> Arc<T> {
        if let Some(value) = self.at(self.reader.generation(&self.resource)) {
            return value;
        }
        let _only_one = self
            .rebuilding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Read the generation before the list: a change in between makes the next reader rebuild, never the other way round.
        let generation = self.reader.generation(&self.resource);
        if let Some(value) = self.at(generation) {
            return value;
        }
        let value = Arc::new((self.build)(&self.reader.list(&self.resource, "")));
        self.current.store(Some(Arc::new(View {
            generation,
            value: Arc::clone(&value),
        })));
        value
    }

    fn at(&self, generation: u64) -> Option<Arc<T>> {
        let view = self.current.load();
        view.as_ref()
            .filter(|view| view.generation == generation)
            .map(|view| Arc::clone(&view.value))
    }
}

impl<T> fmt::Debug for Derived<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived")
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}
