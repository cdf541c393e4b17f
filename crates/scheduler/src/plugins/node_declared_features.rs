//! NodeDeclaredFeatures: a pod that needs a feature of the kubelet goes to nodes that declare it (KEP-5328).

use k8s_openapi::api::core::v1::PodSpec;

use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, Plugin, PreFilter, PreFilterResult, Rejection,
        Verdict,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

/// A feature's name, and whether a pod needs it.
type Feature = (&'static str, fn(&PodSpec) -> bool);

/// The features that a pod may need, each with the fields that need it.
const FEATURES: [Feature; 2] = [
    ("RestartAllContainersOnContainerExits", restarts_all),
    ("UserNamespacesHostNetworkSupport", |spec| {
        spec.host_network == Some(true) && spec.host_users == Some(false)
    }),
];

fn restarts_all(spec: &PodSpec) -> bool {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .flat_map(|container| container.restart_policy_rules.iter().flatten())
        .any(|rule| rule.action == "RestartAllContainers")
}

fn needed(pod: &PodInfo) -> impl Iterator<Item = &'static str> {
    FEATURES
        .into_iter()
        .filter(|(_, needs)| needs(pod.spec()))
        .map(|(name, _)| name)
}

pub(super) struct NodeDeclaredFeatures;

impl Plugin for NodeDeclaredFeatures {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatures"
    }
    fn events(&self) -> &'static [EventKind] {
        &[EventKind::NodeAdded, EventKind::NodeDeclaredFeatures]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        event.node().is_none_or(|node| declares_all(&node, pod))
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for NodeDeclaredFeatures {
    fn pre_filter(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        Ok(if needed(pod).next().is_none() {
            PreFilterResult::Skip
        } else {
            PreFilterResult::AllNodes
        })
    }
}

impl Filter for NodeDeclaredFeatures {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if declares_all(node, pod) {
            Verdict::Success
        } else {
            Verdict::unresolvable("node(s) didn't match Pod's required features")
        }
    }
}

fn declares_all(node: &NodeInfo, pod: &PodInfo) -> bool {
    let status = node.node.status.as_ref();
    let declared = status.and_then(|s| s.declared_features.as_deref());
    needed(pod).all(|name| declared.unwrap_or_default().iter().any(|own| own == name))
}
