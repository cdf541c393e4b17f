//! Eyes on every resource that can be deleted: one metadata informer each, started and stopped as discovery changes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::gvk::{GroupResource, GroupVersion, GroupVersionResource};
use base::TaskGroup;
use client::{Discovery, Event, Informer, PartialObjectMetadata};
use tracing::{debug, warn};

use super::GarbageCollector;

/// How often discovery is asked whether resources came or went.
const RESYNC: Duration = Duration::from_secs(30);
/// How long the first fill of a monitor is waited for; one broken resource must not stop all collection.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// Events are many, live an hour, and own nothing.
const IGNORED: [GroupResource; 2] = [
    GroupResource::new("", "events"),
    GroupResource::new("events.k8s.io", "events"),
];

struct Monitor {
    informer: Informer<PartialObjectMetadata>,
    tasks: TaskGroup,
}

/// Keeps one monitor a resource until the context's tasks are cancelled; returns after all monitors have stopped.
pub(super) async fn run(gc: Arc<GarbageCollector>) {
    let mut monitors: HashMap<GroupVersionResource, Monitor> = HashMap::new();
    let cancel = gc.ctx.tasks.token().clone();
    let _ = cancel
        .run_until_cancelled(keep_monitoring(&gc, &mut monitors))
        .await;
    for monitor in monitors.into_values() {
        monitor.tasks.shutdown().await;
    }
}

async fn keep_monitoring(
    gc: &Arc<GarbageCollector>,
    monitors: &mut HashMap<GroupVersionResource, Monitor>,
) {
    loop {
        match gc.ctx.client.discover().await {
            Err(error) => warn!(%error, "garbage collector: discovery failed"),
            Ok(discovery) => follow(gc, monitors, discovery).await,
        }
        // Until the first success sooner, since nothing is collected before.
        let pause = if *gc.synced.borrow() {
            RESYNC
        } else {
            Duration::from_secs(1)
        };
        tokio::time::sleep(pause).await;
    }
}

/// Starts and stops monitors so that they match what is served, and waits until they know it.
async fn follow(
    gc: &Arc<GarbageCollector>,
    monitors: &mut HashMap<GroupVersionResource, Monitor>,
    discovery: Discovery,
) {
    let wanted: Vec<GroupVersionResource> = discovery
        .preferred()
        .into_iter()
        .filter(|resource| resource.supports(&["delete", "list", "watch"]))
        .filter(|resource| !IGNORED.contains(&resource.gvr.group_resource()))
        .map(|resource| resource.gvr.clone())
        .collect();
    // What a broken group serves is not known now, and not gone.
    let gone: Vec<GroupVersionResource> = monitors
        .keys()
        .filter(|gvr| !wanted.contains(gvr) && !discovery.failed.contains(&group_version(gvr)))
        .cloned()
        .collect();
    for gvr in gone {
        if let Some(monitor) = monitors.remove(&gvr) {
            debug!(resource = %gvr.group_resource(), "monitor stopped");
            monitor.tasks.shutdown().await;
            gc.forget_resource(&gvr);
        }
    }
    gc.set_discovery(discovery);
    for gvr in wanted {
        monitors
            .entry(gvr.clone())
            .or_insert_with(|| start(gc, gvr));
    }
    let synced = futures_util::future::join_all(
        monitors
            .values()
            .map(|monitor| monitor.informer.has_synced()),
    );
    if tokio::time::timeout(SYNC_TIMEOUT, synced).await.is_err() {
        warn!("garbage collector: not all monitors have synced, going on without them");
    }
    gc.synced.send_replace(true);
}

fn group_version(gvr: &GroupVersionResource) -> GroupVersion {
    GroupVersion {
        group: gvr.group.clone(),
        version: gvr.version.clone(),
    }
}

fn start(gc: &Arc<GarbageCollector>, gvr: GroupVersionResource) -> Monitor {
    let tasks = TaskGroup::new(gc.ctx.tasks.token());
    let informer = gc.ctx.informers.private_metadata(&gvr, &tasks);
    let mut events = informer.subscribe();
    let (gc, store) = (gc.clone(), informer.store().clone());
    tasks.spawn_cancellable(super::NAME, async move {
        while let Some(event) = events.next().await {
            match event {
                Event::Resync => gc.observe_all(&gvr, store.list()),
                Event::Added(object) | Event::Updated { new: object, .. } => {
                    gc.observe(&gvr, &object.metadata)
                }
                Event::Deleted(object) => gc.observe_deletion(&object.metadata),
            }
        }
    });
    Monitor { informer, tasks }
}
