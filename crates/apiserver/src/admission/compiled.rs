//! Objects of configuration, each compiled once: webhook configurations, admission policies, their bindings.
//!
//! Like [`crate::derived::Derived`], but what has not changed is kept: a change of one policy among a thousand compiles one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apimachinery::{Object, gvk::GroupResource, meta};
use arc_swap::ArcSwapOption;

use crate::reader::ObjectReader;

type Compile<T> = Box<dyn Fn(&Object) -> T + Send + Sync>;

/// The compiled objects of one resource.
pub(super) struct Compiled<T> {
    reader: Arc<dyn ObjectReader>,
    resource: GroupResource,
    compile: Compile<T>,
    current: ArcSwapOption<State<T>>,
    rebuilding: Mutex<()>,
}

struct State<T> {
    /// Of the reader.
    generation: u64,
    /// In key order.
    all: Arc<[Arc<T>]>,
    /// By uid and resourceVersion.
    by_version: HashMap<(String, String), Arc<T>>,
}

impl<T> Compiled<T> {
    pub(super) fn new(
        reader: Arc<dyn ObjectReader>,
        resource: GroupResource,
        compile: impl Fn(&Object) -> T + Send + Sync + 'static,
    ) -> Self {
        Self {
            reader,
            resource,
            compile: Box::new(compile),
            current: ArcSwapOption::empty(),
            rebuilding: Mutex::new(()),
        }
    }

    /// Whether the cache behind it has been filled.
    pub(super) fn is_ready(&self) -> bool {
        self.reader.synced(&self.resource)
    }

    /// All of them as of now, in order of name.
    pub(super) fn get(&self) -> Arc<[Arc<T>]> {
        if let Some(all) = self.at(self.reader.generation(&self.resource)) {
            return all;
        }
        let _only_one = self
            .rebuilding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Read before the list: a change in between makes the next reader rebuild, never the other way round.
        let generation = self.reader.generation(&self.resource);
        if let Some(all) = self.at(generation) {
            return all;
        }
        let before = self.current.load_full();
        let mut by_version = HashMap::new();
        let mut all = Vec::new();
        for object in self.reader.list(&self.resource, "") {
            let version = (
                format!("{}/{}", meta::name(&object), meta::uid(&object)),
                meta::resource_version(&object).to_owned(),
            );
            let kept = before
                .as_ref()
                .filter(|_| !version.1.is_empty())
                .and_then(|state| state.by_version.get(&version).cloned());
            let compiled = kept.unwrap_or_else(|| Arc::new((self.compile)(&object)));
            all.push(Arc::clone(&compiled));
            by_version.insert(version, compiled);
        }
        let all: Arc<[Arc<T>]> = all.into();
        self.current.store(Some(Arc::new(State {
            generation,
            all: Arc::clone(&all),
            by_version,
        })));
        all
    }

    fn at(&self, generation: u64) -> Option<Arc<[Arc<T>]>> {
        let state = self.current.load();
        state
            .as_ref()
            .filter(|state| state.generation == generation)
            .map(|state| Arc::clone(&state.all))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::memory_reader::MemoryReader;

    #[test]
    fn what_has_not_changed_is_not_compiled_again() {
        let object = |name: &str, version: &str| json!({"metadata": {"name": name, "resourceVersion": version}});
        let reader =
            MemoryReader::with([("things", object("a", "1")), ("things", object("b", "2"))]);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let compiled = Compiled::new(
            Arc::clone(&reader) as _,
            GroupResource::new("", "things"),
            move |object| {
                counted.fetch_add(1, Ordering::SeqCst);
                meta::name(object).to_owned()
            },
        );
        assert_eq!(compiled.get().len(), 2);
        compiled.get();
        assert_eq!(count.load(Ordering::SeqCst), 2);
        reader.put("things", object("b", "3"));
        assert_eq!(compiled.get().len(), 2);
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }
}
