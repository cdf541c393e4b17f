//! NodePorts: two pods cannot have the same host port on one node.

use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, Plugin, PreFilter, PreFilterResult, Rejection,
        Verdict,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
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
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for NodePorts {
    fn pre_filter(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        Ok(if pod.host_ports.is_empty() {
            PreFilterResult::Skip
        } else {
            PreFilterResult::AllNodes
        })
    }
}

impl Filter for NodePorts {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if node.pods.values().any(|other| conflict(pod, other)) {
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
