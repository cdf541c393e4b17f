//! A node and what is on it: immutable once it is part of a snapshot; the cache makes a new one when something changes.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};

use crate::{
    pod_info::PodInfo,
    resource::{Resources, amount},
};

/// How many pods a node takes that does not say.
const DEFAULT_ALLOWED_PODS: i64 = 110;

/// A node with its pods.
#[derive(Clone, Debug)]
pub(crate) struct NodeInfo {
    pub(crate) name: String,
    pub(crate) node: Arc<Node>,
    /// By uid, as all maps of pods here.
    pub(crate) pods: BTreeMap<String, Arc<PodInfo>>,
    /// Those of the pods that have affinities or anti-affinities, required or preferred.
    pub(crate) pods_with_affinity: BTreeMap<String, Arc<PodInfo>>,
    /// Those of the pods that require anti-affinity.
    pub(crate) pods_with_required_anti_affinity: BTreeMap<String, Arc<PodInfo>>,
    pub(crate) requested: Resources,
    pub(crate) scoring_requested: Resources,
    pub(crate) allocatable: Resources,
    pub(crate) allowed_pods: i64,
    /// Image name, as containers name it, to size in bytes.
    pub(crate) images: BTreeMap<String, i64>,
}

impl NodeInfo {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let mut info = Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            node: Arc::clone(&node),
            pods: BTreeMap::new(),
            pods_with_affinity: BTreeMap::new(),
            pods_with_required_anti_affinity: BTreeMap::new(),
            requested: Resources::default(),
            scoring_requested: Resources::default(),
            allocatable: Resources::default(),
            allowed_pods: DEFAULT_ALLOWED_PODS,
            images: BTreeMap::new(),
        };
        info.set_node(node);
        info
    }

    /// Takes over a changed node object.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|s| s.allocatable.as_ref());
        self.allocatable = allocatable.map(Resources::from_list).unwrap_or_default();
        self.allowed_pods = allocatable
            .and_then(|list| list.get("pods"))
            .map_or(DEFAULT_ALLOWED_PODS, |quantity| amount("pods", quantity));
        self.images = status
            .and_then(|s| s.images.as_ref())
            .into_iter()
            .flatten()
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or(0);
                image
                    .names
                    .iter()
                    .flatten()
                    .map(move |name| (name.clone(), size))
            })
            .collect();
        self.node = node;
    }

    /// Adds a pod; one that is there already is replaced.
    pub(crate) fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.remove_pod(&pod.uid);
        self.requested.add(&pod.requests);
        self.scoring_requested.add(&pod.scoring_requests);
        if let Some(affinity) = &pod.affinity {
            self.pods_with_affinity
                .insert(pod.uid.clone(), Arc::clone(&pod));
            if !affinity.required_anti_affinity.is_empty() {
                self.pods_with_required_anti_affinity
                    .insert(pod.uid.clone(), Arc::clone(&pod));
            }
        }
        self.pods.insert(pod.uid.clone(), pod);
    }

    /// Removes a pod; answers it if it was there.
    pub(crate) fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.requested.subtract(&pod.requests);
        self.scoring_requested.subtract(&pod.scoring_requests);
        if pod.affinity.is_some() {
            self.pods_with_affinity.remove(uid);
            self.pods_with_required_anti_affinity.remove(uid);
        }
        Some(pod)
    }

    /// The node's taints.
    pub(crate) fn taints(&self) -> &[Taint] {
        self.spec()
            .and_then(|spec| spec.taints.as_deref())
            .unwrap_or_default()
    }

    /// Whether it was cordoned.
    pub(crate) fn is_unschedulable(&self) -> bool {
        self.spec()
            .and_then(|spec| spec.unschedulable)
            .unwrap_or(false)
    }

    /// A label's value.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.node
            .metadata
            .labels
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    fn spec(&self) -> Option<&NodeSpec> {
        self.node.spec.as_ref()
    }
}
