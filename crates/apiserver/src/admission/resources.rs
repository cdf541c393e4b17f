//! What admission has to know of the served resources: which are the same objects in other versions, how an object looks in
//! another version, and how one that a stranger patched becomes whole again.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    managed_fields::Nulls,
    status::Status,
};
use async_trait::async_trait;

/// A resource under which the same objects are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivalent {
    /// Where.
    pub resource: GroupVersionResource,
    /// The kind there: the subresource's if one was asked for.
    pub kind: GroupVersionKind,
}

/// What becomes of fields that a schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are dropped.
    Dropped,
    /// They make the object a wrong one.
    Refused,
}

/// The served resources.
#[async_trait]
pub trait Resources: Send + Sync {
    /// The other versions and groups in which the objects of a resource (or its subresource) are served, in discovery's order.
    fn equivalents(&self, resource: &GroupVersionResource, subresource: &str) -> Vec<Equivalent>;

    /// An object in another version of its kind.
    async fn convert(&self, object: Object, kind: &GroupVersionKind) -> Result<Object, Status>;

    /// An object that was patched: decoded by the schema of its kind (what the schema does not know is dropped, or refused), then defaulted.
    /// The error is the decoder's.
    fn complete(
        &self,
        object: Object,
        kind: &GroupVersionKind,
        unknown: UnknownFields,
    ) -> Result<Object, String>;

    /// Where objects of a kind are served, and whether they live in namespaces.
    fn resource_of(&self, kind: &GroupVersionKind) -> Option<(GroupVersionResource, bool)>;

    /// An object with a configuration merged in, as server-side apply merges, without anybody owning anything.
    fn merge(
        &self,
        object: &Object,
        configuration: &Object,
        kind: &GroupVersionKind,
        nulls: Nulls,
    ) -> Result<Object, String>;

    /// The objects of a kind in that version: in a namespace, or all; of this name, or all.
    async fn objects(
        &self,
        kind: &GroupVersionKind,
        namespace: &str,
        name: Option<&str>,
    ) -> Result<Vec<Object>, Status>;
}
