//! NodeUnschedulable: a cordoned node takes only pods that tolerate being on one.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerates;
use crate::{
    framework::{CycleState, EventKind, Filter, Plugin, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
};

pub(super) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::NodeAdded,
            EventKind::NodeTaints,
            EventKind::PodTolerations,
        ]
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl Filter for NodeUnschedulable {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if !node.is_unschedulable() {
            return Verdict::Success;
        }
        let cordoned = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if tolerates(pod, &cordoned) {
            Verdict::Success
        } else {
            Verdict::unresolvable("node(s) were unschedulable")
        }
    }
}
