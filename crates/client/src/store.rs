//! What an informer knows: objects by namespace and name, and by registered indexes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::kind::{Object, ObjectKey};

/// The values under which an index holds an object.
pub type IndexFn<T> = fn(&T) -> Vec<String>;

/// A thread-safe store. Reads give shared snapshots of objects, which must be cloned before they are changed. Cheap to clone;
/// clones are the same store.
pub struct Store<T> {
    inner: Arc<RwLock<Inner<T>>>,
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<T> {
    objects: BTreeMap<String, BTreeMap<String, Arc<T>>>,
    len: usize,
    indexes: HashMap<&'static str, Index<T>>,
}

struct Index<T> {
    values: IndexFn<T>,
    keys: HashMap<String, BTreeSet<ObjectKey>>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            len: 0,
            indexes: HashMap::new(),
        };
        Self {
            inner: Arc::new(RwLock::new(inner)),
        }
    }
}

impl<T: Object> Store<T> {
    fn read(&self) -> RwLockReadGuard<'_, Inner<T>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<T>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object; `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.read().objects.get(namespace)?.get(name).cloned()
    }

    /// One object by its key.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.get(&key.namespace, &key.name)
    }

    /// All objects, in key order.
    pub fn list(&self) -> Vec<Arc<T>> {
        let inner = self.read();
        let mut all = Vec::with_capacity(inner.len);
        all.extend(
            inner
                .objects
                .values()
                .flat_map(|names| names.values().cloned()),
        );
        all
    }

    /// All objects of a namespace, in order of names.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.read()
            .objects
            .get(namespace)
            .map(|names| names.values().cloned().collect())
            .unwrap_or_default()
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<ObjectKey> {
        let inner = self.read();
        let keys = |(namespace, names): (&String, &BTreeMap<String, Arc<T>>)| -> Vec<ObjectKey> {
            names
                .keys()
                .map(|name| ObjectKey::new(namespace, name))
                .collect()
        };
        inner.objects.iter().flat_map(keys).collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Registers an index. The first registration of a name wins, so components that share a store may all register what they
    /// need; what the store holds already is indexed at once.
    pub fn add_index(&self, name: &'static str, values: IndexFn<T>) {
        let mut inner = self.write();
        if inner.indexes.contains_key(name) {
            return;
        }
        let mut index = Index {
            values,
            keys: HashMap::new(),
        };
        for object in inner.objects.values().flat_map(BTreeMap::values) {
            index.insert(object);
        }
        inner.indexes.insert(name, index);
    }

    /// All objects that the index holds under `value`, in key order. An index nobody registered holds nothing.
    pub fn by_index(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        let inner = self.read();
        let Some(keys) = inner
            .indexes
            .get(index)
            .and_then(|index| index.keys.get(value))
        else {
            return Vec::new();
        };
        keys.iter()
            .filter_map(|key| inner.objects.get(&key.namespace)?.get(&key.name).cloned())
            .collect()
    }

    /// Puts an object in; what was there before comes back.
    pub fn insert(&self, object: Arc<T>) -> Option<Arc<T>> {
        self.write().insert(object)
    }

    /// Takes an object out.
    pub fn remove(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.write().remove(key)
    }
}

impl<T: Object> Inner<T> {
    fn insert(&mut self, object: Arc<T>) -> Option<Arc<T>> {
        let names = match self.objects.get_mut(object.namespace()) {
            Some(names) => names,
            None => self
                .objects
                .entry(object.namespace().to_owned())
                .or_default(),
        };
        let old = names.insert(object.name().to_owned(), object.clone());
        self.len += usize::from(old.is_none());
        for index in self.indexes.values_mut() {
            if let Some(old) = &old {
                index.remove(old);
            }
            index.insert(&object);
        }
        old
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let names = self.objects.get_mut(&key.namespace)?;
        let old = names.remove(&key.name)?;
        if names.is_empty() {
            self.objects.remove(&key.namespace);
        }
        self.len -= 1;
        for index in self.indexes.values_mut() {
            index.remove(&old);
        }
        Some(old)
    }
}

impl<T: Object> Index<T> {
    fn insert(&mut self, object: &T) {
        for value in (self.values)(object) {
            self.keys.entry(value).or_default().insert(object.key());
        }
    }

    fn remove(&mut self, object: &T) {
        for value in (self.values)(object) {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(&object.key());
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{Pod, PodSpec},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn pod(name: &str, node: &str) -> Arc<Pod> {
        Arc::new(Pod {
            metadata: ObjectMeta {
                namespace: Some("ns".to_owned()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: Some(node.to_owned()),
                ..PodSpec::default()
            }),
            ..Pod::default()
        })
    }

    fn by_node(pod: &Pod) -> Vec<String> {
        pod.spec
            .iter()
            .filter_map(|spec| spec.node_name.clone())
            .collect()
    }

    #[test]
    fn indexes_follow_the_objects() {
        let store = Store::default();
        store.insert(pod("a", "one"));
        store.add_index("node", by_node);
        store.insert(pod("b", "one"));
        let names = |node: &str| -> Vec<String> {
            store
                .by_index("node", node)
                .iter()
                .map(|pod| pod.name().to_owned())
                .collect()
        };
        assert_eq!(names("one"), ["a", "b"]);
        store.insert(pod("a", "two"));
        assert_eq!(
            (names("one"), names("two")),
            (vec!["b".to_owned()], vec!["a".to_owned()])
        );
        store.remove(&ObjectKey::new("ns", "b"));
        assert!(names("one").is_empty());
        assert_eq!(store.len(), 1);
        assert_eq!(store.keys(), [ObjectKey::new("ns", "a")]);
        assert!(store.by_index("unknown", "x").is_empty());
    }
}
