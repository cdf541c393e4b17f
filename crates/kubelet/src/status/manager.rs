//! Keeps each pod's status and brings it to the API server.
//!
//! Statuses are kept by pod uid until the pod's worker is gone; what could not be delivered is tried again, so nothing is lost while
//! the server is away: the newest status is what counts, and it is here. Once a pod that is being deleted has stopped, the manager
//! ends its deletion in the API.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use client::{ApiError, Client, DeleteOptionsExt as _, Patch};
use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::allocation::{IN_PROGRESS, PENDING};
use crate::pod::{is_static, name, namespace, uid};

/// How long a status that could not be delivered waits for the next try.
const RETRY: Duration = Duration::from_secs(1);
/// Statuses delivered at the same time.
const PARALLEL: usize = 16;

/// The manager. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct StatusManager {
    shared: Arc<Shared>,
}

struct Shared {
    client: Option<Client>,
    entries: Mutex<HashMap<String, Entry>>,
    /// Uids of mirror pods by those of their static pods. Bounded by the manifests.
    mirrors: Mutex<HashMap<String, String>>,
    changed: Notify,
}

#[derive(Clone, Debug)]
struct Entry {
    namespace: String,
    name: String,
    /// The uid in the API: that of the mirror pod for a static pod.
    api_uid: String,
    status: PodStatus,
    version: u64,
    delivered: u64,
    /// The pod has stopped and is being deleted: end its deletion.
    delete: bool,
    is_static: bool,
}

impl StatusManager {
    /// Delivers to this server; without one it only remembers.
    pub fn new(client: Option<Client>) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                entries: Mutex::default(),
                mirrors: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// The last status of a pod.
    pub fn get(&self, pod_uid: &str) -> Option<PodStatus> {
        self.lock().get(pod_uid).map(|entry| entry.status.clone())
    }

    /// Takes a new status; equal ones cost nothing. Says whether it differs.
    pub fn set(&self, pod: &Pod, status: PodStatus) -> bool {
        let mirror = self.mirrors().get(uid(pod)).cloned();
        let changed = {
            let mut entries = self.lock();
            let entry = entries.entry(uid(pod).to_owned()).or_insert_with(|| Entry {
                namespace: namespace(pod).to_owned(),
                name: name(pod).to_owned(),
                api_uid: if is_static(pod) {
                    mirror.unwrap_or_default()
                } else {
                    uid(pod).to_owned()
                },
                // Nothing needs to be delivered if the API has this very status already.
                status: pod.status.clone().unwrap_or_default(),
                version: 0,
                delivered: 0,
                delete: false,
                is_static: is_static(pod),
            });
            let changed = entry.status != status;
            if changed {
                entry.status = status;
                entry.version += 1;
            }
            changed
        };
        if changed {
            self.shared.changed.notify_one();
        }
        changed
    }

    /// The pod has stopped for good: if it is being deleted, its deletion is to be ended.
    pub fn finish_deletion(&self, pod: &Pod) {
        if let Some(entry) = self.lock().get_mut(uid(pod)) {
            entry.delete = true;
            entry.version += 1;
        }
        self.shared.changed.notify_one();
    }

    /// A static pod's mirror is there (again): its status is to be delivered to it.
    pub fn set_mirror(&self, static_uid: &str, mirror: &Pod) {
        let known = self
            .mirrors()
            .insert(static_uid.to_owned(), uid(mirror).to_owned());
        if known.as_deref() == Some(uid(mirror)) {
            return;
        }
        if let Some(entry) = self.lock().get_mut(static_uid) {
            uid(mirror).clone_into(&mut entry.api_uid);
            // The mirror knows nothing yet.
            entry.version += 1;
        }
        self.shared.changed.notify_one();
    }

    fn mirrors(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.shared
            .mirrors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a pod.
    pub fn remove(&self, pod_uid: &str) {
        self.lock().remove(pod_uid);
        self.mirrors().remove(pod_uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut failed = false;
        loop {
            let wait = async {
                if failed {
                    // Something is left to be delivered; what is new need not wait for it.
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = self.shared.changed.notified() => {}
                    }
                } else {
                    self.shared.changed.notified().await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = wait => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                outcome = self.deliver_all() => failed = !outcome,
            }
        }
    }

    /// Delivers what is pending; says whether all went well.
    async fn deliver_all(&self) -> bool {
        let Some(client) = &self.shared.client else {
            return true;
        };
        let pending: BTreeSet<_> = self
            .lock()
            .iter()
            .filter(|(_, entry)| entry.delivered != entry.version && !entry.api_uid.is_empty())
            .map(|(uid, _)| uid.clone())
            .collect();
        let pending: Vec<_> = pending.into_iter().collect();
        let mut all_well = true;
        for chunk in pending.chunks(PARALLEL) {
            let work = chunk.iter().map(|uid| self.deliver(client, uid));
            all_well &= futures_util::future::join_all(work)
                .await
                .into_iter()
                .all(|well| well);
        }
        all_well
    }

    async fn deliver(&self, client: &Client, pod_uid: &str) -> bool {
        let Some(entry) = self.lock().get(pod_uid).cloned() else {
            return true;
        };
        let api = client.api::<Pod>(entry.namespace.as_str());
        let patch = patch_body(&entry.api_uid, &entry.status);
        let outcome = match api
            .patch_status(&entry.name, &Patch::Strategic(patch))
            .await
        {
            Ok(stored) => {
                // The deletion may have been asked for after the pod had stopped by itself.
                if entry.delete && stored.metadata.deletion_timestamp.is_some() && !entry.is_static
                {
                    let options = DeleteOptions::grace_period(0).with_uid(&entry.api_uid);
                    api.delete(&entry.name, &options).await
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {}
            // The pod of that uid is gone: there is nobody to tell.
            Err(error)
                if error.is_not_found() || error.is_conflict() || error.is_of_another_uid() =>
            {
                debug!(pod = entry.name, namespace = entry.namespace, %error, "pod is gone from the API");
            }
            Err(error) => {
                let retry = is_retryable(&error);
                warn!(pod = entry.name, namespace = entry.namespace, %error, retry, "cannot deliver pod status");
                if retry {
                    return false;
                }
            }
        }
        if let Some(current) = self.lock().get_mut(pod_uid) {
            current.delivered = current.delivered.max(entry.version);
        }
        true
    }
}

/// An answer that says the status itself is wrong will not get better by repetition.
fn is_retryable(error: &ApiError) -> bool {
    !error.is_invalid()
}

/// A strategic merge patch that sets all fields of the kubelet and clears those it has no value for. The uid makes the server refuse
/// it for another pod of that name. Conditions merge by type, so those of others stay.
fn patch_body(api_uid: &str, status: &PodStatus) -> Value {
    let mut status_json = serde_json::to_value(status).unwrap_or_else(|_| json!({}));
    if let Some(fields) = status_json.as_object_mut() {
        for field in ["message", "reason", "podIP", "hostIP"] {
            fields.entry(field).or_insert(Value::Null);
        }
        for list in ["podIPs", "hostIPs"] {
            if let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut) {
                // Merged by address otherwise, and an old address would stay.
                items.insert(0, json!({"$patch": "replace"}));
            }
        }
        if let Some(conditions) = fields.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.retain(|condition| {
                condition["type"]
                    .as_str()
                    .is_some_and(|type_| super::conditions::OWNED.contains(&type_))
            });
            for condition in conditions.iter_mut() {
                if let Some(condition) = condition.as_object_mut() {
                    condition.entry("reason").or_insert(Value::Null);
                    condition.entry("message").or_insert(Value::Null);
                }
            }
            // What is over is to be gone from the API, too.
            for over in [PENDING, IN_PROGRESS] {
                if conditions.iter().all(|condition| condition["type"] != over) {
                    conditions.push(json!({"$patch": "delete", "type": over}));
                }
            }
        }
    }
    json!({"metadata": {"uid": api_uid}, "status": status_json})
}
