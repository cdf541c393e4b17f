//! For tests: objects in a map, in place of the watch caches.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use async_trait::async_trait;
use serde_json::Value;

use crate::reader::{ObjectReader, ObjectWriter};

type Key = (GroupResource, String, String);

/// What a test has put there.
#[derive(Default)]
pub(crate) struct MemoryReader {
    objects: Mutex<BTreeMap<Key, Arc<Object>>>,
    generation: AtomicU64,
}

impl MemoryReader {
    /// With these objects: resource as `roles.rbac.authorization.k8s.io`, object as JSON.
    pub(crate) fn with(objects: impl IntoIterator<Item = (&'static str, Value)>) -> Arc<Self> {
        let reader = Arc::new(Self::default());
        for (resource, value) in objects {
            reader.put(resource, value);
        }
        reader
    }

    /// Adds or replaces one.
    pub(crate) fn put(&self, resource: &'static str, value: Value) {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        self.insert(GroupResource::new(group, resource), object(value));
    }

    fn insert(&self, resource: GroupResource, object: Object) -> Arc<Object> {
        let key = (
            resource,
            meta::namespace(&object).to_owned(),
            meta::name(&object).to_owned(),
        );
        let object = Arc::new(object);
        self.objects
            .lock()
            .unwrap()
            .insert(key, Arc::clone(&object));
        self.generation.fetch_add(1, Ordering::SeqCst);
        object
    }
}

/// A JSON object.
pub(crate) fn object(value: Value) -> Object {
    value
        .as_object()
        .cloned()
        .expect("a test object is an object")
}

#[async_trait]
impl ObjectReader for MemoryReader {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = (resource.clone(), namespace.to_owned(), name.to_owned());
        self.objects.lock().unwrap().get(&key).cloned()
    }

    async fn get_fresh(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, Status> {
        Ok(self.get(resource, namespace, name))
    }

    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Arc<Object>> {
        let objects = self.objects.lock().unwrap();
        let wanted = |key: &Key| key.0 == *resource && (namespace.is_empty() || key.1 == namespace);
        objects
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    fn generation(&self, _resource: &GroupResource) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn synced(&self, _resource: &GroupResource) -> bool {
        true
    }
}

#[async_trait]
impl ObjectWriter for MemoryReader {
    async fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status> {
        let name = meta::name(&object).to_owned();
        if self.get(resource, namespace, &name).is_some() {
            return Err(Status::already_exists(resource, &name));
        }
        Ok(self.insert(resource.clone(), object))
    }

    async fn update(
        &self,
        resource: &GroupResource,
        _namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status> {
        Ok(self.insert(resource.clone(), object))
    }

    async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status> {
        self.update(resource, namespace, object).await
    }

    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        let key = (resource.clone(), namespace.to_owned(), name.to_owned());
        match self.objects.lock().unwrap().remove(&key) {
            Some(_) => Ok(()),
            None => Err(Status::not_found(resource, name)),
        }
    }
}
