//! Shared informers: one reflector and one store a (resource, selector), however many components look at it.
//!
//! A [`Subscription`] tells what changed. It is bounded: who falls more than [`BACKLOG`] events behind gets one
//! [`Event::Resync`] and looks at the whole store again. The store is always at least as new as the event in hand.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use apimachinery::gvk::GroupVersionResource;
use base::TaskGroup;
use tokio::sync::{broadcast, watch};

use crate::{
    api::Namespace,
    client::Client,
    kind::{Kind, Object, ObjectKey},
    partial::PartialObjectMetadata,
    reflector::{Reflector, Sink},
    resource::ResourceClient,
    store::{IndexFn, Store},
    watch::{Decode, WatchEvent},
};

/// Events a subscriber may fall behind before it is told to resync.
pub(crate) const BACKLOG: usize = 2048;

/// A change of the store.
#[derive(Debug)]
pub enum Event<T> {
    /// Look at the whole store: at the beginning, and after falling behind.
    Resync,
    /// New.
    Added(Arc<T>),
    /// Changed.
    Updated {
        /// Before.
        old: Arc<T>,
        /// Now.
        new: Arc<T>,
    },
    /// Gone; its last known state.
    Deleted(Arc<T>),
}

impl<T> Clone for Event<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Resync => Self::Resync,
            Self::Added(object) => Self::Added(object.clone()),
            Self::Updated { old, new } => Self::Updated {
                old: old.clone(),
                new: new.clone(),
            },
            Self::Deleted(object) => Self::Deleted(object.clone()),
        }
    }
}

impl<T> Event<T> {
    /// The newest state the event carries.
    pub fn object(&self) -> Option<&Arc<T>> {
        match self {
            Self::Resync => None,
            Self::Added(object) | Self::Deleted(object) | Self::Updated { new: object, .. } => {
                Some(object)
            }
        }
    }
}

/// What part of a resource an informer mirrors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct InformerScope {
    /// One namespace, or all.
    pub namespace: Namespace,
    /// `labelSelector`.
    pub label_selector: Option<String>,
    /// `fieldSelector`.
    pub field_selector: Option<String>,
}

/// A running informer. Cheap to clone; clones are the same informer.
pub struct Informer<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Informer<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<T> {
    store: Store<T>,
    events: broadcast::Sender<Event<T>>,
    synced: watch::Sender<bool>,
    /// The resource version up to which the store has everything.
    reached: AtomicU64,
}

impl<T: Object> Informer<T> {
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                store: Store::default(),
                events: broadcast::Sender::new(BACKLOG),
                synced: watch::Sender::new(false),
                reached: AtomicU64::new(0),
            }),
        }
    }

    /// What it knows.
    pub fn store(&self) -> &Store<T> {
        &self.shared.store
    }

    /// Registers an index on the store; see [`Store::add_index`].
    pub fn add_index(&self, name: &'static str, values: IndexFn<T>) {
        self.shared.store.add_index(name, values);
    }

    /// Changes from now on; the first event is a [`Event::Resync`].
    pub fn subscribe(&self) -> Subscription<T> {
        Subscription {
            receiver: self.shared.events.subscribe(),
            resync: true,
        }
    }

    /// Whether the store has been filled once.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Whether the store has all that the server had at a resource version. Those of all resources of one server can be compared (KEP-5504); of a
    /// resource of which nothing is heard it is not known until a bookmark comes.
    pub fn has_reached(&self, resource_version: &str) -> bool {
        let reached = self.shared.reached.load(Ordering::Acquire);
        resource_version
            .parse()
            .is_ok_and(|wanted: u64| wanted <= reached)
    }

    /// Waits until the store has been filled once. Cancel safe.
    pub async fn has_synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced).await;
    }
}

impl<T: Object> Sink<T> for Shared<T> {
    fn replace(&self, items: Vec<T>) {
        let mut gone: std::collections::HashSet<ObjectKey> =
            self.store.keys().into_iter().collect();
        for item in items {
            gone.remove(&item.key());
            self.put(item);
        }
        for key in gone {
            if let Some(old) = self.store.remove(&key) {
                self.send(Event::Deleted(old));
            }
        }
        self.synced.send_replace(true);
    }

    fn apply(&self, event: WatchEvent<T>) {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => self.put(object),
            WatchEvent::Deleted(object) => {
                self.store.remove(&object.key());
                self.send(Event::Deleted(Arc::new(object)));
            }
            WatchEvent::Bookmark { .. } => {}
        }
    }

    fn reach(&self, resource_version: &str) {
        let reached = resource_version.parse().unwrap_or(0);
        self.reached.store(reached, Ordering::Release);
    }
}

impl<T: Object> Shared<T> {
    fn put(&self, mut object: T) {
        // Nobody reads them, and they are a good part of an object. A write without them leaves the server's as they are.
        object.metadata_mut().managed_fields = None;
        let new = Arc::new(object);
        match self.store.insert(new.clone()) {
            None => self.send(Event::Added(new)),
            Some(old) if old.resource_version() == new.resource_version() => {}
            Some(old) if old.uid() != new.uid() => {
                // Deleted and made again between two lists.
                self.send(Event::Deleted(old));
                self.send(Event::Added(new));
            }
            Some(old) => self.send(Event::Updated { old, new }),
        }
    }

    fn send(&self, event: Event<T>) {
        // No subscriber is no error.
        let _ = self.events.send(event);
    }
}

/// A bounded stream of changes.
pub struct Subscription<T> {
    receiver: broadcast::Receiver<Event<T>>,
    resync: bool,
}

impl<T: Object> Subscription<T> {
    /// The next change; nothing once the informer is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Event<T>> {
        if std::mem::take(&mut self.resync) {
            return Some(Event::Resync);
        }
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                // All that is still in the ring is older than the store that the subscriber is about to read.
                self.receiver = self.receiver.resubscribe();
                Some(Event::Resync)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Makes informers and shares them: the same resource and scope is the same informer. Cheap to clone.
#[derive(Clone)]
pub struct InformerFactory {
    client: Client,
    tasks: TaskGroup,
    informers: Arc<Mutex<HashMap<Key, Box<dyn Any + Send + Sync>>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    object: TypeId,
    resource: Option<GroupVersionResource>,
    scope: InformerScope,
}

impl InformerFactory {
    /// Informers run in `tasks`, and end with it.
    pub fn new(client: Client, tasks: TaskGroup) -> Self {
        Self {
            client,
            tasks,
            informers: Arc::default(),
        }
    }

    /// The client whose eyes the informers are.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The informer of all objects of a kind; started by whoever asks first.
    pub fn informer<K: Kind>(&self) -> Informer<K> {
        self.scoped(InformerScope::default())
    }

    /// The informer of a part of a kind's objects.
    pub fn scoped<K: Kind>(&self, scope: InformerScope) -> Informer<K> {
        let key = Key {
            object: TypeId::of::<K>(),
            resource: None,
            scope,
        };
        self.get_or_start(key, |scope| {
            let client = self.client.clone();
            let resource = ResourceClient::new(
                client,
                K::GROUP,
                K::VERSION,
                K::RESOURCE,
                scope.namespace.clone(),
            );
            (resource, K::from_json)
        })
    }

    /// The informer of the metadata of any resource.
    pub fn metadata(&self, gvr: &GroupVersionResource) -> Informer<PartialObjectMetadata> {
        let key = Key {
            object: TypeId::of::<PartialObjectMetadata>(),
            resource: Some(gvr.clone()),
            scope: InformerScope::default(),
        };
        self.get_or_start(key, |_| {
            (
                self.metadata_resource(gvr),
                PartialObjectMetadata::from_json,
            )
        })
    }

    /// A metadata informer that is nobody else's and runs in `tasks`, without labels and annotations: for who looks at all
    /// resources, which come and go.
    pub fn private_metadata(
        &self,
        gvr: &GroupVersionResource,
        tasks: &TaskGroup,
    ) -> Informer<PartialObjectMetadata> {
        let informer = Informer::new();
        let scope = InformerScope::default();
        let resource = self.metadata_resource(gvr);
        start(
            &informer,
            tasks,
            &scope,
            resource,
            PartialObjectMetadata::ownership_from_json,
        );
        informer
    }

    fn metadata_resource(&self, gvr: &GroupVersionResource) -> ResourceClient {
        let client = self.client.clone();
        let resource = ResourceClient::new(
            client,
            &gvr.group,
            &gvr.version,
            &gvr.resource,
            Namespace::All,
        );
        ResourceClient {
            metadata_only: true,
            ..resource
        }
    }

    fn get_or_start<T: Object>(
        &self,
        key: Key,
        source: impl FnOnce(&InformerScope) -> (ResourceClient, Decode<T>),
    ) -> Informer<T> {
        let mut informers = self
            .informers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(informer) = informers
            .get(&key)
            .and_then(|informer| informer.downcast_ref::<Informer<T>>())
        {
            return informer.clone();
        }
        let informer = Informer::new();
        let (resource, decode) = source(&key.scope);
        start(&informer, &self.tasks, &key.scope, resource, decode);
        informers.insert(key, Box::new(informer.clone()));
        informer
    }
}

fn start<T: Object>(
    informer: &Informer<T>,
    tasks: &TaskGroup,
    scope: &InformerScope,
    resource: ResourceClient,
    decode: Decode<T>,
) {
    let reflector = Reflector {
        resource,
        decode,
        label_selector: scope.label_selector.clone(),
        field_selector: scope.field_selector.clone(),
    };
    let shared = informer.shared.clone();
    tasks.spawn_cancellable("reflector", async move { reflector.run(shared).await });
}
