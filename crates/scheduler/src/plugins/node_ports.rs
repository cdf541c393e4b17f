//! NodePorts: two pods cannot have the same host port on one node.

use crate::{
    framework::{ClusterEvent, CycleState, EventKind, Filter, Plugin, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
};

pub(super) struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }
    fn events(&self) -> &'static [EventKind] {
        &[EventKind::NodeAdded, EventKind::AssignedPodRemoved]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::AssignedPodRemoved(gone) => conflict(pod, gone),
            _ => true,
        }
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl Filter for NodePorts {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let taken =
            !pod.host_ports.is_empty() && node.pods.values().any(|other| conflict(pod, other));
        if taken {
            Verdict::unschedulable(["node(s) didn't have free ports for the requested pod ports"])
        } else {
            Verdict::Success
        }
    }
}

fn conflict(a: &PodInfo, b: &PodInfo) -> bool {
    a.host_ports
        .iter()
        .any(|port| b.host_ports.iter().any(|other| port.conflicts(other)))
}
