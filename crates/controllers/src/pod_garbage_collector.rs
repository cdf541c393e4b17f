//! The pod garbage collector: pods that nobody else will ever delete.
//!
//! Ended pods beyond `--terminated-pod-gc-threshold`; pods of nodes that are gone; pods on their way out that never had a node, or
//! whose node is out of service. [`plan`] decides by a snapshot, every 20 seconds.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use client::{ApiError, DeleteOptionsExt as _, Informer, Object as _, Patch};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time},
};
use serde_json::json;
use tracing::{debug, warn};

use crate::{context::ControllerContext, pods, reconcile::Error};

pub(crate) const NAME: &str = "pod-garbage-collector-controller";
const PERIOD: Duration = Duration::from_secs(20);
/// How long a node must have been gone: its informer may just be behind.
const QUARANTINE: Duration = Duration::from_secs(40);
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Why a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Too many ended pods.
    Terminated,
    /// Its node does not exist.
    Orphaned,
    /// It is being deleted and was never bound.
    UnscheduledTerminating,
    /// It is being deleted on a node that is out of service.
    OutOfService,
}

impl Cause {
    /// What the `DisruptionTarget` condition says, where the pod did not choose its end.
    fn message(self) -> Option<&'static str> {
        match self {
            Self::Orphaned => Some("PodGC: node no longer exists"),
            Self::OutOfService => Some("PodGC: node is out of service"),
            Self::Terminated | Self::UnscheduledTerminating => None,
        }
    }
}

fn plan(
    all: &[Arc<Pod>],
    nodes: &HashMap<String, Arc<Node>>,
    long_gone: &HashSet<String>,
    threshold: usize,
) -> Vec<(Arc<Pod>, Cause)> {
    let mut plan = Vec::new();
    if threshold > 0 {
        let mut ended: Vec<&Arc<Pod>> = all.iter().filter(|pod| pods::is_terminal(pod)).collect();
        ended.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.key()));
        let excess = ended.len().saturating_sub(threshold);
        plan.extend(
            ended
                .into_iter()
                .take(excess)
                .map(|pod| (pod.clone(), Cause::Terminated)),
        );
    }
    for pod in all {
        let node = pods::node_name(pod);
        let cause = if node.is_empty() {
            pod.is_being_deleted()
                .then_some(Cause::UnscheduledTerminating)
        } else if let Some(node) = nodes.get(node) {
            (pod.is_being_deleted() && is_out_of_service(node)).then_some(Cause::OutOfService)
        } else {
            long_gone.contains(node).then_some(Cause::Orphaned)
        };
        plan.extend(cause.map(|cause| (pod.clone(), cause)));
    }
    plan
}

fn is_out_of_service(node: &Node) -> bool {
    let ready = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let is_ready = ready
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    !is_ready && taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

struct PodGarbageCollector {
    ctx: ControllerContext,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    /// Since when a node that pods name is missing.
    missing: HashMap<String, Timestamp>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let mut gc = PodGarbageCollector {
        pods: ctx.informers.informer(),
        nodes: ctx.informers.informer(),
        missing: HashMap::new(),
        ctx: ctx.clone(),
    };
    ctx.tasks.spawn_cancellable(NAME, async move {
        gc.pods.has_synced().await;
        gc.nodes.has_synced().await;
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            gc.collect().await;
        }
    });
}

impl PodGarbageCollector {
    async fn collect(&mut self) {
        let all = self.pods.store().list();
        let nodes: HashMap<String, Arc<Node>> = self
            .nodes
            .store()
            .list()
            .into_iter()
            .map(|node| (node.name().to_owned(), node))
            .collect();
        let long_gone = self.long_gone(&all, &nodes).await;
        for (pod, cause) in plan(
            &all,
            &nodes,
            &long_gone,
            self.ctx.config.terminated_pod_gc_threshold,
        ) {
            debug!(pod = %pod.key(), ?cause, "deleting");
            if let Err(error) = self.fail_and_delete(&pod, cause).await {
                warn!(pod = %pod.key(), %error, "pod garbage collector: cannot delete");
            }
        }
    }

    /// Nodes that pods name, that have been missing for the quarantine, and that the server does not have either.
    async fn long_gone(
        &mut self,
        all: &[Arc<Pod>],
        nodes: &HashMap<String, Arc<Node>>,
    ) -> HashSet<String> {
        let now = self.ctx.clock.now();
        let named: HashSet<&str> = all
            .iter()
            .map(|pod| pods::node_name(pod))
            .filter(|name| !name.is_empty())
            .collect();
        self.missing
            .retain(|name, _| named.contains(name.as_str()) && !nodes.contains_key(name));
        let mut gone = HashSet::new();
        for name in named.into_iter().filter(|name| !nodes.contains_key(*name)) {
            let since = *self.missing.entry(name.to_owned()).or_insert(now);
            let waited = now.duration_since(since).unsigned_abs();
            if waited >= QUARANTINE
                && matches!(
                    self.ctx.client.api::<Node>("").get_opt(name).await,
                    Ok(None)
                )
            {
                gone.insert(name.to_owned());
            }
        }
        gone
    }

    async fn fail_and_delete(&self, pod: &Pod, cause: Cause) -> Result<(), Error> {
        let api = self.ctx.client.api::<Pod>(pod.namespace());
        if !pods::is_terminal(pod) {
            // Whoever waits for its end is to see one.
            let mut status = json!({ "phase": "Failed" });
            if let Some(message) = cause.message() {
                status["conditions"] = json!([{
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByPodGC",
                    "message": message,
                    "lastTransitionTime": Time(self.ctx.clock.now()),
                }]);
            }
            let patch =
                Patch::Strategic(json!({ "metadata": { "uid": pod.uid() }, "status": status }));
            if ApiError::not_found_is_none(api.patch_status(pod.name(), &patch).await)?.is_none() {
                return Ok(());
            }
        }
        let options = DeleteOptions::grace_period(0).with_uid(pod.uid());
        ApiError::not_found_is_none(api.delete(pod.name(), &options).await)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{NodeSpec, PodSpec, PodStatus, Taint},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn pod(name: &str, node: &str, phase: &str, deleted: bool, created: i64) -> Arc<Pod> {
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                creation_timestamp: Some(Time(Timestamp::from_second(created).unwrap())),
                deletion_timestamp: deleted.then_some(Time(Timestamp::UNIX_EPOCH)),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: (!node.is_empty()).then(|| node.to_owned()),
                ..PodSpec::default()
            }),
            status: Some(PodStatus {
                phase: Some(phase.to_owned()),
                ..PodStatus::default()
            }),
        })
    }

    #[test]
    fn causes() {
        let taint = Taint {
            key: OUT_OF_SERVICE.to_owned(),
            effect: "NoExecute".to_owned(),
            ..Taint::default()
        };
        let down = Node {
            spec: Some(NodeSpec {
                taints: Some(vec![taint]),
                ..NodeSpec::default()
            }),
            ..Node::default()
        };
        let nodes: HashMap<_, _> = [
            ("up".to_owned(), Arc::new(Node::default())),
            ("down".to_owned(), Arc::new(down)),
        ]
        .into();
        let all = [
            pod("running", "up", "Running", false, 0),
            pod("leaving", "up", "Running", true, 0),
            pod("lost", "gone", "Running", false, 0),
            pod("perhaps-lost", "just-gone", "Running", false, 0),
            pod("never-bound", "", "Pending", true, 0),
            pod("waiting", "", "Pending", false, 0),
            pod("stuck", "down", "Running", true, 0),
            pod("done-3", "up", "Succeeded", false, 3),
            pod("done-1", "up", "Failed", false, 1),
            pod("done-2", "up", "Succeeded", false, 2),
        ];
        let planned: Vec<(String, Cause)> = plan(&all, &nodes, &["gone".to_owned()].into(), 1)
            .into_iter()
            .map(|(pod, cause)| (pod.name().to_owned(), cause))
            .collect();
        let expected = [
            ("done-1", Cause::Terminated),
            ("done-2", Cause::Terminated),
            ("lost", Cause::Orphaned),
            ("never-bound", Cause::UnscheduledTerminating),
            ("stuck", Cause::OutOfService),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, cause)| ((*name).to_owned(), *cause))
            .collect();
        assert_eq!(planned, expected);
    }
}
