//! What preemption has decided: the node, and the pods that have to go from it. Carried out by [`crate::executor`].

use std::sync::Arc;

use crate::pod_info::PodInfo;

/// Room to be made for a pod.
#[derive(Debug)]
pub(crate) struct Preemption {
    /// The node that the pod waits for.
    pub(crate) node: String,
    /// Who has to go, the most important first; never none.
    pub(crate) victims: Vec<Arc<PodInfo>>,
    /// Pods of lower priority that waited for the same node and have to look for another.
    pub(crate) displaced: Vec<Arc<PodInfo>>,
}
