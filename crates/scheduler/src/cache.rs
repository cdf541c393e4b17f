//! What the scheduler knows of the cluster: nodes with their pods, bound or assumed bound.
//!
//! A pod is *assumed* on its node from the decision on, so that the next decision counts it, until its binding is seen in a watch
//! or fails. A [`Snapshot`] is what one decision looks at: taking it copies one `Arc` a node.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{node_info::NodeInfo, pod_info::PodInfo};

/// Nodes in the order of their names. Bounded by what the API holds.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Pods whose node is not known (yet), by uid: they are added when the node comes.
    homeless: HashMap<String, (String, Arc<PodInfo>)>,
    /// Node of every pod counted, by uid.
    placed: HashMap<String, Place>,
    snapshot: Option<Snapshot>,
}

#[derive(Debug)]
struct Place {
    node: String,
    assumed: bool,
}

/// The nodes at the moment of a decision.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot(pub(crate) Arc<[Arc<NodeInfo>]>);

impl Cache {
    /// A node came or changed.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        self.snapshot = None;
        let name = node.metadata.name.clone().unwrap_or_default();
        match self.nodes.get_mut(&name) {
            Some(info) => Arc::make_mut(info).set_node(node),
            None => {
                let mut info = NodeInfo::new(node);
                let come_home: Vec<String> = self
                    .homeless
                    .iter()
                    .filter(|(_, (node, _))| *node == name)
                    .map(|(uid, _)| uid.clone())
                    .collect();
                for (_, pod) in come_home.iter().filter_map(|uid| self.homeless.remove(uid)) {
                    info.add_pod(pod);
                }
                self.nodes.insert(name, Arc::new(info));
            }
        }
    }

    /// A node went. Its pods are kept aside: they are still bound to that name.
    pub(crate) fn remove_node(&mut self, name: &str) {
        self.snapshot = None;
        if let Some(info) = self.nodes.remove(name) {
            for (uid, pod) in &info.pods {
                self.homeless
                    .insert(uid.clone(), (name.to_owned(), Arc::clone(pod)));
            }
        }
    }

    /// The node object, if it is known.
    pub(crate) fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.nodes.get(name)
    }

    /// A pod is bound to `node`: seen in a watch.
    pub(crate) fn add_pod(&mut self, node: &str, pod: Arc<Pod>) {
        self.place(node, PodInfo::new(pod), false);
    }

    /// A pod will be bound to `node`: decided, not yet seen.
    pub(crate) fn assume(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.place(node, pod, true);
    }

    /// The binding failed: the pod is not there after all. A binding that has been seen is a fact and stays.
    pub(crate) fn forget(&mut self, uid: &str) {
        if self.placed.get(uid).is_some_and(|place| place.assumed) {
            self.remove_pod(uid);
        }
    }

    /// Whether a pod is counted on a node.
    pub(crate) fn is_placed(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }

    /// A pod went, or ended. Answers it if it had been counted.
    pub(crate) fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let place = self.placed.remove(uid)?;
        self.snapshot = None;
        match self.nodes.get_mut(&place.node) {
            Some(info) => Arc::make_mut(info).remove_pod(uid),
            None => self.homeless.remove(uid).map(|(_, pod)| pod),
        }
    }

    /// Names of all nodes.
    pub(crate) fn node_names(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    /// Uids of all pods that are counted and not merely assumed: an assumed pod may not have been listed yet.
    pub(crate) fn pod_uids(&self) -> impl Iterator<Item = &String> {
        self.placed
            .iter()
            .filter(|(_, place)| !place.assumed)
            .map(|(uid, _)| uid)
    }

    fn place(&mut self, node: &str, pod: Arc<PodInfo>, assumed: bool) {
        self.remove_pod(&pod.uid);
        self.snapshot = None;
        self.placed.insert(
            pod.uid.clone(),
            Place {
                node: node.to_owned(),
                assumed,
            },
        );
        match self.nodes.get_mut(node) {
            Some(info) => Arc::make_mut(info).add_pod(pod),
            None => {
                self.homeless
                    .insert(pod.uid.clone(), (node.to_owned(), pod));
            }
        }
    }

    /// The nodes as they are now. Free when nothing has changed.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.snapshot
            .get_or_insert_with(|| Snapshot(self.nodes.values().cloned().collect()))
            .clone()
    }
}
