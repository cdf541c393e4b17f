//! Pods that the API server has bound to this node.

use std::{collections::HashMap, sync::Arc};

use client::{Event, Informer};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::pod::uid;

/// A change of what is to run on this node.
#[derive(Clone, Debug)]
pub enum PodUpdate {
    /// New or changed.
    Set(Arc<Pod>),
    /// Gone; its last known state.
    Remove(Arc<Pod>),
    /// All that this source has, has been said once.
    Synced(Source),
}

/// Where a pod comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The API server.
    Api,
    /// The directory of manifests.
    File,
}

/// Tells changes into `updates` until cancelled. A pod that was deleted and made anew under its name is two pods.
pub async fn watch_pods(
    informer: Informer<Pod>,
    updates: mpsc::Sender<PodUpdate>,
    cancel: CancellationToken,
) {
    let mut events = informer.subscribe();
    let follow = async {
        informer.has_synced().await;
        let mut known: HashMap<String, Arc<Pod>> = HashMap::new();
        let mut first = true;
        while let Some(event) = events.next().await {
            let mut changes = Vec::new();
            match event {
                Event::Resync => {
                    let now: HashMap<_, _> = informer
                        .store()
                        .list()
                        .into_iter()
                        .map(|pod| (uid(&pod).to_owned(), pod))
                        .collect();
                    let gone = known.iter().filter(|(uid, _)| !now.contains_key(*uid));
                    changes.extend(gone.map(|(_, pod)| PodUpdate::Remove(pod.clone())));
                    changes.extend(now.values().cloned().map(PodUpdate::Set));
                    known = now;
                }
                Event::Deleted(pod) => {
                    known.remove(uid(&pod));
                    changes.push(PodUpdate::Remove(pod));
                }
                event => {
                    let Some(pod) = event.object().cloned() else {
                        continue;
                    };
                    if let Event::Updated { old, .. } = &event
                        && uid(old) != uid(&pod)
                    {
                        known.remove(uid(old));
                        changes.push(PodUpdate::Remove(old.clone()));
                    }
                    known.insert(uid(&pod).to_owned(), pod.clone());
                    changes.push(PodUpdate::Set(pod));
                }
            }
            if std::mem::take(&mut first) {
                changes.push(PodUpdate::Synced(Source::Api));
            }
            for change in changes {
                if updates.send(change).await.is_err() {
                    return;
                }
            }
        }
    };
    let _ = cancel.run_until_cancelled(follow).await;
}
