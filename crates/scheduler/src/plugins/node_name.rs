//! NodeName: a pod that names its node goes there or nowhere.

use crate::{
    framework::{CycleState, EventKind, Filter, Plugin, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
};

pub(super) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }
    fn events(&self) -> &'static [EventKind] {
        &[EventKind::NodeAdded]
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl Filter for NodeName {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        match pod.spec().node_name.as_deref() {
            None | Some("") => Verdict::Success,
            Some(wanted) if wanted == node.name => Verdict::Success,
            Some(_) => Verdict::unresolvable("node(s) didn't match the requested node name"),
        }
    }
}
