//! Registers the node and keeps its status true.

use std::{sync::Arc, time::Duration};

use base::Clock;
use client::{ApiError, Client, Event, Informer, Patch};
use cri::{ImageService, RuntimeService, v1};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    conditions::Pressure,
    facts::MachineFacts,
    lease,
    object::{NodeInputs, initial_node, node_status},
};
use crate::config::KubeletConfig;

const RETRY: Duration = Duration::from_millis(200);
const MAX_RETRY: Duration = Duration::from_secs(7);

/// Tells the API what this node is and how it does.
pub struct NodeReporter {
    /// Configuration.
    pub config: Arc<KubeletConfig>,
    /// The machine.
    pub facts: MachineFacts,
    /// The API server.
    pub client: Client,
    /// The Node object of this node, watched: others write into it, too.
    pub own: Informer<Node>,
    /// The runtime.
    pub runtime: Arc<dyn RuntimeService>,
    /// Its images.
    pub images: Arc<dyn ImageService>,
    /// Time.
    pub clock: Clock,
    /// Shortages, from the eviction manager.
    pub pressure: watch::Receiver<Pressure>,
    /// Labels and the like of the Node object, for those who ask.
    pub node: watch::Sender<Option<Arc<Node>>>,
}

impl NodeReporter {
    /// Registers, then reports until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let work = Box::pin(async {
            // What the node's own configuration says holds until somebody hands out another.
            if let Some(pod_cidr) = self.config.pod_cidr.clone() {
                self.tell_runtime(pod_cidr).await;
            }
            self.register().await;
            let name = self.config.node_name.clone();
            let seconds = self.config.node_lease_duration_seconds;
            let lease = lease::renew(self.client.clone(), name, seconds, self.clock.clone());
            tokio::join!(lease, self.report())
        });
        let _ = cancel.run_until_cancelled(work).await;
    }

    async fn inputs(&self) -> NodeInputs {
        let version = self
            .runtime
            .version(v1::VersionRequest::default())
            .await
            .unwrap_or_default();
        let status = self.runtime.status(v1::StatusRequest::default()).await;
        let images = self
            .images
            .list_images(v1::ListImagesRequest::default())
            .await
            .unwrap_or_default()
            .images;
        let (not_ready, handlers, features) = match status {
            Ok(status) => (
                not_ready(status.status.unwrap_or_default()),
                status.runtime_handlers,
                status.features.unwrap_or_default(),
            ),
            Err(error) => (
                Some(format!("container runtime is down: {}", error.message())),
                Vec::new(),
                Default::default(),
            ),
        };
        NodeInputs {
            runtime_version: format!("{}://{}", version.runtime_name, version.runtime_version),
            images,
            handlers,
            supplemental_groups_policy: features.supplemental_groups_policy,
            pressure: *self.pressure.borrow(),
            not_ready,
        }
    }

    async fn register(&self) {
        if !self.config.register_node {
            return;
        }
        let mut pause = RETRY;
        loop {
            match self.try_register().await {
                Ok(node) => {
                    info!(node = self.config.node_name, "node registered");
                    self.took_in(&node).await;
                    return;
                }
                Err(error) => {
                    warn!(node = self.config.node_name, %error, "cannot register the node")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_RETRY);
        }
    }

    async fn try_register(&self) -> Result<Node, ApiError> {
        let api = self.client.api::<Node>("");
        let wanted = initial_node(
            &self.config,
            &self.facts,
            &self.inputs().await,
            self.clock.now(),
        );
        match api.create(&wanted).await {
            Err(error) if error.is_already_exists() => {}
            outcome => return outcome,
        }
        // It was there before: labels that the kubelet owns are brought up to date, the rest is the user's.
        let known = api.get(&self.config.node_name).await?;
        let missing = wanted.metadata.labels.iter().flatten().any(|(key, value)| {
            known
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(key))
                != Some(value)
        });
        if !missing {
            return Ok(known);
        }
        let patch = json!({"metadata": {"labels": wanted.metadata.labels}});
        api.patch(&self.config.node_name, &Patch::Strategic(patch))
            .await
    }

    async fn tell_runtime(&self, pod_cidr: String) {
        let network_config = Some(v1::NetworkConfig { pod_cidr });
        let runtime_config = Some(v1::RuntimeConfig { network_config });
        if let Err(error) = self
            .runtime
            .update_runtime_config(v1::UpdateRuntimeConfigRequest { runtime_config })
            .await
        {
            warn!(%error, "cannot tell the runtime its pod CIDR");
        }
    }

    /// Learns what others decided: the node's pod CIDRs. Says whether that is news.
    async fn took_in(&self, node: &Node) -> bool {
        let new = pod_cidrs(node);
        let known = self.node.borrow().as_deref().and_then(pod_cidrs);
        let is_news = new != known;
        if is_news && let Some(pod_cidr) = new {
            self.tell_runtime(pod_cidr).await;
        }
        self.node.send_replace(Some(Arc::new(node.clone())));
        is_news
    }

    /// Waits until others have decided something new about the node.
    async fn wait_news(&self, events: &mut client::Subscription<Node>) {
        while let Some(event) = events.next().await {
            let node = match event {
                Event::Added(node) | Event::Updated { new: node, .. } => Some(node),
                Event::Resync => self.own.store().get("", &self.config.node_name),
                Event::Deleted(_) => None,
            };
            if let Some(node) = node
                && self.took_in(&node).await
            {
                return;
            }
        }
        std::future::pending().await
    }

    /// Looks every few seconds; writes what changed at once, and the heartbeat every few minutes.
    async fn report(&self) {
        let mut told: Option<(NodeStatus, Timestamp)> = None;
        let mut pressure = self.pressure.clone();
        let mut events = self.own.subscribe();
        loop {
            let mut pause = self.config.node_status_update_frequency;
            match self.report_once(&mut told).await {
                Ok(true) => {}
                // Until the node is ready it is looked at often, so that pods come soon.
                Ok(false) => pause = RETRY,
                Err(error) => {
                    warn!(%error, "cannot update the node's status");
                    told = None;
                    if error.is_not_found() {
                        self.register().await;
                    }
                    pause = Duration::from_secs(1);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = pressure.changed() => {}
                () = self.wait_news(&mut events) => {}
            }
        }
    }

    /// Says whether the node is ready.
    async fn report_once(
        &self,
        told: &mut Option<(NodeStatus, Timestamp)>,
    ) -> Result<bool, ApiError> {
        let now = self.clock.now();
        let inputs = self.inputs().await;
        let api = self.client.api::<Node>("");
        let previous = match told {
            Some((status, _)) => status.clone(),
            None => {
                let node = api.get(&self.config.node_name).await?;
                self.took_in(&node).await;
                node.status.unwrap_or_default()
            }
        };
        let status = node_status(&self.config, &self.facts, &inputs, &previous, now);
        let due = told.as_ref().is_none_or(|(_, at)| {
            Duration::try_from(now.duration_since(*at)).unwrap_or_default()
                >= self.config.node_status_report_frequency
        });
        if due || !same_but_for_heartbeat(&status, &previous) {
            let patch = patch_body(&status);
            let node = api
                .patch_status(&self.config.node_name, &Patch::Strategic(patch))
                .await?;
            self.took_in(&node).await;
            *told = Some((status, now));
        }
        Ok(inputs.not_ready.is_none())
    }
}

/// The node's pod CIDRs, one of each family, as CRI has them: comma-separated. None until somebody has handed some out.
fn pod_cidrs(node: &Node) -> Option<String> {
    let cidrs = node.spec.as_ref()?.pod_cidrs.as_ref()?;
    (!cidrs.is_empty()).then(|| cidrs.join(","))
}

/// Why the runtime keeps the node from being ready, worded as upstream words it.
fn not_ready(status: v1::RuntimeStatus) -> Option<String> {
    let why = |type_: &str, what: &str| {
        let condition = status
            .conditions
            .iter()
            .find(|condition| condition.r#type == type_);
        match condition {
            Some(condition) if condition.status => None,
            Some(condition) => Some(format!(
                "{what}: {type_}=false reason:{} message:{}",
                condition.reason, condition.message
            )),
            None => Some(format!("{what} is not reported yet")),
        }
    };
    why("RuntimeReady", "container runtime not ready")
        .or_else(|| why("NetworkReady", "container runtime network not ready"))
}

fn same_but_for_heartbeat(a: &NodeStatus, b: &NodeStatus) -> bool {
    let strip = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    strip(a) == strip(b)
}

fn patch_body(status: &NodeStatus) -> serde_json::Value {
    let mut status = serde_json::to_value(status).unwrap_or_else(|_| json!({}));
    if let Some(addresses) = status
        .get_mut("addresses")
        .and_then(|list| list.as_array_mut())
    {
        // Merged by type otherwise, and two addresses of one type would become one.
        addresses.insert(0, json!({"$patch": "replace"}));
    }
    json!({"status": status})
}
