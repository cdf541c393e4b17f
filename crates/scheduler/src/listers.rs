//! What plugins may look up besides nodes and pods: mirrors of other resources, kept by informers.
//!
//! Each change of one of them is an event for the queue, sent over a bounded channel to the one task that decides.

use std::{pin::Pin, sync::Arc};

use base::TaskGroup;
use client::{Event, Informer, InformerFactory, Kind, ObjectKey, Store};
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{
        Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
    },
    policy::v1::PodDisruptionBudget,
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};
use tokio::sync::{Notify, mpsc};

use crate::framework::{ClusterEvent, EventKind};

/// Events that may wait for the deciding task; whoever sends more waits, and its informer tells it to look at everything again.
const PENDING_EVENTS: usize = 256;

/// Stores of all that plugins look up. Cheap to clone; clones are the same stores.
#[derive(Clone, Default)]
pub(crate) struct Listers {
    /// Wakes who waits for a change of any of those that are told to the queue.
    pub(crate) changes: Arc<Notify>,
    pub(crate) pods: Store<Pod>,
    pub(crate) namespaces: Store<Namespace>,
    pub(crate) disruption_budgets: Store<PodDisruptionBudget>,
    pub(crate) services: Store<Service>,
    pub(crate) replication_controllers: Store<ReplicationController>,
    pub(crate) replica_sets: Store<ReplicaSet>,
    pub(crate) stateful_sets: Store<StatefulSet>,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) volumes: Store<PersistentVolume>,
    pub(crate) storage_classes: Store<StorageClass>,
    pub(crate) csi_nodes: Store<CSINode>,
    pub(crate) csi_drivers: Store<CSIDriver>,
    pub(crate) csi_storage_capacities: Store<CSIStorageCapacity>,
    pub(crate) volume_attachments: Store<VolumeAttachment>,
}

/// What comes of a change: of objects that came or changed, and of those that went.
type Kinds = (Option<EventKind>, Option<EventKind>);

/// Informers that are being filled, and the events that they send.
pub(crate) struct Follower {
    pub(crate) listers: Listers,
    pub(crate) events: mpsc::Receiver<ClusterEvent>,
    synced: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Follower {
    /// Starts the informers; they and what forwards their events run in `tasks`.
    pub(crate) fn start(informers: &InformerFactory, tasks: &TaskGroup) -> Self {
        let (sender, events) = mpsc::channel(PENDING_EVENTS);
        let changes: Arc<Notify> = Arc::default();
        let mut starter = Starter {
            informers,
            changes: Arc::clone(&changes),
            tasks,
            sender,
            synced: Vec::new(),
        };
        let listers = Listers {
            changes,
            pods: starter.follow((None, None)),
            namespaces: starter.follow((None, None)),
            disruption_budgets: starter.follow((None, None)),
            services: starter.follow((None, None)),
            replication_controllers: starter.follow((None, None)),
            replica_sets: starter.follow((None, None)),
            stateful_sets: starter.follow((None, None)),
            claims: starter.follow((
                Some(EventKind::PersistentVolumeClaim),
                Some(EventKind::PersistentVolumeClaimRemoved),
            )),
            volumes: starter.follow((Some(EventKind::PersistentVolume), None)),
            storage_classes: starter.follow((Some(EventKind::StorageClass), None)),
            csi_nodes: starter.follow((Some(EventKind::CsiNode), None)),
            csi_drivers: starter.follow((Some(EventKind::CsiDriver), None)),
            csi_storage_capacities: starter.follow((Some(EventKind::CsiStorageCapacity), None)),
            volume_attachments: starter.follow((None, Some(EventKind::VolumeAttachmentRemoved))),
        };
        Self {
            listers,
            events,
            synced: starter.synced,
        }
    }

    /// Waits until every store has been filled once.
    pub(crate) async fn has_synced(&mut self) {
        for synced in self.synced.drain(..) {
            synced.await;
        }
    }
}

struct Starter<'a> {
    informers: &'a InformerFactory,
    tasks: &'a TaskGroup,
    changes: Arc<Notify>,
    sender: mpsc::Sender<ClusterEvent>,
    synced: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Starter<'_> {
    fn follow<K: Kind>(&mut self, kinds: Kinds) -> Store<K> {
        let informer = self.informers.informer::<K>();
        let store = informer.store().clone();
        if kinds != (None, None) {
            let changes = Arc::clone(&self.changes);
            let forward = forward(informer.clone(), kinds, changes, self.sender.clone());
            self.tasks.spawn_cancellable("events", forward);
        }
        self.synced
            .push(Box::pin(async move { informer.has_synced().await }));
        store
    }
}

async fn forward<K: Kind>(
    informer: Informer<K>,
    (set, removed): Kinds,
    changes: Arc<Notify>,
    sender: mpsc::Sender<ClusterEvent>,
) {
    let mut subscription = informer.subscribe();
    while let Some(change) = subscription.next().await {
        changes.notify_waiters();
        let (kind, objects) = match change {
            Event::Resync => (set, informer.store().keys()),
            Event::Added(object) | Event::Updated { new: object, .. } => (set, vec![object.key()]),
            Event::Deleted(object) => (removed, vec![object.key()]),
        };
        let Some(kind) = kind else { continue };
        for key in objects {
            if send(&sender, kind, key).await.is_err() {
                return;
            }
        }
    }
}

/// Fails when the scheduler has stopped.
async fn send(
    sender: &mpsc::Sender<ClusterEvent>,
    kind: EventKind,
    key: ObjectKey,
) -> Result<(), mpsc::error::SendError<ClusterEvent>> {
    sender.send(ClusterEvent::Object(kind, key)).await
}
