//! Eyes on resources that only discovery knows: one metadata informer each, started and stopped as discovery changes, or as what the
//! watcher wants does. The garbage collector looks at all that can be deleted, the quota controller at what quotas count.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::gvk::{GroupResource, GroupVersion, GroupVersionResource};
use async_trait::async_trait;
use base::TaskGroup;
use client::{Discovery, Event, Informer, PartialObjectMetadata, Store};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::context::ControllerContext;

/// How often discovery is asked whether resources came or went.
const RESYNC: Duration = Duration::from_secs(30);
/// How long the first fill of a monitor is waited for; one broken resource must not stop all the others.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// Events are many, live an hour, and own nothing.
pub(crate) const IGNORED: [GroupResource; 2] = [
    GroupResource::new("", "events"),
    GroupResource::new("events.k8s.io", "events"),
];

/// Who looks.
#[async_trait]
pub(crate) trait Watcher: Send + Sync + 'static {
    /// The controller.
    const NAME: &'static str;

    /// Its own.
    fn context(&self) -> &ControllerContext;

    /// Told when the monitors have been filled for the first time.
    fn synced(&self) -> &watch::Sender<bool>;

    /// Of what is served, what it looks at.
    fn wanted(&self, discovery: &Discovery) -> Vec<GroupVersionResource>;

    /// Returns when it may want something else than the last time. Cancel safe.
    async fn wants_more(&self) {
        std::future::pending().await
    }

    /// What is served now.
    fn discovered(&self, _discovery: Discovery) {}

    /// A monitor begins.
    fn started(&self, _gvr: &GroupVersionResource, _informer: &Informer<PartialObjectMetadata>) {}

    /// A monitor knows all there is for the first time.
    fn filled(&self, _gvr: &GroupVersionResource) {}

    /// Something happened.
    fn observe(
        &self,
        gvr: &GroupVersionResource,
        event: Event<PartialObjectMetadata>,
        store: &Store<PartialObjectMetadata>,
    );

    /// A monitor has ended: the resource is no longer served, or no longer wanted.
    fn forget(&self, gvr: &GroupVersionResource);
}

struct Monitor {
    informer: Informer<PartialObjectMetadata>,
    tasks: TaskGroup,
}

type Monitors = HashMap<GroupVersionResource, Monitor>;

/// Keeps one monitor a resource until the context's tasks are cancelled; returns after all monitors have stopped.
pub(crate) async fn run<W: Watcher>(watcher: Arc<W>) {
    let mut monitors = Monitors::new();
    let cancel = watcher.context().tasks.token().clone();
    let _ = cancel
        .run_until_cancelled(keep_monitoring(&watcher, &mut monitors))
        .await;
    for monitor in monitors.into_values() {
        monitor.tasks.shutdown().await;
    }
}

async fn keep_monitoring<W: Watcher>(watcher: &Arc<W>, monitors: &mut Monitors) {
    loop {
        match watcher.context().client.discover().await {
            Err(error) => warn!(controller = W::NAME, %error, "discovery failed"),
            Ok(discovery) => follow(watcher, monitors, discovery).await,
        }
        // Until the first success sooner, since nothing is done before.
        let pause = if *watcher.synced().borrow() {
            RESYNC
        } else {
            Duration::from_secs(1)
        };
        let _ = tokio::time::timeout(pause, watcher.wants_more()).await;
    }
}

/// Starts and stops monitors so that they match what is wanted of what is served, and waits until they know it.
async fn follow<W: Watcher>(watcher: &Arc<W>, monitors: &mut Monitors, discovery: Discovery) {
    let wanted = watcher.wanted(&discovery);
    // What a broken group serves is not known now, and not gone.
    let gone: Vec<GroupVersionResource> = monitors
        .keys()
        .filter(|gvr| !wanted.contains(gvr) && !discovery.failed.contains(&group_version(gvr)))
        .cloned()
        .collect();
    for gvr in gone {
        if let Some(monitor) = monitors.remove(&gvr) {
            debug!(controller = W::NAME, resource = %gvr.group_resource(), "monitor stopped");
            monitor.tasks.shutdown().await;
            watcher.forget(&gvr);
        }
    }
    watcher.discovered(discovery);
    for gvr in wanted {
        monitors
            .entry(gvr.clone())
            .or_insert_with(|| start(watcher, gvr));
    }
    let synced = futures_util::future::join_all(
        monitors
            .values()
            .map(|monitor| monitor.informer.has_synced()),
    );
    if tokio::time::timeout(SYNC_TIMEOUT, synced).await.is_err() {
        warn!(
            controller = W::NAME,
            "not all monitors have synced, going on without them"
        );
    }
    watcher.synced().send_replace(true);
}

fn group_version(gvr: &GroupVersionResource) -> GroupVersion {
    GroupVersion {
        group: gvr.group.clone(),
        version: gvr.version.clone(),
    }
}

fn start<W: Watcher>(watcher: &Arc<W>, gvr: GroupVersionResource) -> Monitor {
    let ctx = watcher.context();
    let tasks = TaskGroup::new(ctx.tasks.token());
    let informer = ctx.informers.private_metadata(&gvr, &tasks);
    watcher.started(&gvr, &informer);
    let (first, filled, resource) = (informer.clone(), watcher.clone(), gvr.clone());
    tasks.spawn_cancellable(W::NAME, async move {
        first.has_synced().await;
        filled.filled(&resource);
    });
    let mut events = informer.subscribe();
    let (watcher, store) = (watcher.clone(), informer.store().clone());
    tasks.spawn_cancellable(W::NAME, async move {
        while let Some(event) = events.next().await {
            watcher.observe(&gvr, event, &store);
        }
    });
    Monitor { informer, tasks }
}
