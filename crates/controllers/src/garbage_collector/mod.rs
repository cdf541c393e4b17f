//! The garbage collector: deletes what has lost all its owners, and carries out foreground deletion and orphaning.
//!
//! [`graph`] knows who owns whom; [`monitors`](crate::monitors) feed it; two queues hold what must be looked at. Before anything is deleted the object and
//! its owners are read at the server: the graph may be behind. So it may be when an owner's dependents are to be kept, see [`orphaning`].

mod graph;
mod orphaning;
mod sweep;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use apimachinery::gvk::GroupVersionResource;
use async_trait::async_trait;
use client::{Discovery, Event, Informer, PartialObjectMetadata, Store, Workqueue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

use crate::{
    context::ControllerContext,
    monitors::{self, Watcher},
    reconcile::{Error, Next, Reconciler, run_workers},
};

use self::graph::{Graph, Uid, Work};

pub(crate) const NAME: &str = "garbage-collector-controller";
/// Uids of owners that are known to be gone. Uids never come back, so that the only cost of forgetting one is a request.
const MAX_ABSENT: usize = 500;

struct GarbageCollector {
    ctx: ControllerContext,
    graph: Mutex<Graph>,
    informers: Mutex<HashMap<GroupVersionResource, Informer<PartialObjectMetadata>>>,
    discovery: Mutex<Arc<Discovery>>,
    absent_owners: Mutex<HashSet<Uid>>,
    attempt_to_delete: Workqueue<Key>,
    attempt_to_orphan: Workqueue<Key>,
    synced: watch::Sender<bool>,
}

/// A uid, as a queue's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(Uid);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn start(ctx: ControllerContext) {
    if !ctx.config.enable_garbage_collector {
        return;
    }
    let workers = ctx.config.concurrent_syncs.garbage_collector;
    let gc = Arc::new(GarbageCollector {
        graph: Mutex::default(),
        informers: Mutex::default(),
        discovery: Mutex::default(),
        absent_owners: Mutex::default(),
        attempt_to_delete: ctx.queue("garbage_collector_attempt_to_delete"),
        attempt_to_orphan: ctx.queue("garbage_collector_attempt_to_orphan"),
        synced: watch::Sender::new(false),
        ctx: ctx.clone(),
    });
    ctx.tasks.spawn(NAME, monitors::run(gc.clone()));
    let (deletes, orphans) = (gc.attempt_to_delete.clone(), gc.attempt_to_orphan.clone());
    run_workers(
        &ctx,
        NAME,
        workers,
        &deletes,
        Arc::new(AttemptToDelete(gc.clone())),
    );
    run_workers(&ctx, NAME, workers, &orphans, Arc::new(AttemptToOrphan(gc)));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GarbageCollector {
    fn enqueue(&self, work: Vec<Work>) {
        for work in work {
            match work {
                Work::AttemptToDelete(uid) => self.attempt_to_delete.add(Key(uid)),
                Work::AttemptToOrphan(uid) => self.attempt_to_orphan.add(Key(uid)),
            }
        }
    }

    fn observe_object(&self, gvr: &GroupVersionResource, metadata: &ObjectMeta) {
        let work = lock(&self.graph).upsert(gvr, metadata);
        self.enqueue(work);
    }

    fn observe_deletion(&self, metadata: &ObjectMeta) {
        if let Some(uid) = &metadata.uid {
            self.remove(uid);
        }
    }

    /// Takes a node out; its dependents need not ask the server for it.
    fn remove(&self, uid: &str) {
        let work = lock(&self.graph).remove(uid);
        if !work.is_empty() {
            self.remember_absent(uid);
        }
        self.enqueue(work);
    }

    fn remember_absent(&self, uid: &str) {
        let mut absent = lock(&self.absent_owners);
        if absent.len() >= MAX_ABSENT {
            absent.clear();
        }
        absent.insert(uid.to_owned());
    }

    fn is_known_absent(&self, uid: &str) -> bool {
        lock(&self.absent_owners).contains(uid)
    }

    /// Brings the graph in line with a whole store.
    fn observe_all(&self, gvr: &GroupVersionResource, objects: Vec<Arc<PartialObjectMetadata>>) {
        let mut gone = lock(&self.graph).uids_of(gvr);
        for object in objects {
            if let Some(uid) = &object.metadata.uid {
                gone.remove(uid);
            }
            self.observe_object(gvr, &object.metadata);
        }
        gone.iter().for_each(|uid| self.remove(uid));
    }

    fn discovery(&self) -> Arc<Discovery> {
        lock(&self.discovery).clone()
    }

    async fn has_synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced).await;
    }
}

impl Watcher for GarbageCollector {
    const NAME: &'static str = NAME;

    fn context(&self) -> &ControllerContext {
        &self.ctx
    }

    fn synced(&self) -> &watch::Sender<bool> {
        &self.synced
    }

    fn wanted(&self, discovery: &Discovery) -> Vec<GroupVersionResource> {
        let resources = discovery.preferred().into_iter();
        resources
            .filter(|resource| resource.supports(&["delete", "list", "watch"]))
            .map(|resource| resource.gvr.clone())
            .filter(|gvr| !monitors::IGNORED.contains(&gvr.group_resource()))
            .collect()
    }

    fn discovered(&self, discovery: Discovery) {
        *lock(&self.discovery) = Arc::new(discovery);
    }

    fn started(&self, gvr: &GroupVersionResource, informer: &Informer<PartialObjectMetadata>) {
        lock(&self.informers).insert(gvr.clone(), informer.clone());
    }

    fn observe(
        &self,
        gvr: &GroupVersionResource,
        event: Event<PartialObjectMetadata>,
        store: &Store<PartialObjectMetadata>,
    ) {
        match event {
            Event::Resync => self.observe_all(gvr, store.list()),
            Event::Added(object) | Event::Updated { new: object, .. } => {
                self.observe_object(gvr, &object.metadata);
            }
            Event::Deleted(object) => self.observe_deletion(&object.metadata),
        }
    }

    fn forget(&self, gvr: &GroupVersionResource) {
        lock(&self.informers).remove(gvr);
        self.observe_all(gvr, Vec::new());
    }
}

struct AttemptToDelete(Arc<GarbageCollector>);

#[async_trait]
impl Reconciler for AttemptToDelete {
    type Key = Key;

    async fn synced(&self) {
        self.0.has_synced().await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.0.attempt_to_delete(&key.0).await
    }
}

struct AttemptToOrphan(Arc<GarbageCollector>);

#[async_trait]
impl Reconciler for AttemptToOrphan {
    type Key = Key;

    async fn synced(&self) {
        self.0.has_synced().await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.0.attempt_to_orphan(&key.0).await
    }
}
