//! All pod workers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base::TaskGroup;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, watch};

use super::{
    KillRequest, Stage, WorkerContext,
    worker::{Order, PodWorker, View, WorkerEnds},
};
use crate::{
    observed::ObservedPod,
    pod::{is_static, name, namespace, uid},
};

/// One worker, from outside.
struct Handle {
    orders: watch::Sender<Order>,
    wake: Arc<Notify>,
    view: Arc<Mutex<View>>,
    stage: watch::Receiver<Stage>,
}

/// The workers of all pods of this node. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct PodWorkers {
    context: Arc<WorkerContext>,
    tasks: TaskGroup,
    handles: Arc<Mutex<HashMap<String, Handle>>>,
}

impl PodWorkers {
    /// Workers run in `tasks`.
    pub fn new(context: Arc<WorkerContext>, tasks: TaskGroup) -> Self {
        Self {
            context,
            tasks,
            handles: Arc::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a pod has a worker.
    pub fn knows(&self, pod_uid: &str) -> bool {
        self.lock().contains_key(pod_uid)
    }

    /// The newest state of a pod, new or known.
    pub fn update(&self, pod: Arc<Pod>) {
        self.order(&pod.clone(), |order| order.pod = pod);
    }

    /// The pod is to be stopped although its object does not say so.
    pub fn kill(&self, pod: &Arc<Pod>, request: KillRequest) {
        self.order(pod, |order| {
            order.kill.get_or_insert(request);
        });
    }

    /// The pod's object is gone: it is stopped, and then forgotten. `pod` is its last known state.
    pub fn remove(&self, pod: &Arc<Pod>) {
        self.order(pod, |order| order.removed = true);
    }

    fn order(&self, pod: &Arc<Pod>, change: impl FnOnce(&mut Order)) {
        let mut handles = self.lock();
        if let Some(handle) = handles.get(uid(pod)) {
            handle.orders.send_modify(change);
            return;
        }
        let mut order = Order {
            pod: pod.clone(),
            ..Order::default()
        };
        change(&mut order);
        let (sender, orders) = watch::channel(order);
        let (stage_sender, stage) = watch::channel(Stage::default());
        let predecessor = is_static(pod).then(|| predecessor(&handles, pod)).flatten();
        let handle = Handle {
            orders: sender,
            wake: Arc::default(),
            view: Arc::default(),
            stage,
        };
        let cancel = self.tasks.token().clone();
        let worker = PodWorker::new(
            self.context.clone(),
            WorkerEnds {
                orders,
                wake: handle.wake.clone(),
                view: handle.view.clone(),
                stage: stage_sender,
                predecessor,
                cancel: cancel.clone(),
            },
        );
        handles.insert(uid(pod).to_owned(), handle);
        let (all, id) = (self.handles.clone(), uid(pod).to_owned());
        self.tasks.spawn("pod-worker", async move {
            worker.run().await;
            if !cancel.is_cancelled() {
                all.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
            }
        });
    }

    /// Lets a worker look at its pod.
    pub fn wake(&self, pod_uid: &str) {
        if let Some(handle) = self.lock().get(pod_uid) {
            handle.wake.notify_one();
        }
    }

    /// Lets all workers look.
    pub fn wake_all(&self) {
        for handle in self.lock().values() {
            handle.wake.notify_one();
        }
    }

    /// All pods, as the workers were told them.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.lock()
            .values()
            .map(|handle| handle.orders.borrow().pod.clone())
            .collect()
    }

    /// One pod.
    pub fn pod(&self, pod_uid: &str) -> Option<Arc<Pod>> {
        self.lock()
            .get(pod_uid)
            .map(|handle| handle.orders.borrow().pod.clone())
    }

    /// How far a pod is.
    pub fn stage(&self, pod_uid: &str) -> Option<Stage> {
        self.lock()
            .get(pod_uid)
            .map(|handle| *handle.stage.borrow())
    }

    /// What the worker saw last in the runtime.
    pub fn observed(&self, pod_uid: &str) -> Option<ObservedPod> {
        let handles = self.lock();
        let view = handles
            .get(pod_uid)?
            .view
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(view.observed.clone())
    }
}

/// The static pod that bears the same name and is on its way out: a manifest that changed. Its successor waits for its end.
fn predecessor(handles: &HashMap<String, Handle>, pod: &Pod) -> Option<watch::Receiver<Stage>> {
    let same = |other: &Pod| {
        name(other) == name(pod) && namespace(other) == namespace(pod) && is_static(other)
    };
    let handle = handles
        .values()
        .find(|handle| same(&handle.orders.borrow().pod))?;
    Some(handle.stage.clone())
}
