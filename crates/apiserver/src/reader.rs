//! How the server's own parts (RBAC, node authorizer, admission, token checks) read objects: from the watch cache, without
//! going through the request path.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, status::Status};
use async_trait::async_trait;

/// A read-only view of the watch caches.
#[async_trait]
pub trait ObjectReader: Send + Sync {
    /// The object as the cache has it now; `None` if there is none (or the cache is still filling: see [`ObjectReader::synced`]).
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Object>>;
    /// Like `get`, but at least as fresh as the store was when it was called: for decisions where a stale "absent" would be wrong.
    ///
    /// # Errors
    /// The store does not say, and the cache knows no such object: whether there is one cannot be told.
    async fn get_fresh(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, Status>;
    /// All objects of a resource; `namespace` empty is all namespaces. In key order.
    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Arc<Object>>;
    /// The objects whose selectable field `field` (`spec.nodeName`) has this value. Answered from the cache's index where there is one.
    fn list_by_field(
        &self,
        resource: &GroupResource,
        namespace: &str,
        field: &str,
        value: &str,
    ) -> Vec<Arc<Object>> {
        let path: Vec<&str> = field.split('.').collect();
        let mut objects = self.list(resource, namespace);
        objects.retain(|object| crate::lookup::text(object, &path) == value);
        objects
    }
    /// A number that changes whenever any object of the resource does: for caches derived from [`ObjectReader::list`].
    fn generation(&self, resource: &GroupResource) -> u64;
    /// Whether the cache of the resource has been filled once.
    fn synced(&self, resource: &GroupResource) -> bool;
}

/// How they write: through the registry's own checks, as `system:apiserver`.
#[async_trait]
pub trait ObjectWriter: Send + Sync {
    /// Creates; `Err` is the Status a client would get.
    async fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status>;
    /// Replaces; `metadata.resourceVersion` is the precondition when set.
    async fn update(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status>;
    /// Replaces the status alone, as the `status` subresource does.
    async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status>;
    /// Deletes at once; `Err` with reason `NotFound` if it is not there.
    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status>;
}
