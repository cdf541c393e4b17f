//! The pod lifecycle event generator: wakes the workers of pods whose containers changed.
//!
//! The runtime's event stream tells at once; a slow relist finds what a lost event hid, and pods that nobody knows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cri::RuntimeService;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    observed::label,
    pod_worker::PodWorkers,
    runtime_view::{RuntimePod, RuntimeView},
};

/// The relist's period, as upstream's with the event stream.
const RELIST: Duration = Duration::from_secs(60);
const RESUBSCRIBE: Duration = Duration::from_secs(1);

/// Wakes workers until cancelled.
pub async fn run(
    runtime: Arc<dyn RuntimeService>,
    view: RuntimeView,
    workers: PodWorkers,
    cancel: CancellationToken,
) {
    let events = follow_events(runtime, workers.clone());
    let relist = relist(view, workers);
    let both = async { tokio::join!(events, relist) };
    let _ = cancel.run_until_cancelled(both).await;
}

async fn follow_events(runtime: Arc<dyn RuntimeService>, workers: PodWorkers) {
    loop {
        match runtime.container_events().await {
            Ok(mut events) => {
                // What happened before the subscription is seen by looking.
                workers.wake_all();
                while let Some(event) = events.recv().await {
                    let of_sandbox = event
                        .pod_sandbox_status
                        .and_then(|sandbox| sandbox.metadata)
                        .map(|meta| meta.uid);
                    let of_container = || {
                        event
                            .containers_statuses
                            .iter()
                            .find_map(|status| status.labels.get(label::POD_UID).cloned())
                    };
                    match of_sandbox
                        .filter(|uid| !uid.is_empty())
                        .or_else(of_container)
                    {
                        Some(uid) => workers.wake(&uid),
                        None => workers.wake_all(),
                    }
                }
            }
            Err(error) => warn!(%error, "cannot subscribe to the runtime's events"),
        }
        tokio::time::sleep(RESUBSCRIBE).await;
    }
}

async fn relist(view: RuntimeView, workers: PodWorkers) {
    let mut before: HashMap<String, RuntimePod> = HashMap::new();
    loop {
        match view.pods().await {
            Ok(now) => {
                for (uid, pod) in &now {
                    if before.get(uid) != Some(pod) {
                        workers.wake(uid);
                    }
                }
                for uid in before.keys().filter(|uid| !now.contains_key(*uid)) {
                    workers.wake(uid);
                }
                before = now;
            }
            Err(error) => warn!(%error, "cannot list the runtime's pods"),
        }
        tokio::time::sleep(RELIST).await;
    }
}
