//! What a request is about: the second stage of the pipeline reads it off method and path, everything after it uses it.

use apimachinery::gvk::{GroupVersion, GroupVersionResource};

/// The path of a request, understood. Follows upstream's `RequestInfoFactory`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it concerns a resource under `/api` or `/apis`.
    pub is_resource: bool,
    /// The path as sent.
    pub path: String,
    /// `get list watch create update patch delete deletecollection proxy connect`; for other paths the method in lower case.
    pub verb: String,
    /// `api` or `apis`.
    pub prefix: String,
    /// Group and version.
    pub group_version: GroupVersion,
    /// Empty for cluster scope. For `namespaces/NAME` it is that name, as upstream has it.
    pub namespace: String,
    /// Plural name.
    pub resource: String,
    /// `status`, `scale`, `exec`, …
    pub subresource: String,
    /// Object name; empty for collections. From `fieldSelector=metadata.name=` for lists and watches.
    pub name: String,
    /// What follows the subresource (proxy paths).
    pub rest: String,
}

impl RequestInfo {
    /// Group, version, resource.
    pub fn gvr(&self) -> GroupVersionResource {
        self.group_version.resource(self.resource.clone())
    }
}
