//! What one decision looks at: the nodes with their pods, in order of names, and who is nominated for which node.
//!
//! The cache owns it and changes it between decisions; during one it is borrowed, so nothing is copied. What plugins need of all
//! nodes at once (who has an image, where there are pods with affinities) is counted as nodes and pods come and go.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{node_info::NodeInfo, nominator::Nominator, pod_info::PodInfo};

/// The cluster at the moment of a decision. Bounded by what the API holds.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    nodes: Vec<Arc<NodeInfo>>,
    /// Names of the nodes with pods that have affinities or anti-affinities, required or preferred.
    with_affinity: BTreeSet<String>,
    /// Names of the nodes with pods that require anti-affinity.
    with_required_anti_affinity: BTreeSet<String>,
    /// How many nodes have an image.
    image_nodes: HashMap<String, usize>,
    /// How many pods on nodes use a claim (`namespace/name`).
    claim_users: HashMap<String, usize>,
    pub(crate) nominated: Nominator,
}

impl Snapshot {
    /// All nodes.
    pub(crate) fn nodes(&self) -> &[Arc<NodeInfo>] {
        &self.nodes
    }

    /// A node's place among all.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.nodes
            .binary_search_by(|node| node.name.as_str().cmp(name))
            .ok()
    }

    /// One node.
    pub(crate) fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.position(name).map(|position| &self.nodes[position])
    }

    /// The nodes with pods that have affinities of any sort.
    pub(crate) fn with_affinity(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.with_affinity.iter().filter_map(|name| self.node(name))
    }

    /// The nodes with pods that require anti-affinity.
    pub(crate) fn with_required_anti_affinity(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.with_required_anti_affinity
            .iter()
            .filter_map(|name| self.node(name))
    }

    /// How many nodes have an image.
    pub(crate) fn nodes_with_image(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    /// How many pods on nodes use a claim.
    pub(crate) fn users_of_claim(&self, namespace: &str, name: &str) -> usize {
        let key = format!("{namespace}/{name}");
        self.claim_users.get(&key).copied().unwrap_or(0)
    }

    /// Puts a node in, or in the place of the one of its name.
    pub(super) fn put(&mut self, node: NodeInfo) {
        let place = self
            .nodes
            .binary_search_by(|other| other.name.cmp(&node.name));
        for image in node.images.keys() {
            *self.image_nodes.entry(image.clone()).or_default() += 1;
        }
        for pod in node.pods.values() {
            self.count_claims(pod, true);
        }
        self.note_affinity(&node);
        match place {
            Ok(place) => {
                let old = std::mem::replace(&mut self.nodes[place], Arc::new(node));
                self.uncount(&old);
            }
            Err(place) => self.nodes.insert(place, Arc::new(node)),
        }
    }

    /// Takes a node out.
    pub(super) fn take(&mut self, name: &str) -> Option<Arc<NodeInfo>> {
        let node = self.nodes.remove(self.position(name)?);
        self.uncount(&node);
        self.with_affinity.remove(name);
        self.with_required_anti_affinity.remove(name);
        Some(node)
    }

    /// Adds a pod to a node. Answers whether there is such a node.
    pub(super) fn add_pod(&mut self, node: &str, pod: Arc<PodInfo>) -> bool {
        let Some(position) = self.position(node) else {
            return false;
        };
        self.count_claims(&pod, true);
        let has_affinity = pod.affinity.is_some();
        Arc::make_mut(&mut self.nodes[position]).add_pod(pod);
        if has_affinity {
            let node = Arc::clone(&self.nodes[position]);
            self.note_affinity(&node);
        }
        true
    }

    /// Takes a pod from a node, if it is there.
    pub(super) fn remove_pod(&mut self, node: &str, uid: &str) -> Option<Arc<PodInfo>> {
        let position = self.position(node)?;
        let pod = Arc::make_mut(&mut self.nodes[position]).remove_pod(uid)?;
        self.count_claims(&pod, false);
        if pod.affinity.is_some() {
            let node = Arc::clone(&self.nodes[position]);
            self.note_affinity(&node);
        }
        Some(pod)
    }

    fn uncount(&mut self, node: &NodeInfo) {
        for image in node.images.keys() {
            decrement(&mut self.image_nodes, image);
        }
        for pod in node.pods.values() {
            self.count_claims(pod, false);
        }
    }

    fn count_claims(&mut self, pod: &PodInfo, up: bool) {
        for claim in pod.claim_names() {
            let key = format!("{}/{claim}", pod.namespace);
            if up {
                *self.claim_users.entry(key).or_default() += 1;
            } else {
                decrement(&mut self.claim_users, &key);
            }
        }
    }

    fn note_affinity(&mut self, node: &NodeInfo) {
        set(
            &mut self.with_affinity,
            &node.name,
            !node.pods_with_affinity.is_empty(),
        );
        set(
            &mut self.with_required_anti_affinity,
            &node.name,
            !node.pods_with_required_anti_affinity.is_empty(),
        );
    }
}

fn decrement(counts: &mut HashMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn set(names: &mut BTreeSet<String>, name: &str, member: bool) {
    if !member {
        names.remove(name);
    } else if !names.contains(name) {
        names.insert(name.to_owned());
    }
}
