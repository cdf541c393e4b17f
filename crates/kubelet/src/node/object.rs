//! The Node object as this kubelet makes it. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
        NodeFeatures, NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, Taint,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    conditions::{Pressure, conditions},
    declared_features::DECLARED,
    facts::{MachineFacts, resources},
};
use crate::config::KubeletConfig;

/// Images told at most, the largest first.
const MAX_IMAGES: usize = 50;
/// Names of one image told at most.
const MAX_NAMES: usize = 5;

/// What the status is made from.
#[derive(Clone, Debug, Default)]
pub struct NodeInputs {
    /// Name and version of the runtime: `ironclad://0.1.0`.
    pub runtime_version: String,
    /// Images that the node has.
    pub images: Vec<cri::v1::Image>,
    /// Handlers that the runtime has.
    pub handlers: Vec<cri::v1::RuntimeHandler>,
    /// Whether the runtime heeds `supplementalGroupsPolicy`.
    pub supplemental_groups_policy: bool,
    /// Shortages.
    pub pressure: Pressure,
    /// Why the node is not ready, if it is not.
    pub not_ready: Option<String>,
}

/// The object to register.
pub fn initial_node(
    config: &KubeletConfig,
    facts: &MachineFacts,
    inputs: &NodeInputs,
    now: Timestamp,
) -> Node {
    let mut labels = config.node_labels.clone();
    let arch = &facts.info.architecture;
    for (key, value) in [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch.as_str()),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let mut taints: Vec<Taint> = config.register_with_taints.clone();
    let not_ready = "node.kubernetes.io/not-ready";
    if !taints.iter().any(|taint| taint.key == not_ready) && inputs.not_ready.is_some() {
        // As the TaintNodesByCondition admission does, for a node that starts unready.
        taints.push(Taint {
            key: not_ready.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
    }
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels),
            annotations: Some(
                [(
                    "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                    "true".to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: Some(taints).filter(|taints| !taints.is_empty()),
            ..NodeSpec::default()
        }),
        status: Some(node_status(
            config,
            facts,
            inputs,
            &NodeStatus::default(),
            now,
        )),
    }
}

/// The status now; `previous` gives times of transition, and what belongs to others.
pub fn node_status(
    config: &KubeletConfig,
    facts: &MachineFacts,
    inputs: &NodeInputs,
    previous: &NodeStatus,
    now: Timestamp,
) -> NodeStatus {
    let (capacity, allocatable) = resources(config, facts);
    let before: &[NodeCondition] = previous.conditions.as_deref().unwrap_or_default();
    let mut conditions = conditions(before, inputs.pressure, inputs.not_ready.as_deref(), now);
    let ours: Vec<_> = conditions
        .iter()
        .map(|condition| condition.type_.clone())
        .collect();
    conditions.extend(
        before
            .iter()
            .filter(|condition| !ours.contains(&condition.type_))
            .cloned(),
    );
    let mut info = facts.info.clone();
    info.container_runtime_version
        .clone_from(&inputs.runtime_version);
    NodeStatus {
        addresses: Some(addresses(config)),
        capacity: Some(capacity),
        allocatable: Some(allocatable),
        conditions: Some(conditions),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(config.port),
            }),
        }),
        node_info: Some(info),
        images: Some(images(&inputs.images)),
        runtime_handlers: Some(handlers(&inputs.handlers)).filter(|list| !list.is_empty()),
        features: Some(NodeFeatures {
            supplemental_groups_policy: Some(inputs.supplemental_groups_policy),
        }),
        declared_features: Some(DECLARED.iter().map(ToString::to_string).collect()),
        volumes_attached: previous.volumes_attached.clone(),
        ..NodeStatus::default()
    }
}

fn addresses(config: &KubeletConfig) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    let ips = config
        .node_ips
        .iter()
        .map(|ip: &IpAddr| address("InternalIP", ip.to_string()));
    ips.chain([address("Hostname", config.node_name.clone())])
        .collect()
}

fn images(images: &[cri::v1::Image]) -> Vec<ContainerImage> {
    let mut list: Vec<_> = images
        .iter()
        .map(|image| ContainerImage {
            names: Some(
                image
                    .repo_digests
                    .iter()
                    .take(MAX_NAMES)
                    .chain(image.repo_tags.iter().take(MAX_NAMES))
                    .cloned()
                    .collect(),
            ),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect();
    list.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
    list.truncate(MAX_IMAGES);
    list
}

fn handlers(handlers: &[cri::v1::RuntimeHandler]) -> Vec<NodeRuntimeHandler> {
    let make = |handler: &cri::v1::RuntimeHandler| NodeRuntimeHandler {
        name: Some(handler.name.clone()),
        features: handler
            .features
            .as_ref()
            .map(|features| NodeRuntimeHandlerFeatures {
                recursive_read_only_mounts: Some(features.recursive_read_only_mounts),
                user_namespaces: Some(features.user_namespaces),
            }),
    };
    handlers.iter().map(make).collect()
}
