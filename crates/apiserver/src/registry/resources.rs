//! The served resources as admission sees them; see [`Resources`].

use std::sync::Arc;

use apimachinery::{
    Object, decode,
    gvk::{GroupVersion, GroupVersionKind, GroupVersionResource},
    managed_fields::{self, Nulls},
    meta,
    status::Status,
};
use async_trait::async_trait;

use super::{
    Endpoint, Registry,
    codec::{is_registered, not_registered},
};
use crate::admission::{Equivalent, Resources, UnknownFields};

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

/// A mutation makes nothing else of an object.
fn refuse_other_kind(object: &Object, kind: &GroupVersionKind) -> Result<(), String> {
    let (version, name) = (meta::api_version(object), meta::kind(object));
    let made = GroupVersion::parse(version)
        .unwrap_or_default()
        .kind(name.to_owned());
    if made == *kind || version.is_empty() || name.is_empty() {
        return Ok(());
    }
    if !is_registered(kind, &made) {
        return Err(not_registered(kind, name, version));
    }
    let package = match kind.group.split('.').next() {
        None | Some("") => "core",
        Some(package) => package,
    };
    Err(format!(
        "failed to convert object: converting ({}.{name}) to ({package}.{}): unknown conversion",
        made.version, kind.kind
    ))
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

    async fn convert(&self, mut object: Object, kind: &GroupVersionKind) -> Result<Object, Status> {
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
        let sealed = from.seal(object).await?;
        let mut opened = to.open(sealed).await?;
        to.from_storage(&mut opened);
        Ok(opened)
    }

    fn complete(
        &self,
        mut object: Object,
        kind: &GroupVersionKind,
        unknown: UnknownFields,
    ) -> Result<Object, String> {
        let endpoint = self.endpoint_of_kind(kind);
        let custom = endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.custom.as_ref());
        if let Some(custom) = custom {
            let json = serde_json::to_vec(&object).map_err(|error| error.to_string())?;
            let decoded = custom.decode(&json).map_err(|error| error.to_string())?;
            object = decoded.object;
        } else if let Some(ty) = api::facts::type_of(kind) {
            refuse_other_kind(&object, kind)?;
            let decoded = decode::object(&object, ty).map_err(|error| error.to_string())?;
            if unknown == UnknownFields::Refused && !decoded.findings.is_empty() {
                return Err(decode::strict_error(&decoded.findings));
            }
            object = decoded.object;
        }
        object.insert(
            "apiVersion".to_owned(),
            kind.group_version().to_string().into(),
        );
        object.insert("kind".to_owned(), kind.kind.as_ref().into());
        if let Some(endpoint) = endpoint {
            endpoint.default(&mut object);
        }
        Ok(object)
    }

    fn resource_of(&self, kind: &GroupVersionKind) -> Option<(GroupVersionResource, bool)> {
        let endpoint = self.endpoint_of_kind(kind)?;
        Some((endpoint.row.gvr.clone(), endpoint.is_namespaced()))
    }

    fn merge(
        &self,
        object: &Object,
        configuration: &Object,
        kind: &GroupVersionKind,
        nulls: Nulls,
    ) -> Result<Object, String> {
        let endpoint = self.endpoint_of_kind(kind);
        let ty = match &endpoint {
            Some(endpoint) => endpoint.ty(),
            None => api::facts::type_of(kind),
        };
        let ty = ty.ok_or_else(|| format!("Resource kind {kind} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available."))?;
        managed_fields::merge_configuration(ty, object, configuration, nulls)
    }

    async fn objects(
        &self,
        kind: &GroupVersionKind,
        namespace: &str,
        name: Option<&str>,
    ) -> Result<Vec<Object>, Status> {
        let endpoint = self.endpoint_of_kind(kind);
        let Some((endpoint, cacher)) = endpoint
            .as_ref()
            .and_then(|e| Some((e, e.cacher.as_ref()?)))
        else {
            return Ok(Vec::new());
        };
        let stored: Vec<Object> = match name {
            Some(name) => cacher
                .get(namespace, name)
                .iter()
                .map(|c| c.parse())
                .collect(),
            None => {
                let snapshot = cacher.snapshot();
                snapshot.iter(namespace, None).map(|c| c.parse()).collect()
            }
        };
        let mut objects = Vec::with_capacity(stored.len());
        for object in stored {
            let mut object = endpoint.open(object).await?;
            endpoint.from_storage(&mut object);
            objects.push(object);
        }
        Ok(objects)
    }
}
