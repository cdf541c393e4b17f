//! The node lifecycle controller: finds out which nodes live, taints those that do not, and marks their pods as not ready.
//!
//! Who leaves a tainted node, and when, is the taint eviction controller's business. A pass every `--node-monitor-period`; changes of
//! nodes start one at once, so that taints follow conditions without delay.

mod health;
pub(crate) mod taints;
mod zones;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use client::{
    ApiError, Event, EventType, Informer, InformerScope, Namespace, Object as _, Patch, reference,
};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod, Taint},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::{
    context::ControllerContext,
    pods,
    reconcile::{Error, on_events},
};

use self::{
    health::{Grace, Health, describe, ready_status, with_unknown_conditions},
    taints::Eviction,
    zones::{Limiter, Zone, ZoneState},
};

pub(crate) const NAME: &str = "node-lifecycle-controller";
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Index of pods by `spec.nodeName`.
pub(crate) const NODE_INDEX: &str = "node";

/// The values of [`NODE_INDEX`].
pub(crate) fn by_node(pod: &Pod) -> Vec<String> {
    Some(pods::node_name(pod))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .into_iter()
        .collect()
}

struct NodeLifecycle {
    ctx: ControllerContext,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    health: HashMap<String, Health>,
    limiter: Limiter,
    /// Whether at the last pass all zones were fully disrupted.
    was_cut_off: bool,
}

pub(crate) fn start(ctx: ControllerContext) {
    let leases = InformerScope {
        namespace: Namespace::from(LEASE_NAMESPACE),
        ..InformerScope::default()
    };
    let mut controller = NodeLifecycle {
        nodes: ctx.informers.informer(),
        leases: ctx.informers.scoped(leases),
        pods: ctx.informers.informer(),
        health: HashMap::new(),
        limiter: Limiter::new(ctx.config.node_eviction),
        was_cut_off: false,
        ctx: ctx.clone(),
    };
    controller.pods.add_index(NODE_INDEX, by_node);
    let woken = Arc::new(Notify::new());
    watch_nodes(&ctx, &controller.nodes, woken.clone());
    let period = ctx.config.node_monitor_period;
    ctx.tasks.spawn_cancellable(NAME, async move {
        controller.nodes.has_synced().await;
        controller.leases.has_synced().await;
        controller.pods.has_synced().await;
        loop {
            controller.pass().await;
            // Elapsed or woken: a pass either way.
            let _ = tokio::time::timeout(period, woken.notified()).await;
        }
    });
}

/// What of a node makes a pass worth while: anything but a heartbeat.
#[derive(PartialEq)]
struct Facts<'a> {
    conditions: Vec<(&'a str, &'a str)>,
    taints: Option<&'a Vec<Taint>>,
    unschedulable: Option<bool>,
}

fn facts(node: &Node) -> Facts<'_> {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let spec = node.spec.as_ref();
    Facts {
        conditions: conditions
            .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
            .collect(),
        taints: spec.and_then(|spec| spec.taints.as_ref()),
        unschedulable: spec.and_then(|spec| spec.unschedulable),
    }
}

fn watch_nodes(ctx: &ControllerContext, nodes: &Informer<Node>, woken: Arc<Notify>) {
    let recorder = ctx.recorder.clone();
    on_events(ctx, NAME, nodes, move |event| match event {
        Event::Resync => woken.notify_one(),
        Event::Added(node) => {
            let message = format!(
                "Node {0} event: Registered Node {0} in Controller",
                node.name()
            );
            recorder.event(&*node, EventType::Normal, "RegisteredNode", message);
            woken.notify_one();
        }
        Event::Updated { old, new } if facts(&old) != facts(&new) => woken.notify_one(),
        Event::Updated { .. } => {}
        Event::Deleted(node) => {
            let message = format!(
                "Node {0} event: Removing Node {0} from Controller",
                node.name()
            );
            recorder.event(&*node, EventType::Normal, "RemovingNode", message);
            woken.notify_one();
        }
    });
}

/// `region:zone` of a node, empty if it has none.
fn zone_of(node: &Node) -> String {
    let label = |key| node.label(key).unwrap_or_default();
    format!(
        "{}:{}",
        label("topology.kubernetes.io/region"),
        label("topology.kubernetes.io/zone")
    )
}

impl NodeLifecycle {
    async fn pass(&mut self) {
        let nodes = self.nodes.store().list();
        self.health
            .retain(|name, _| self.nodes.store().get("", name).is_some());
        let mut current = Vec::with_capacity(nodes.len());
        for node in nodes {
            match self.check(&node).await {
                Ok(node) => current.push(node),
                Err(error) => warn!(node = node.name(), %error, "cannot update the node's health"),
            }
        }
        let mut zones: BTreeMap<String, Zone> = BTreeMap::new();
        for node in &current {
            let Some(status) = ready_status(node) else {
                continue;
            };
            let zone = zones.entry(zone_of(node)).or_default();
            *(if status == "True" {
                &mut zone.ready
            } else {
                &mut zone.not_ready
            }) += 1;
        }
        let cut_off = !zones.is_empty()
            && zones.values().all(|zone| {
                zone.state(&self.ctx.config.node_eviction) == ZoneState::FullDisruption
            });
        if cut_off && !self.was_cut_off {
            info!("all nodes are unhealthy: nothing is evicted");
        }
        if self.was_cut_off && !cut_off {
            // Some are back: the others get their time to come back, too.
            let now = self.ctx.clock.now();
            self.health
                .values_mut()
                .for_each(|health| health.reset(now));
        }
        self.was_cut_off = cut_off;
        for node in &current {
            if let Err(error) = self.taint(node, &zones, cut_off).await {
                warn!(node = node.name(), %error, "cannot taint the node");
            }
        }
    }

    /// Judges a node's health and writes the verdict; the node as it is then.
    async fn check(&mut self, node: &Arc<Node>) -> Result<Arc<Node>, Error> {
        let now = self.ctx.clock.now();
        let lease = self.leases.store().get(LEASE_NAMESPACE, node.name());
        let health = Health::observe(self.health.get(node.name()), node, lease.as_deref(), now);
        let config = &self.ctx.config;
        let grace = Grace {
            monitor: config.node_monitor_grace_period,
            startup: config.node_startup_grace_period,
        };
        let silent = health.is_silent(grace, now);
        self.health.insert(node.name().to_owned(), health);
        let was_ready = ready_status(node) == Some("True");
        let node = match with_unknown_conditions(node, now).filter(|_| silent) {
            None => node.clone(),
            Some(unknown) => {
                info!(
                    node = describe(node),
                    "node has not been heard of, its conditions are unknown"
                );
                let updated = Arc::new(
                    self.ctx
                        .client
                        .api::<Node>("")
                        .update_status(&unknown)
                        .await?,
                );
                if was_ready {
                    let message = format!("Node {} status is now: NodeNotReady", updated.name());
                    self.ctx
                        .recorder
                        .event(&*updated, EventType::Normal, "NodeNotReady", message);
                }
                updated
            }
        };
        if ready_status(&node).is_some_and(|status| status != "True") {
            self.mark_pods_not_ready(&node).await?;
        }
        Ok(node)
    }

    /// Services must not send anything to a node that may be dead.
    async fn mark_pods_not_ready(&self, node: &Node) -> Result<(), Error> {
        for pod in self.pods.store().by_index(NODE_INDEX, node.name()) {
            if !pods::is_ready(&pod) {
                continue;
            }
            let patch = Patch::Strategic(json!({
                "metadata": { "uid": pod.uid() },
                "status": { "conditions": [{
                    "type": "Ready",
                    "status": "False",
                    "lastTransitionTime": Time(self.ctx.clock.now()),
                }] },
            }));
            let api = self.ctx.client.api::<Pod>(pod.namespace());
            ApiError::not_found_is_none(api.patch_status(pod.name(), &patch).await)?;
            self.ctx.recorder.event_ref(
                reference(&*pod),
                EventType::Warning,
                "NodeNotReady",
                "Node is not ready",
            );
        }
        Ok(())
    }

    async fn taint(
        &mut self,
        node: &Arc<Node>,
        zones: &BTreeMap<String, Zone>,
        cut_off: bool,
    ) -> Result<(), Error> {
        let now = self.ctx.clock.now();
        let zone_name = zone_of(node);
        let zone = zones.get(&zone_name).copied().unwrap_or_default();
        let eviction = if cut_off {
            Eviction::Never
        } else if taints::awaits_eviction(node) && !self.limiter.try_take(&zone_name, zone, now) {
            Eviction::Held
        } else {
            Eviction::ByCondition
        };
        let Some(taints) = taints::plan(node, eviction, now) else {
            return Ok(());
        };
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": node.resource_version() },
            "spec": { "taints": taints },
        }));
        match self
            .ctx
            .client
            .api::<Node>("")
            .patch(node.name(), &patch)
            .await
        {
            // It changed meanwhile; that wakes the next pass.
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
            result => result.map(drop).map_err(Error::from),
        }
    }
}
