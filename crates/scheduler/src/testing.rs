//! Pods and nodes for tests, said in few words.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, Node, NodeSpec, NodeStatus, Pod, PodSchedulingGate, PodSpec,
        ResourceRequirements, Taint,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use crate::pod_info::PodInfo;

#[derive(Clone)]
pub(crate) struct PodBuilder(Pod);

/// A pod with one container that asks for nothing.
pub(crate) fn pod(name: &str) -> PodBuilder {
    PodBuilder(Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some(format!("uid-{name}")),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![Container {
                name: "c".to_owned(),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    })
}

impl PodBuilder {
    fn spec(&mut self) -> &mut PodSpec {
        self.0.spec.get_or_insert_default()
    }

    pub(crate) fn priority(mut self, priority: i32) -> Self {
        self.spec().priority = Some(priority);
        self
    }

    pub(crate) fn gate(mut self, name: &str) -> Self {
        self.spec().scheduling_gates = Some(vec![PodSchedulingGate {
            name: name.to_owned(),
        }]);
        self
    }

    pub(crate) fn requests(mut self, cpu: &str, memory: &str) -> Self {
        self.spec().containers[0].resources = Some(ResourceRequirements {
            requests: Some(resources(cpu, memory)),
            ..ResourceRequirements::default()
        });
        self
    }

    pub(crate) fn host_port(mut self, port: i32) -> Self {
        self.spec().containers[0].ports = Some(vec![ContainerPort {
            container_port: port,
            host_port: Some(port),
            ..ContainerPort::default()
        }]);
        self
    }

    pub(crate) fn on_node(mut self, name: &str) -> Self {
        self.spec().node_name = Some(name.to_owned());
        self
    }

    pub(crate) fn edit(mut self, edit: impl FnOnce(&mut PodSpec)) -> Self {
        edit(self.spec());
        self
    }

    pub(crate) fn info(&self) -> Arc<PodInfo> {
        PodInfo::new(Arc::new(self.0.clone()))
    }
}

pub(crate) struct NodeBuilder(Node);

/// A node with 8 cores and 16 GiB.
pub(crate) fn node(name: &str) -> NodeBuilder {
    let node = Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus::default()),
    };
    NodeBuilder(node).allocatable("8", "16Gi")
}

impl NodeBuilder {
    pub(crate) fn allocatable(mut self, cpu: &str, memory: &str) -> Self {
        let mut list = resources(cpu, memory);
        list.insert("pods".to_owned(), Quantity("110".to_owned()));
        self.0.status.get_or_insert_default().allocatable = Some(list);
        self
    }

    pub(crate) fn labels(mut self, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
        self.0.metadata.labels = Some(labels.collect());
        self
    }

    pub(crate) fn taint(mut self, key: &str, value: &str, effect: &str) -> Self {
        self.0
            .spec
            .get_or_insert_default()
            .taints
            .get_or_insert_default()
            .push(Taint {
                key: key.to_owned(),
                value: Some(value.to_owned()),
                effect: effect.to_owned(),
                time_added: None,
            });
        self
    }

    pub(crate) fn cordoned(mut self) -> Self {
        self.0.spec.get_or_insert_default().unschedulable = Some(true);
        self
    }

    pub(crate) fn build(self) -> Arc<Node> {
        Arc::new(self.0)
    }
}

fn resources(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu", cpu), ("memory", memory)]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .collect()
}
