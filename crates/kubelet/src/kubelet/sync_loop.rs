//! What decides about pods as they come: sources tell of them, and each is admitted, taken up by its worker, resized, mirrored or stopped.
//!
//! One task, so that two pods are never admitted for the same room.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Inner;
use crate::{
    admission::{self, Refusal},
    allocation::order_of_resizes,
    events::EventKind,
    gc::remove_orphans,
    pod::{is_mirror, is_static, uid},
    pod_worker::KillRequest,
    sources::{MirrorPods, PodUpdate, Source},
};

/// Static pods and their mirrors, by uid.
#[derive(Clone, Debug, Default)]
pub(super) struct MirrorWork {
    originals: HashMap<String, Arc<Pod>>,
    mirrors: HashMap<String, Arc<Pod>>,
}

/// Keeps mirrors as they should be, as often as that changes.
pub(super) async fn keep_mirrors(pods: MirrorPods, mut work: watch::Receiver<MirrorWork>) {
    const RETRY: Duration = Duration::from_secs(2);
    loop {
        let now = work.borrow_and_update().clone();
        let originals: Vec<_> = now.originals.into_values().collect();
        let mirrors: Vec<_> = now.mirrors.into_values().collect();
        if pods.reconcile(&originals, &mirrors).await {
            if work.changed().await.is_err() {
                return;
            }
        } else {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Takes in what sources say.
pub(super) struct SyncLoop {
    pub(super) inner: Arc<Inner>,
    pub(super) receiver: mpsc::Receiver<PodUpdate>,
    pub(super) wakes: mpsc::Receiver<String>,
    /// Sources that have not said everything once.
    pub(super) awaited: HashSet<Source>,
    pub(super) mirrors: watch::Sender<MirrorWork>,
    /// Uids of pods whose resize waits until it fits.
    pub(super) resizes: BTreeSet<String>,
}

/// How often a resize that waits is looked at, though no pod has changed.
const RETRY_RESIZES: Duration = Duration::from_secs(30);
/// How long other pods may wait while the node is asked for.
const ASK_FOR_NODE: Duration = Duration::from_secs(2);

impl SyncLoop {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(update) = self.receiver.recv() => self.take_in(update).await,
                Some(uid) = self.wakes.recv() => self.inner.workers.wake(&uid),
                () = tokio::time::sleep(RETRY_RESIZES), if !self.resizes.is_empty() => {
                    self.judge_resizes(None);
                }
            }
        }
    }

    async fn take_in(&mut self, update: PodUpdate) {
        match update {
            PodUpdate::Set(pod) => self.set(pod).await,
            PodUpdate::Remove(pod) => self.remove(&pod),
            PodUpdate::Synced(source) => {
                self.awaited.remove(&source);
                if self.awaited.is_empty() {
                    self.stop_orphans().await;
                }
            }
        }
    }

    async fn set(&mut self, pod: Arc<Pod>) {
        if is_mirror(&pod) {
            // An image of what runs already.
            self.mirrors
                .send_modify(|work| drop(work.mirrors.insert(uid(&pod).to_owned(), pod)));
            return;
        }
        if is_static(&pod) {
            self.mirrors
                .send_modify(|work| drop(work.originals.insert(uid(&pod).to_owned(), pod.clone())));
        }
        if self.inner.workers.knows(uid(&pod)) {
            // Judged first, so that no status tells of the new spec as if nothing were to be done.
            self.judge_resizes(Some(&pod));
            self.inner.workers.update(pod);
        } else {
            self.admit(pod).await;
        }
    }

    /// Looks at the resizes that wait, and at that of a pod whose newest state the workers do not have yet.
    fn judge_resizes(&mut self, newest: Option<&Arc<Pod>>) {
        let allocation = &self.inner.context.allocation;
        if let Some(pod) = newest {
            if allocation.wants_resize(pod) {
                self.resizes.insert(uid(pod).to_owned());
            } else if self.resizes.remove(uid(pod)) {
                allocation.clear_pending(uid(pod));
            }
        }
        if self.resizes.is_empty() {
            return;
        }
        let mut pods = self.active_pods();
        if let Some(pod) = newest {
            pods.retain(|other| uid(other) != uid(pod));
            pods.push(pod.clone());
        }
        let node = self.inner.node.borrow().clone();
        self.resizes
            .retain(|waiting| pods.iter().any(|pod| uid(pod) == waiting));
        for pod in order_of_resizes(allocation, &pods, &self.resizes) {
            let others: Vec<_> = pods
                .iter()
                .filter(|other| uid(other) != uid(&pod))
                .map(|other| allocation.allocated(other))
                .collect();
            let (config, facts) = (&self.inner.config, &self.inner.context.node);
            let changed = allocation.judge(&pod, |pod| {
                admission::admit(pod, &others, config, facts, node.as_deref())
            });
            if !allocation.wants_resize(&pod) {
                self.resizes.remove(uid(&pod));
            }
            if changed {
                self.inner.workers.wake(uid(&pod));
            }
        }
    }

    /// Pods that have not ended.
    fn active_pods(&self) -> Vec<Arc<Pod>> {
        let mut pods = self.inner.workers.pods();
        pods.retain(|pod| {
            let status = self
                .inner
                .context
                .status
                .get(uid(pod))
                .or_else(|| pod.status.clone());
            let phase = status.and_then(|status| status.phase);
            !matches!(phase.as_deref(), Some("Succeeded" | "Failed"))
        });
        pods
    }

    fn remove(&mut self, pod: &Arc<Pod>) {
        if is_mirror(pod) {
            self.mirrors
                .send_modify(|work| drop(work.mirrors.remove(uid(pod))));
            return;
        }
        if is_static(pod) {
            self.mirrors
                .send_modify(|work| drop(work.originals.remove(uid(pod))));
        }
        if self.inner.workers.knows(uid(pod)) {
            self.inner.workers.remove(pod);
        }
        self.resizes.remove(uid(pod));
        self.judge_resizes(None);
    }

    /// A pod that is new to this kubelet: it may not fit, unless it runs already.
    async fn admit(&mut self, pod: Arc<Pod>) {
        let workers = &self.inner.workers;
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed"))
            || pod.metadata.deletion_timestamp.is_some()
        {
            workers.update(pod);
            return;
        }
        let allocation = &self.inner.context.allocation;
        let others: Vec<_> = self
            .active_pods()
            .iter()
            .map(|other| allocation.allocated(other))
            .collect();
        // A pod that has started was admitted before: a restarted kubelet does not judge it anew.
        let started = phase == Some("Running")
            || pod
                .status
                .as_ref()
                .is_some_and(|status| status.start_time.is_some());
        let judge = |node: Option<Arc<Node>>| {
            let (config, facts) = (&self.inner.config, &self.inner.context.node);
            admission::admit(&pod, &others, config, facts, node.as_deref())
        };
        let mut verdict = Ok(());
        if !started {
            verdict = judge(self.inner.node.borrow().clone());
            // The scheduler may have seen a later state of the node than this kubelet.
            if verdict.as_ref().is_err_and(Refusal::is_about_the_node)
                && let Some(node) = self.current_node().await
            {
                verdict = judge(Some(node));
            }
        }
        match verdict {
            Ok(()) => {
                allocation.add(&pod);
                // What an earlier kubelet had granted may be less than what is asked for now.
                self.judge_resizes(Some(&pod));
                self.inner.workers.update(pod);
            }
            Err(refusal) => {
                self.inner.context.events.pod(
                    &pod,
                    EventKind::Warning,
                    refusal.reason,
                    refusal.message.clone(),
                );
                let message = format!("Pod was rejected: {}", refusal.message);
                workers.kill(
                    &pod,
                    KillRequest {
                        grace_seconds: Some(0),
                        verdict: Some(("Failed".to_owned(), refusal.reason.to_owned(), message)),
                    },
                );
            }
        }
    }

    /// The node as the API server has it now; `None` if it does not say so in time.
    async fn current_node(&self) -> Option<Arc<Node>> {
        let nodes = self.inner.deps.client.as_ref()?.api::<Node>("");
        let asked = nodes.get_opt(&self.inner.config.node_name);
        let answer = tokio::time::timeout(ASK_FOR_NODE, asked).await;
        answer.ok()?.ok()?.map(Arc::new)
    }

    /// Pods that the runtime runs and no source knows are stopped. Only asked once all sources have spoken.
    async fn stop_orphans(&self) {
        let pods = match self.inner.context.view.pods().await {
            Ok(pods) => pods,
            Err(error) => {
                warn!(%error, "cannot look for orphaned pods");
                return;
            }
        };
        let workers = self.inner.workers.pods();
        let known = workers
            .iter()
            .map(|pod| uid(pod).to_owned())
            .chain(pods.keys().cloned())
            .collect();
        remove_orphans(&self.inner.context.paths, &known);
        self.inner.context.users.release_orphans();
        for (pod_uid, orphan) in pods {
            if pod_uid.is_empty() || self.inner.workers.knows(&pod_uid) {
                continue;
            }
            info!(
                pod = orphan.name,
                namespace = orphan.namespace,
                uid = pod_uid,
                "stopping orphaned pod"
            );
            let mut pod = Pod::default();
            pod.metadata.name = Some(orphan.name);
            pod.metadata.namespace = Some(orphan.namespace);
            pod.metadata.uid = Some(pod_uid);
            self.inner.workers.remove(&Arc::new(pod));
        }
    }
}
