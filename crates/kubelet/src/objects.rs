//! Config maps and secrets that the pods of this node name, and no others: each is watched by name while a pod needs it.
//!
//! What was read stays readable while the API server is away. A change wakes the pods that name the object, whose volumes then
//! follow.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base::TaskGroup;
use client::{Client, Kind, WatchEvent, WatchParams};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Volume};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    env::{EnvError, ObjectSource},
    pod::{as_container, containers, ephemeral_containers, init_containers, namespace, spec, uid},
};

/// How long a reader waits for an object that was never read before.
const FIRST_READ: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);

/// What is known of one object.
#[derive(Clone, Debug)]
enum Known<K> {
    /// Not asked yet, or no answer; with the last error.
    Nothing(String),
    /// It is there.
    There(Arc<K>),
    /// It is not there.
    Absent,
}

type Key = (String, String);

struct Watched<K> {
    pods: HashSet<String>,
    known: watch::Receiver<Known<K>>,
    cancel: CancellationToken,
}

/// The objects of one kind.
struct Watches<K: Kind> {
    client: Client,
    tasks: TaskGroup,
    wake: mpsc::Sender<String>,
    entries: Arc<Mutex<HashMap<Key, Watched<K>>>>,
}

impl<K: Kind> Watches<K> {
    fn new(client: Client, tasks: TaskGroup, wake: mpsc::Sender<String>) -> Self {
        Self {
            client,
            tasks,
            wake,
            entries: Arc::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Watched<K>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches what a pod names, and no more what it named before.
    fn register(&self, pod_uid: &str, names: &BTreeSet<Key>) {
        let mut entries = self.lock();
        for key in names {
            entries
                .entry(key.clone())
                .or_insert_with(|| self.start(key))
                .pods
                .insert(pod_uid.to_owned());
        }
        entries.retain(|key, entry| {
            if !names.contains(key) {
                entry.pods.remove(pod_uid);
            }
            let needed = !entry.pods.is_empty();
            if !needed {
                entry.cancel.cancel();
            }
            needed
        });
    }

    fn start(&self, key: &Key) -> Watched<K> {
        let (sender, known) = watch::channel(Known::Nothing(format!(
            "failed to sync {} cache: timed out waiting for the condition",
            K::KIND.to_ascii_lowercase()
        )));
        let cancel = self.tasks.token().child_token();
        let task = Follow {
            client: self.client.clone(),
            key: key.clone(),
            sender,
            wake: self.wake.clone(),
            entries: self.entries.clone(),
        };
        let stop = cancel.clone();
        self.tasks.spawn("object-watch", async move {
            let _ = stop.run_until_cancelled(task.run()).await;
        });
        Watched {
            pods: HashSet::new(),
            known,
            cancel,
        }
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Option<Arc<K>>, EnvError> {
        let key = (namespace.to_owned(), name.to_owned());
        let known = self.lock().get(&key).map(|entry| entry.known.clone());
        let Some(mut known) = known else {
            return Err(EnvError::Unavailable(format!(
                "object {namespace:?}/{name:?} not registered"
            )));
        };
        let answered = known.wait_for(|known| !matches!(known, Known::Nothing(_)));
        let _ = tokio::time::timeout(FIRST_READ, answered).await;
        let value = known.borrow().clone();
        match value {
            Known::There(object) => Ok(Some(object)),
            Known::Absent => Ok(None),
            Known::Nothing(why) => Err(EnvError::Unavailable(why)),
        }
    }
}

/// Follows one object.
struct Follow<K: Kind> {
    client: Client,
    key: Key,
    sender: watch::Sender<Known<K>>,
    wake: mpsc::Sender<String>,
    entries: Arc<Mutex<HashMap<Key, Watched<K>>>>,
}

impl<K: Kind> Follow<K> {
    async fn run(self) {
        loop {
            if let Err(error) = self.follow().await {
                debug!(kind = K::KIND, name = self.key.1, %error, "cannot watch object");
                let text = error.to_string();
                self.sender.send_if_modified(|known| {
                    let unknown = matches!(known, Known::Nothing(_));
                    if unknown {
                        *known = Known::Nothing(text);
                    }
                    false
                });
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&self) -> Result<(), client::ApiError> {
        let (namespace, name) = &self.key;
        let api = self.client.api::<K>(namespace.as_str());
        // A list of one: it tells the resourceVersion to watch from, whether the object is there or not.
        let selector = format!("metadata.name={name}");
        let list = api
            .list(&client::ListParams::fields(selector.clone()))
            .await?;
        self.publish(list.items.into_iter().next()).await;
        let mut stream = api
            .watch(&WatchParams {
                field_selector: Some(selector),
                resource_version: list.metadata.resource_version,
                ..WatchParams::default()
            })
            .await?;
        while let Some(event) = stream.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.publish(Some(object)).await
                }
                WatchEvent::Deleted(_) => self.publish(None).await,
                WatchEvent::Bookmark { .. } => {}
            }
        }
        Ok(())
    }

    async fn publish(&self, object: Option<K>) {
        let first = matches!(*self.sender.borrow(), Known::Nothing(_));
        let changed = self.sender.send_if_modified(|known| {
            let same = match (&*known, &object) {
                (Known::There(old), Some(new)) => old.resource_version() == new.resource_version(),
                (Known::Absent, None) => true,
                _ => false,
            };
            if !same {
                *known = object
                    .clone()
                    .map_or(Known::Absent, |object| Known::There(Arc::new(object)));
            }
            !same
        });
        if !changed || first {
            return;
        }
        let pods: Vec<_> = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries
                .get(&self.key)
                .into_iter()
                .flat_map(|entry| entry.pods.iter().cloned())
                .collect()
        };
        for pod in pods {
            let _ = self.wake.send(pod).await;
        }
    }
}

/// Config maps and secrets of this node's pods.
pub struct ObjectCache {
    kinds: Option<(Watches<ConfigMap>, Watches<Secret>)>,
}

impl ObjectCache {
    /// From this server, watched by tasks in `tasks`; uids of pods to look at go into `wake`.
    pub fn new(client: Option<Client>, tasks: &TaskGroup, wake: mpsc::Sender<String>) -> Self {
        Self {
            kinds: client.map(|client| {
                (
                    Watches::new(client.clone(), tasks.clone(), wake.clone()),
                    Watches::new(client, tasks.clone(), wake),
                )
            }),
        }
    }

    /// Begins to watch what a pod names.
    pub fn register(&self, pod: &Pod) {
        if let Some((config_maps, secrets)) = &self.kinds {
            let names = named_objects(pod);
            config_maps.register(uid(pod), &names.0);
            secrets.register(uid(pod), &names.1);
        }
    }

    /// Ends it.
    pub fn unregister(&self, pod_uid: &str) {
        if let Some((config_maps, secrets)) = &self.kinds {
            config_maps.register(pod_uid, &BTreeSet::new());
            secrets.register(pod_uid, &BTreeSet::new());
        }
    }

    /// The secrets that a pod pulls its images with; those that are not there are left out.
    pub async fn pull_secrets(&self, pod: &Pod) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for reference in spec(pod).image_pull_secrets.iter().flatten() {
            if let Ok(Some(secret)) = self.secret(namespace(pod), &reference.name).await {
                secrets.push(secret);
            }
        }
        secrets
    }
}

fn standalone<T>() -> Result<T, EnvError> {
    Err(EnvError::Unavailable(
        "the kubelet has no API server".to_owned(),
    ))
}

#[async_trait]
impl ObjectSource for ObjectCache {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, EnvError> {
        let Some((config_maps, _)) = &self.kinds else {
            return standalone();
        };
        Ok(config_maps
            .get(namespace, name)
            .await?
            .map(|object| ConfigMap::clone(&object)))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, EnvError> {
        let Some((_, secrets)) = &self.kinds else {
            return standalone();
        };
        Ok(secrets
            .get(namespace, name)
            .await?
            .map(|object| Secret::clone(&object)))
    }
}

/// Config maps and secrets that a pod names anywhere.
fn named_objects(pod: &Pod) -> (BTreeSet<Key>, BTreeSet<Key>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    let mut config_map = |name: &str| {
        config_maps.insert((namespace(pod).to_owned(), name.to_owned()));
    };
    let mut secret = |name: &str| {
        secrets.insert((namespace(pod).to_owned(), name.to_owned()));
    };
    for reference in spec(pod).image_pull_secrets.iter().flatten() {
        secret(&reference.name);
    }
    for volume in spec(pod).volumes.iter().flatten() {
        of_volume(volume, &mut config_map, &mut secret);
    }
    for container in containers(pod).iter().chain(init_containers(pod)) {
        of_container(container, &mut config_map, &mut secret);
    }
    for ephemeral in ephemeral_containers(pod) {
        of_container(&as_container(ephemeral), &mut config_map, &mut secret);
    }
    (config_maps, secrets)
}

fn of_volume(volume: &Volume, config_map: &mut impl FnMut(&str), secret: &mut impl FnMut(&str)) {
    if let Some(source) = &volume.config_map {
        config_map(&source.name);
    }
    if let Some(name) = volume
        .secret
        .as_ref()
        .and_then(|source| source.secret_name.as_deref())
    {
        secret(name);
    }
    for source in volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten())
    {
        if let Some(source) = &source.config_map {
            config_map(&source.name);
        }
        if let Some(source) = &source.secret {
            secret(&source.name);
        }
    }
}

fn of_container(
    container: &Container,
    config_map: &mut impl FnMut(&str),
    secret: &mut impl FnMut(&str),
) {
    for source in container.env_from.iter().flatten() {
        if let Some(reference) = &source.config_map_ref {
            config_map(&reference.name);
        }
        if let Some(reference) = &source.secret_ref {
            secret(&reference.name);
        }
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        if let Some(reference) = &source.config_map_key_ref {
            config_map(&reference.name);
        }
        if let Some(reference) = &source.secret_key_ref {
            secret(&reference.name);
        }
    }
}
