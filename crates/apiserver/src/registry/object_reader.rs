//! The watch caches as the server's own parts read them, and the registry as they write.

use std::sync::Arc;

use apimachinery::{
    Object,
    fields::{Requirement, Selector},
    gvk::GroupResource,
    meta,
    status::Status,
};
use async_trait::async_trait;

use super::{
    Call, Endpoint, Registry,
    apply::{Applied, Configuration},
    delete_options::DeleteOptions,
    options::WriteOptions,
    update::Given,
    write::Part,
};
use crate::{
    cacher::{CachedObject, Cacher, Predicate},
    context::Context,
    flow_control::ObjectStats,
    reader::{ObjectReader, ObjectWriter},
    request_info::RequestInfo,
    storage::Keep,
    user::{MASTERS, UserInfo},
};

/// A list is short, as far as keeping its trees goes.
const FEW: usize = 64;

impl Registry {
    fn cacher_of(&self, resource: &GroupResource) -> Option<Arc<Cacher>> {
        self.endpoint_of(resource)?.cacher.clone()
    }

    /// How many objects of each resource there are, in order of name. Costs a lookup each, whatever the number.
    pub fn object_counts(&self) -> Vec<(GroupResource, usize)> {
        let endpoints = self.endpoints();
        let counted = endpoints
            .by_resource
            .iter()
            .filter_map(|(resource, endpoint)| {
                let cacher = endpoint
                    .cacher
                    .as_ref()
                    .filter(|cacher| cacher.is_loaded())?;
                Some((resource.clone(), cacher.snapshot().count()))
            });
        let mut counts: Vec<_> = counted.collect();
        counts.sort();
        counts
    }

    /// Trees of a list. Those of a long one are not kept: they would drive out what is read more often.
    fn trees_of<'a>(
        &self,
        endpoint: &Endpoint,
        objects: impl Iterator<Item = &'a Arc<CachedObject>>,
    ) -> Vec<Arc<Object>> {
        let objects: Vec<_> = objects.collect();
        let few = objects.len() <= FEW;
        let tree = |cached: &&Arc<CachedObject>| {
            if few {
                self.trees.of(endpoint, cached)
            } else {
                Arc::new(endpoint.tree(cached))
            }
        };
        objects.iter().map(tree).collect()
    }

    /// How many objects a resource has, and how large they are, by a look at the first and the last; none for resources that are not stored.
    pub fn object_stats(&self, resource: &GroupResource) -> Option<ObjectStats> {
        let snapshot = self.cacher_of(resource)?.snapshot();
        let sizes = snapshot.ends().map(|end| end.map_or(0, |it| it.size()));
        Some(ObjectStats {
            count: snapshot.count() as u64,
            average_bytes: (sizes[0] + sizes[1]) as u64 / 2,
        })
    }
}

#[async_trait]
impl ObjectReader for Registry {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let endpoint = self.endpoint_of(resource)?;
        let cached = endpoint.cacher.as_ref()?.get(namespace, name)?;
        Some(self.trees.of(&endpoint, &cached))
    }

    async fn get_fresh(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, Status> {
        let Some(endpoint) = self.endpoint_of(resource) else {
            return Ok(None);
        };
        let Some(cacher) = &endpoint.cacher else {
            return Ok(None);
        };
        if !self.kv.tells_progress() {
            let stored = self.store.get(&cacher.key(namespace, name)).await?;
            return Ok(stored.map(|stored| {
                let mut object = stored.into_shown();
                endpoint.from_storage(&mut object);
                Arc::new(object)
            }));
        }
        let waited = self.hub.wait_fresh(self.kv.as_ref()).await;
        match (ObjectReader::get(self, resource, namespace, name), waited) {
            (None, Err(error)) => Err(super::get::not_fresh(error)),
            (found, _) => Ok(found),
        }
    }

    fn list(&self, resource: &GroupResource, namespace: &str) -> Vec<Arc<Object>> {
        let Some(endpoint) = self.endpoint_of(resource) else {
            return Vec::new();
        };
        let Some(cacher) = &endpoint.cacher else {
            return Vec::new();
        };
        let snapshot = cacher.snapshot();
        self.trees_of(&endpoint, snapshot.iter(namespace, None))
    }

    fn list_by_field(
        &self,
        resource: &GroupResource,
        namespace: &str,
        field: &str,
        value: &str,
    ) -> Vec<Arc<Object>> {
        let Some(endpoint) = self.endpoint_of(resource) else {
            return Vec::new();
        };
        let Some(cacher) = &endpoint.cacher else {
            return Vec::new();
        };
        let snapshot = cacher.snapshot();
        let predicate = Predicate {
            namespace: namespace.to_owned(),
            fields: Selector {
                requirements: vec![Requirement {
                    field: field.to_owned(),
                    value: value.to_owned(),
                    equal: true,
                }],
            },
            ..Predicate::default()
        };
        self.trees_of(&endpoint, snapshot.select(&predicate, None))
    }

    fn generation(&self, resource: &GroupResource) -> u64 {
        self.cacher_of(resource)
            .map_or(0, |cacher| cacher.sequence())
    }

    fn synced(&self, resource: &GroupResource) -> bool {
        self.cacher_of(resource)
            .is_some_and(|cacher| cacher.is_loaded())
    }
}

/// Writes as the server itself.
#[derive(Debug)]
pub struct ServerWriter(pub Arc<Registry>);

#[async_trait]
impl ObjectWriter for ServerWriter {
    async fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        mut object: Object,
    ) -> Result<Arc<Object>, Status> {
        let (endpoint, context) = self.request("create", resource, namespace, "", "")?;
        let call = Call {
            registry: &self.0,
            endpoint: &endpoint,
            context: &context,
        };
        endpoint.default(&mut object);
        let created = call
            .create_object(
                object,
                &server_options(resource),
                &Object::new(),
                Keep::Tree,
            )
            .await?;
        Ok(Arc::new(created.into_stored()?.into_shown()))
    }

    async fn update(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status> {
        let options = server_options(resource);
        self.update_part(resource, namespace, object, Part::Spec, &options)
            .await
    }

    async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Object,
    ) -> Result<Arc<Object>, Status> {
        let options = server_options(resource);
        self.update_part(resource, namespace, object, Part::Status, &options)
            .await
    }

    async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        let (endpoint, context) = self.request("delete", resource, namespace, name, "")?;
        let call = Call {
            registry: &self.0,
            endpoint: &endpoint,
            context: &context,
        };
        call.delete_object(name, &DeleteOptions::default())
            .await
            .map(drop)
    }
}

impl ServerWriter {
    /// Replaces the status, booked under another manager than the server's own.
    pub async fn apply_status_as(
        &self,
        manager: &str,
        resource: &GroupResource,
        namespace: &str,
        config: &Object,
    ) -> Result<Arc<Object>, Status> {
        let options = WriteOptions {
            field_manager: manager.to_owned(),
            force: Some(true),
            ..WriteOptions::default()
        };
        let name = meta::name(config);
        let (endpoint, context) = self.request("patch", resource, namespace, name, "status")?;
        let call = Call {
            registry: &self.0,
            endpoint: &endpoint,
            context: &context,
        };
        let mut want = Applied::new(&call, Configuration::Tree(config), &options, Part::Status);
        let updated = call
            .update_object(
                &mut want,
                Part::Status,
                &options,
                &Object::new(),
                Keep::Tree,
            )
            .await?;
        Ok(Arc::new(updated.object.into_stored()?.into_shown()))
    }

    async fn update_part(
        &self,
        resource: &GroupResource,
        namespace: &str,
        mut object: Object,
        part: Part,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let name = meta::name(&object).to_owned();
        let subresource = if part == Part::Status { "status" } else { "" };
        let (endpoint, context) =
            self.request("update", resource, namespace, &name, subresource)?;
        let call = Call {
            registry: &self.0,
            endpoint: &endpoint,
            context: &context,
        };
        endpoint.default(&mut object);
        let mut want = Given::new(object);
        let updated = call
            .update_object(&mut want, part, options, &Object::new(), Keep::Tree)
            .await?;
        Ok(Arc::new(updated.object.into_stored()?.into_shown()))
    }

    /// A request such as a client would send, from within.
    fn request(
        &self,
        verb: &str,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
    ) -> Result<(Arc<super::Endpoint>, Arc<Context>), Status> {
        let endpoint = self
            .0
            .endpoint_of(resource)
            .ok_or_else(Status::unknown_path)?;
        let gvr = &endpoint.row.gvr;
        let mut context = Context::default();
        context.user = server_user();
        context.info = RequestInfo {
            is_resource: true,
            verb: verb.to_owned(),
            prefix: if gvr.group.is_empty() { "api" } else { "apis" }.to_owned(),
            resource: gvr.resource.to_string(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            ..RequestInfo::default()
        };
        context.info.group_version.group = gvr.group.clone();
        context.info.group_version.version = gvr.version.clone();
        Ok((endpoint, Arc::new(context)))
    }
}

fn server_user() -> UserInfo {
    UserInfo {
        name: "system:apiserver".to_owned(),
        groups: vec![MASTERS.to_owned()],
        ..UserInfo::default()
    }
}

/// Flow control's objects are the work of a part of the server that has a name of its own, as upstream's.
fn server_options(resource: &GroupResource) -> WriteOptions {
    let manager = match &*resource.group {
        "flowcontrol.apiserver.k8s.io" => "api-priority-and-fairness-config-producer-v1",
        _ => "kube-apiserver",
    };
    WriteOptions {
        field_manager: manager.to_owned(),
        ..WriteOptions::default()
    }
}
