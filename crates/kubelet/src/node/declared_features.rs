//! What this kubelet says it can do beyond what all can (`node.status.declaredFeatures`, KEP-5328): the scheduler and the API server's
//! admission go by it, and so does the kubelet's own.

use k8s_openapi::api::core::v1::Pod;

use crate::pod::{containers, host_network, init_containers};

/// The features, by upstream's names, in order.
pub(super) const DECLARED: &[&str] = &[
    "ExtendWebSocketsToKubelet",
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
];

/// A feature's name, and whether a pod needs it to be started at all.
type Feature = (&'static str, fn(&Pod) -> bool);

const NEEDED: &[Feature] = &[
    ("RestartAllContainersOnContainerExits", |pod| {
        init_containers(pod)
            .iter()
            .chain(containers(pod))
            .flat_map(|container| container.restart_policy_rules.iter().flatten())
            .any(|rule| rule.action == "RestartAllContainers")
    }),
    ("UserNamespacesHostNetworkSupport", |pod| {
        host_network(pod) && crate::userns::own_users(pod)
    }),
];

/// What the pod needs and this node does not have.
pub(crate) fn missing_features(pod: &Pod) -> Vec<&'static str> {
    NEEDED
        .iter()
        .filter(|(name, needs)| !DECLARED.contains(name) && needs(pod))
        .map(|(name, _)| *name)
        .collect()
}
