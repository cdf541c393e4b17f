//! What the scheduler knows of the cluster: nodes with their pods, bound or assumed bound.
//!
//! A pod is *assumed* on its node from the decision on, so that the next decision counts it, until its binding is seen in a watch
//! or fails. What a decision looks at is the [`Snapshot`] in here, borrowed.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Node;

use crate::{node_info::NodeInfo, nominator::Nominator, pod_info::PodInfo, snapshot::Snapshot};

/// Bounded by what the API holds.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    snapshot: Snapshot,
    /// Pods whose node is not known (yet), by uid: they are added when the node comes.
    homeless: HashMap<String, Arc<PodInfo>>,
    /// Node of every pod counted, by uid.
    placed: HashMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    node: String,
    assumed: bool,
}

impl Cache {
    /// A node came or changed.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let info = match self.snapshot.node(&name) {
            Some(known) => {
                let mut info = (**known).clone();
                info.set_node(node);
                info
            }
            None => {
                let mut info = NodeInfo::new(node);
                let come_home: Vec<String> = self
                    .homeless
                    .keys()
                    .filter(|uid| self.placed.get(*uid).is_some_and(|p| p.node == name))
                    .cloned()
                    .collect();
                for pod in come_home.iter().filter_map(|uid| self.homeless.remove(uid)) {
                    info.add_pod(pod);
                }
                info
            }
        };
        self.snapshot.put(info);
    }

    /// A node went. Its pods are kept aside: they are still bound to that name. Answers whether it was known.
    pub(crate) fn remove_node(&mut self, name: &str) -> bool {
        let Some(info) = self.snapshot.take(name) else {
            return false;
        };
        for (uid, pod) in &info.pods {
            self.homeless.insert(uid.clone(), Arc::clone(pod));
        }
        true
    }

    /// The node, if it is known.
    pub(crate) fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.snapshot.node(name)
    }

    /// A pod is bound to `node`: seen in a watch. Answers what was known of it before.
    pub(crate) fn add_pod(&mut self, node: &str, pod: Arc<PodInfo>) -> Option<Arc<PodInfo>> {
        self.place(node, pod, false)
    }

    /// A pod will be bound to `node`: decided, not yet seen.
    pub(crate) fn assume(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.place(node, pod, true);
    }

    /// The binding failed: the pod is not there after all. A binding that has been seen is a fact and stays.
    pub(crate) fn forget(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        if self.placed.get(uid).is_some_and(|place| place.assumed) {
            self.remove_pod(uid)
        } else {
            None
        }
    }

    /// Whether a pod is counted on a node.
    pub(crate) fn is_placed(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }

    /// Whether a pod is on its node for sure, and not merely assumed.
    pub(crate) fn is_bound(&self, uid: &str) -> bool {
        self.placed.get(uid).is_some_and(|place| !place.assumed)
    }

    /// A pod went, or ended. Answers it if it had been counted.
    pub(crate) fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let place = self.placed.remove(uid)?;
        self.snapshot
            .remove_pod(&place.node, uid)
            .or_else(|| self.homeless.remove(uid))
    }

    /// Names of all nodes.
    pub(crate) fn node_names(&self) -> impl Iterator<Item = &String> {
        self.snapshot.nodes().iter().map(|node| &node.name)
    }

    /// Uids of all pods that are counted and not merely assumed: an assumed pod may not have been listed yet.
    pub(crate) fn pod_uids(&self) -> impl Iterator<Item = &String> {
        self.placed
            .iter()
            .filter(|(_, place)| !place.assumed)
            .map(|(uid, _)| uid)
    }

    fn place(&mut self, node: &str, pod: Arc<PodInfo>, assumed: bool) -> Option<Arc<PodInfo>> {
        let before = self.remove_pod(&pod.uid);
        let place = Place {
            node: node.to_owned(),
            assumed,
        };
        self.placed.insert(pod.uid.clone(), place);
        if !self.snapshot.add_pod(node, Arc::clone(&pod)) {
            self.homeless.insert(pod.uid.clone(), pod);
        }
        before
    }

    /// The cluster as it is now.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Who waits for which node.
    pub(crate) fn nominations(&mut self) -> &mut Nominator {
        &mut self.snapshot.nominated
    }
}
