//! The generic registry: what the API does with objects of any kind, one file a verb.
//!
//! [`Registry::handle`] is where resource requests end up. It finds the resource, sees whether path and method are one of its routes, and
//! calls the verb. Kinds differ by their row (`api::kinds::TABLE`), their strategy, and their [`hooks`].

mod admin_access;
mod admit;
mod apply;
mod ask;
mod binding;
mod body;
mod codec;
mod components;
mod connect;
mod continue_token;
mod create;
mod delete;
mod delete_collection;
mod delete_options;
mod endpoint;
mod eviction;
mod get;
pub mod hooks;
mod json_list;
mod list;
mod metrics;
mod object_reader;
mod options;
mod ownership;
mod patch;
mod pod_condition;
mod protobuf_list;
mod resources;
mod route;
mod scale;
mod selection;
mod table;
mod trees;
mod update;
mod watch;
mod watch_websocket;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use api::{ServedResource, StrategyRef, kinds::apiextensions::custom_resource_definition};
use apimachinery::{
    gvk::{GroupResource, GroupVersionResource},
    status::Status,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use base::{Clock, TaskGroup};
use bytes::Bytes;
use etcd::Kv;
use http::{Request, Response};

use crate::{
    admission::Chain,
    body::Body,
    cacher::{Hub, Ingest},
    compactor::Horizon,
    context::Context,
    encryption::EncryptedKv,
    negotiation::route_produces,
    pipeline::Handler,
    storage::ObjectStore,
    virtual_resource::VirtualResource,
};

pub use connect::Connector;
pub use endpoint::Endpoint;
pub use object_reader::ServerWriter;
pub(crate) use route::page_not_found;

use hooks::Hook;
use metrics::Metrics;
use route::Route;
use trees::Trees;

/// The resources of a server.
pub struct Registry {
    hub: Arc<Hub>,
    kv: Arc<dyn Kv>,
    store: ObjectStore,
    trees: Trees,
    clock: Clock,
    /// How long events are kept.
    event_ttl_seconds: i64,
    /// Watches that do not say how long they want to live end after so long, up to twice that, so that clients spread over servers, as upstream.
    min_watch_life: Duration,
    metrics: Metrics,
    /// How far back clients may look.
    horizon: Horizon,
    endpoints: RwLock<Endpoints>,
    /// What is served, as discovery lists it: made anew whenever a custom resource comes or goes.
    served: ArcSwap<Vec<Arc<ServedResource>>>,
    /// Counts its changes.
    served_changes: tokio::sync::watch::Sender<u64>,
    plugs: RwLock<Plugs>,
}

#[derive(Default)]
struct Endpoints {
    by_version: HashMap<GroupVersionResource, Arc<Endpoint>>,
    by_resource: HashMap<GroupResource, Arc<Endpoint>>,
    /// The groups of built-in resources: their paths are known, whatever stands below them.
    groups: BTreeSet<String>,
    /// The versions of each custom resource, in order of priority.
    custom: BTreeMap<GroupResource, Vec<Arc<Endpoint>>>,
}

/// What is plugged in after the registry exists, because it reads through it.
#[derive(Clone, Default)]
struct Plugs {
    admission: Chain,
    hooks: HashMap<GroupResource, Arc<dyn Hook>>,
    virtual_resources: HashMap<(GroupResource, String), Arc<dyn VirtualResource>>,
    connector: Option<Arc<dyn Connector>>,
    /// Where watches over upgraded connections live.
    stream_tasks: Option<TaskGroup>,
    encryption: Option<EncryptedKv>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// With the built-in resources. What is read and watched is counted in `metrics`.
    pub fn new(
        kv: Arc<dyn Kv>,
        hub: Arc<Hub>,
        clock: Clock,
        event_ttl_seconds: i64,
        min_watch_life: Duration,
        metrics: &base::metrics::Registry,
    ) -> Arc<Self> {
        let mut endpoints = Endpoints::default();
        let built_in = api::served::built_in();
        for row in built_in {
            endpoints.add(judged(row), &hub);
        }
        let registry = Arc::new(Self {
            store: ObjectStore::new(Arc::clone(&kv), Arc::<Hub>::clone(&hub), clock.clone()),
            hub,
            kv,
            trees: Trees::default(),
            clock,
            event_ttl_seconds,
            min_watch_life,
            metrics: Metrics::new(metrics),
            horizon: Horizon::default(),
            endpoints: RwLock::new(endpoints),
            served: ArcSwap::from_pointee(built_in.to_vec()),
            served_changes: tokio::sync::watch::Sender::new(0),
            plugs: RwLock::default(),
        });
        registry.serve_metrics(metrics);
        registry
    }

    /// Moved by whoever compacts the store.
    pub(crate) fn horizon(&self) -> &Horizon {
        &self.horizon
    }

    /// Sets the admission plugins.
    pub fn set_admission(&self, admission: Chain) {
        self.plugs_mut(|plugs| plugs.admission = admission);
    }

    /// Sets what happens around the writes of a resource.
    pub fn set_hook(&self, resource: GroupResource, hook: Arc<dyn Hook>) {
        self.plugs_mut(|plugs| {
            plugs.hooks.insert(resource, hook);
        });
    }

    /// Adds a resource or subresource that only answers.
    pub fn add_virtual_resource(&self, resource: Arc<dyn VirtualResource>) {
        let key = (resource.resource(), resource.subresource().to_owned());
        self.plugs_mut(|plugs| {
            plugs.virtual_resources.insert(key, resource);
        });
    }

    /// Sets who serves exec, attach, port-forward, logs and proxies.
    pub fn set_connector(&self, connector: Arc<dyn Connector>) {
        self.plugs_mut(|plugs| plugs.connector = Some(connector));
    }

    /// Sets where watches over WebSocket live; they end with it. Without, watches are answers alone.
    pub fn set_stream_tasks(&self, tasks: TaskGroup) {
        self.plugs_mut(|plugs| plugs.stream_tasks = Some(tasks));
    }

    /// Says what encrypts the store: objects that another key wrote are written anew by every write, even one that changes nothing.
    pub fn set_encryption(&self, encryption: EncryptedKv) {
        self.plugs_mut(|plugs| plugs.encryption = Some(encryption));
    }

    /// Whether what is stored at `key` is to be written anew though it has not changed.
    async fn is_stale(&self, key: &Bytes) -> Result<bool, Status> {
        let encryption = self.plugs().encryption.clone();
        match encryption {
            Some(encryption) => encryption
                .is_stale(key)
                .await
                .map_err(crate::storage::status),
            None => Ok(false),
        }
    }

    /// The resource at a group, version and plural.
    pub fn endpoint(&self, gvr: &GroupVersionResource) -> Option<Arc<Endpoint>> {
        self.endpoints().by_version.get(gvr).cloned()
    }

    /// The resource in the version that comes first in the table.
    pub fn endpoint_of(&self, resource: &GroupResource) -> Option<Arc<Endpoint>> {
        self.endpoints().by_resource.get(resource).cloned()
    }

    /// Everything that is served: the built-in resources in discovery's order, then the custom ones by group and name. The same
    /// pointer as long as nothing comes or goes.
    pub fn served(&self) -> Arc<Vec<Arc<ServedResource>>> {
        self.served.load_full()
    }

    /// Tells when [`Registry::served`] gives something else.
    pub(crate) fn served_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.served_changes.subscribe()
    }

    /// Serves a custom resource in these versions, the preferred one first, in place of what was served of it.
    pub(crate) fn install(&self, resource: &GroupResource, endpoints: Vec<Endpoint>) {
        let versions = endpoints.into_iter().map(Arc::new).collect();
        self.replace_custom(resource, versions);
    }

    /// Serves a custom resource no more.
    pub(crate) fn uninstall(&self, resource: &GroupResource) {
        self.replace_custom(resource, Vec::new());
    }

    fn replace_custom(&self, resource: &GroupResource, versions: Vec<Arc<Endpoint>>) {
        let mut endpoints = self
            .endpoints
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        endpoints.replace_custom(resource, versions);
        // Under the lock, so that a later set is never overwritten by an earlier one.
        self.served.store(Arc::new(endpoints.rows()));
        self.served_changes.send_modify(|count| *count += 1);
    }

    /// The watch caches.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn endpoints(&self) -> std::sync::RwLockReadGuard<'_, Endpoints> {
        self.endpoints
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn plugs(&self) -> std::sync::RwLockReadGuard<'_, Plugs> {
        self.plugs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn plugs_mut(&self, change: impl FnOnce(&mut Plugs)) {
        change(&mut self.plugs.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn admission(&self) -> Chain {
        self.plugs().admission.clone()
    }

    fn hook(&self, resource: &GroupResource) -> Option<Arc<dyn Hook>> {
        self.plugs().hooks.get(resource).cloned()
    }

    /// Now, as timestamps in objects are written: whole seconds, UTC.
    fn now(&self) -> String {
        seconds(self.clock.now())
    }
}

impl Endpoints {
    fn add(&mut self, row: Arc<ServedResource>, hub: &Hub) {
        let cacher = row
            .storage
            .as_ref()
            .map(|storage| hub.add(&storage.prefix, Ingest::of(&row.strategy)));
        let endpoint = Arc::new(Endpoint::new(row, cacher));
        self.groups.insert(endpoint.row.gvr.group.to_string());
        self.by_resource
            .entry(endpoint.group_resource())
            .or_insert_with(|| Arc::clone(&endpoint));
        self.by_version.insert(endpoint.row.gvr.clone(), endpoint);
    }

    fn replace_custom(&mut self, resource: &GroupResource, versions: Vec<Arc<Endpoint>>) {
        for old in self.custom.remove(resource).unwrap_or_default() {
            self.by_version.remove(&old.row.gvr);
        }
        match versions.first() {
            Some(first) => self.by_resource.insert(resource.clone(), Arc::clone(first)),
            None => self.by_resource.remove(resource),
        };
        for endpoint in &versions {
            let gvr = endpoint.row.gvr.clone();
            self.by_version.insert(gvr, Arc::clone(endpoint));
        }
        if !versions.is_empty() {
            self.custom.insert(resource.clone(), versions);
        }
    }

    fn rows(&self) -> Vec<Arc<ServedResource>> {
        let custom = self.custom.values().flatten();
        let custom = custom.map(|endpoint| Arc::clone(&endpoint.row));
        api::served::built_in()
            .iter()
            .cloned()
            .chain(custom)
            .collect()
    }
}

/// Definitions of custom resources are judged by the crate that compiles their schemas, which `api` does not know.
fn judged(row: &Arc<ServedResource>) -> Arc<ServedResource> {
    if row.gvr != custom_resource_definition::RESOURCE.gvr {
        return Arc::clone(row);
    }
    Arc::new(ServedResource {
        strategy: StrategyRef::Fixed(::apiextensions::validation::STRATEGY),
        ..ServedResource::clone(row)
    })
}

/// A time as `metadata` has it.
pub(crate) fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// One request to one endpoint, as the verbs see it.
struct Call<'a> {
    registry: &'a Arc<Registry>,
    endpoint: &'a Arc<Endpoint>,
    context: &'a Arc<Context>,
}

#[async_trait]
impl Handler for Arc<Registry> {
    async fn handle(
        &self,
        context: &Arc<Context>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let endpoint = self.endpoint(&context.info.gvr());
        let Some(endpoint) = endpoint else {
            let known = self
                .endpoints()
                .groups
                .contains(context.info.group_version.group.as_ref());
            return if known {
                Err(Status::unknown_path())
            } else {
                Ok(route::page_not_found())
            };
        };
        let call = Call {
            registry: self,
            endpoint: &endpoint,
            context,
        };
        let route = route::find(&endpoint, &context.info, request.method())?;
        if endpoint.custom.is_none()
            && let Some(media_types) = route.produces(&context.info)
        {
            route_produces(&context.headers, media_types)?;
        }
        if let Some(deprecation) = endpoint.strategy().deprecation() {
            context.warn(deprecation);
            context.annotate("k8s.io/deprecated", "true");
            self.metrics
                .deprecated(&endpoint, &context.info.subresource);
        }
        match route {
            Route::Get => call.get().await,
            Route::List => call.list().await,
            Route::Watch => call.watch(request).await,
            Route::Create => call.create(request).await,
            Route::Update => call.update(request).await,
            Route::Delete => call.delete(request).await,
            Route::DeleteCollection => call.delete_collection(request).await,
            Route::Virtual(name) => call.ask(request, &name).await,
            Route::Bind => call.bind(request).await,
            Route::Components => call.components().await,
            Route::Patch => call.patch(request).await,
            Route::Scale(verb) => call.scale(verb, request).await,
            Route::Evict => call.evict(request).await,
            Route::Connect => call.connect(request).await,
            Route::NoPage => Ok(route::page_not_found()),
        }
    }
}
