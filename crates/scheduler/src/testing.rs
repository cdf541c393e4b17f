//! Pods and nodes for tests, said in few words.

use std::{collections::BTreeMap, sync::Arc};

use base::Clock;
use client::{Client, Transport, TransportError};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, Node, NodeSpec, NodeStatus, Pod, PodSchedulingGate, PodSpec,
        ResourceRequirements, Taint,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};

use crate::{
    algorithm::{Algorithm, Decision, FitError},
    cache::Cache,
    framework::{CycleState, Profile},
    listers::Listers,
    metrics::Metrics,
    plugins::{self, Arguments, Handle},
    pod_info::PodInfo,
};

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

    pub(crate) fn namespace(mut self, namespace: &str) -> Self {
        self.0.metadata.namespace = Some(namespace.to_owned());
        self
    }

    pub(crate) fn labels(mut self, labels: &[(&str, &str)]) -> Self {
        self.0.metadata.labels = Some(owned(labels));
        self
    }

    /// Asks for an extended resource, as much.
    pub(crate) fn requests_of(mut self, resource: &str, amount: &str) -> Self {
        let container = &mut self.spec().containers[0];
        container
            .resources
            .get_or_insert_default()
            .requests
            .get_or_insert_default()
            .insert(resource.to_owned(), Quantity(amount.to_owned()));
        self
    }

    /// Its status says that it waits for a node.
    pub(crate) fn nominated(mut self, node: &str) -> Self {
        self.0.status.get_or_insert_default().nominated_node_name = Some(node.to_owned());
        self
    }

    /// Has been running since so many seconds after the epoch.
    pub(crate) fn started(mut self, seconds: i64) -> Self {
        let time = jiff::Timestamp::from_second(seconds).expect("a small number");
        self.0.status.get_or_insert_default().start_time = Some(Time(time));
        self
    }

    /// Changes anything.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Pod)) -> Self {
        change(&mut self.0);
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
        self.0.metadata.labels = Some(owned(labels));
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

fn owned(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
    labels.collect()
}

/// A way to no server: whatever asks fails.
struct Nowhere;

#[async_trait::async_trait]
impl Transport for Nowhere {
    async fn send(
        &self,
        _: http::Request<bytes::Bytes>,
    ) -> Result<http::Response<client::Body>, TransportError> {
        Err(TransportError::Unsupported("a request"))
    }
}

/// What plugins are made with where there is no API server.
pub(crate) fn handle(listers: Listers) -> Handle {
    Handle {
        client: Client::new(Arc::new(Nowhere), "test"),
        listers,
        clock: Clock::system(),
        metrics: Metrics::new(&base::metrics::Registry::new()),
    }
}

/// The default profile, over these listers.
pub(crate) fn profile_over(listers: Listers) -> Profile {
    let rows = plugins::rows(&handle(listers), |_| Arguments::default());
    let rows = rows.expect("the default arguments are valid");
    Profile::with_points("default-scheduler", |_| rows.clone())
}

/// The default profile, with nothing to look up.
pub(crate) fn profile() -> Profile {
    profile_over(Listers::default())
}

/// A scheduling attempt against `cache`.
pub(crate) fn schedule_over(
    listers: Listers,
    cache: &Cache,
    pod: &PodBuilder,
) -> Result<Decision, FitError> {
    let mut state = CycleState::default();
    let profile = profile_over(listers);
    Algorithm::new(7, 0).schedule(&profile, &mut state, &pod.info(), cache.snapshot())
}

/// The same with nothing to look up.
pub(crate) fn schedule(cache: &Cache, pod: &PodBuilder) -> Result<Decision, FitError> {
    schedule_over(Listers::default(), cache, pod)
}

fn resources(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu", cpu), ("memory", memory)]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .collect()
}
