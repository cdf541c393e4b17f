//! The served resources as admission sees them; see [`Resources`].

use std::sync::Arc;

use apimachinery::{
    Object, decode,
    gvk::{GroupVersion, GroupVersionKind, GroupVersionResource},
    meta,
    status::Status,
};
use async_trait::async_trait;

use super::{Endpoint, Registry};
use crate::admission::{Equivalent, Resources};

impl Registry {
    /// The resource whose objects are of a kind.
    fn endpoint_of_kind(&self, kind: &GroupVersionKind) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints();
        let mut found = endpoints.by_version.values();
        found
            .find(|endpoint| endpoint.row.gvk == *kind && endpoint.cacher.is_some())
            .cloned()
    }
}

/// The kind of a resource, or of its subresource.
fn kind_of(endpoint: &Endpoint, subresource: &str) -> Option<GroupVersionKind> {
    if subresource.is_empty() {
        return Some(endpoint.row.gvk.clone());
    }
    let mut subresources = endpoint.row.subresources.iter();
    subresources
        .find(|served| served.name == subresource)
        .map(|served| served.gvk.clone())
}

#[async_trait]
impl Resources for Registry {
    fn equivalents(&self, resource: &GroupVersionResource, subresource: &str) -> Vec<Equivalent> {
        let Some(own) = self.endpoint(resource) else {
            return Vec::new();
        };
        let Some(storage) = &own.row.storage else {
            return Vec::new();
        };
        let mut equivalents: Vec<Equivalent> = self
            .endpoints()
            .by_version
            .values()
            .filter(|other| {
                let theirs = other.row.storage.as_ref().map(|storage| &storage.prefix);
                other.row.gvr != *resource && theirs == Some(&storage.prefix)
            })
            .filter_map(|other| {
                Some(Equivalent {
                    resource: other.row.gvr.clone(),
                    kind: kind_of(other, subresource)?,
                })
            })
            .collect();
        equivalents.sort_by(|a, b| a.resource.cmp(&b.resource));
        equivalents
    }

    async fn convert(&self, object: &Object, kind: &GroupVersionKind) -> Result<Object, Status> {
        let mut object = object.clone();
        let own = GroupVersion::parse(meta::api_version(&object))
            .unwrap_or_default()
            .kind(meta::kind(&object).to_owned());
        if own == *kind {
            return Ok(object);
        }
        let endpoints = (self.endpoint_of_kind(&own), self.endpoint_of_kind(kind));
        let (Some(from), Some(to)) = endpoints else {
            return Err(Status::internal(format!(
                "unable to convert to {kind}: unknown kind"
            )));
        };
        from.to_storage(&mut object);
        to.from_storage(&mut object);
        Ok(object)
    }

    fn complete(&self, mut object: Object, kind: &GroupVersionKind) -> Result<Object, String> {
        if let Some(ty) = api::facts::type_of(kind) {
            object = decode::object(&object, ty)
                .map_err(|error| error.to_string())?
                .object;
        }
        object.insert(
            "apiVersion".to_owned(),
            kind.group_version().to_string().into(),
        );
        object.insert("kind".to_owned(), kind.kind.as_ref().into());
        if let Some(endpoint) = self.endpoint_of_kind(kind) {
            endpoint.default(&mut object);
        }
        Ok(object)
    }

    fn resource_of(&self, kind: &GroupVersionKind) -> Option<(GroupVersionResource, bool)> {
        let endpoint = self.endpoint_of_kind(kind)?;
        Some((endpoint.row.gvr.clone(), endpoint.is_namespaced()))
    }
}
