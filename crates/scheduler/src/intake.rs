//! What the informers say, taken into cache, nominations and queue.

use std::{collections::HashSet, sync::Arc};

use client::{Event, Object as _, Store};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    framework::{ClusterEvent, NodeChange, PodChange},
    pod_info::PodInfo,
    scheduler::Scheduler,
};

impl Scheduler {
    /// Something happened that may help waiting pods.
    pub(crate) fn on_event(&mut self, event: &ClusterEvent) {
        self.queue.on_event(event, self.clock.now());
    }

    /// A node came, changed or went.
    pub(crate) fn on_node(&mut self, event: Event<Node>, store: &Store<Node>) {
        match event {
            Event::Resync => {
                let known: HashSet<String> = store.keys().into_iter().map(|key| key.name).collect();
                let names = self.cache.node_names();
                let gone: Vec<String> = names
                    .filter(|name| !known.contains(*name))
                    .cloned()
                    .collect();
                for name in gone {
                    self.remove_node(&name);
                }
                for node in store.list() {
                    self.set_node(node);
                }
            }
            Event::Added(node) | Event::Updated { new: node, .. } => self.set_node(node),
            Event::Deleted(node) => self.remove_node(node.name()),
        }
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let event = match self.cache.node(node.name()) {
            None => Some(ClusterEvent::NodeAdded(Arc::clone(&node))),
            Some(known) => {
                let change = NodeChange::between(&known.node, &node);
                (!change.is_empty()).then(|| ClusterEvent::NodeUpdated(Arc::clone(&node), change))
            }
        };
        self.cache.set_node(node);
        if let Some(event) = event {
            self.on_event(&event);
        }
    }

    fn remove_node(&mut self, name: &str) {
        if self.cache.remove_node(name) {
            self.on_event(&ClusterEvent::NodeRemoved);
        }
    }

    /// A pod came, changed or went.
    pub(crate) fn on_pod(&mut self, event: Event<Pod>, store: &Store<Pod>) {
        match event {
            Event::Resync => {
                let pods = store.list();
                let known: HashSet<&str> = pods.iter().map(|pod| pod.uid()).collect();
                let ours = self.cache.pod_uids().chain(self.queue.uids());
                let gone: Vec<String> = ours
                    .filter(|uid| !known.contains(uid.as_str()))
                    .cloned()
                    .collect();
                for uid in gone {
                    self.remove_pod(&uid);
                }
                for pod in pods {
                    self.set_pod(pod);
                }
            }
            Event::Added(pod) | Event::Updated { new: pod, .. } => self.set_pod(pod),
            Event::Deleted(pod) => self.remove_pod(pod.uid()),
        }
    }

    fn set_pod(&mut self, pod: Arc<Pod>) {
        let Some(spec) = &pod.spec else { return };
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.remove_pod(pod.uid());
            return;
        }
        if let Some(node) = spec.node_name.clone().filter(|node| !node.is_empty()) {
            self.set_assigned(&node, PodInfo::new(pod));
            return;
        }
        let scheduler = spec.scheduler_name.as_deref().unwrap_or_default();
        if !self.profiles.has(scheduler) || self.cache.is_placed(pod.uid()) {
            return;
        }
        if pod.is_being_deleted() {
            self.remove_pod(pod.uid());
            return;
        }
        let info = PodInfo::new(pod);
        let before = self
            .queue
            .add_or_update(Arc::clone(&info), self.clock.now());
        self.cache.nominations().follow(before.as_deref(), &info);
    }

    fn set_assigned(&mut self, node: &str, info: Arc<PodInfo>) {
        self.queue.remove(&info.uid);
        self.cache.nominations().withdraw(&info.uid);
        let was_bound = self.cache.is_bound(&info.uid);
        let before = self.cache.add_pod(node, Arc::clone(&info));
        let event = match before.filter(|_| was_bound) {
            None => ClusterEvent::AssignedPodAdded(info),
            Some(old) => {
                let change = PodChange::between(&old, &info);
                if change.is_empty() {
                    return;
                }
                ClusterEvent::AssignedPodUpdated {
                    old,
                    new: info,
                    change,
                }
            }
        };
        self.on_event(&event);
    }

    fn remove_pod(&mut self, uid: &str) {
        let waiting = self.queue.remove(uid);
        let was_nominated = self.cache.nominations().withdraw(uid);
        let placed = self.cache.remove_pod(uid);
        // Who waited for a node and went leaves room there, too.
        if let Some(gone) = placed.or(waiting.filter(|_| was_nominated)) {
            self.on_event(&ClusterEvent::AssignedPodRemoved(gone));
        }
    }

    /// A pod that was assumed on a node is not there after all.
    pub(crate) fn forget(&mut self, uid: &str) {
        if let Some(pod) = self.cache.forget(uid) {
            self.on_event(&ClusterEvent::AssignedPodRemoved(pod));
        }
    }
}
