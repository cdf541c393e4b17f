//! The taint eviction controller: pods that do not tolerate a `NoExecute` taint of their node leave it, at once or after the time they
//! tolerate it for.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{
    ApiError, DeleteOptionsExt as _, Event, EventType, Informer, Object as _, ObjectKey, Patch,
    Workqueue, tolerates,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint, Toleration},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time},
};
use serde_json::json;

use crate::{
    context::ControllerContext,
    node_lifecycle::{NODE_INDEX, by_node, taints::NO_EXECUTE},
    pods,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

pub(crate) const NAME: &str = "taint-eviction-controller";

/// What becomes of a pod.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stay,
    StayUntil(Timestamp),
    Leave,
}

/// Judges a pod by its node's taints. A taint without a time counts from `now`.
fn judge(tolerations: &[Toleration], taints: &[Taint], now: Timestamp) -> Verdict {
    let mut until: Option<Timestamp> = None;
    for taint in taints.iter().filter(|taint| taint.effect == NO_EXECUTE) {
        let matching: Vec<&Toleration> =
            tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if matching.is_empty() {
            return Verdict::Leave;
        }
        // Of several tolerations the shortest counts; one without a time is for ever.
        let Some(seconds) = matching.iter().filter_map(|t| t.toleration_seconds).min() else {
            continue;
        };
        if seconds <= 0 {
            return Verdict::Leave;
        }
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        let end = since
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MAX);
        until = Some(until.map_or(end, |until| until.min(end)));
    }
    match until {
        None => Verdict::Stay,
        Some(until) if until <= now => Verdict::Leave,
        Some(until) => Verdict::StayUntil(until),
    }
}

struct TaintEviction {
    ctx: ControllerContext,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(TaintEviction {
        nodes: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    controller.pods.add_index(NODE_INDEX, by_node);
    let queue = ctx.queue("noexec_taint_pod");
    watch_nodes(&ctx, &controller, &queue);
    watch_pods(&ctx, &controller, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.others,
        &queue,
        controller,
    );
}

fn no_execute_taints(node: &Node) -> Vec<Taint> {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    taints
        .filter(|taint| taint.effect == NO_EXECUTE)
        .cloned()
        .collect()
}

fn watch_nodes(
    ctx: &ControllerContext,
    controller: &Arc<TaintEviction>,
    queue: &Workqueue<ObjectKey>,
) {
    let (store, queue) = (controller.pods.store().clone(), queue.clone());
    on_events(ctx, NAME, &controller.nodes, move |event| {
        let pods = match &event {
            Event::Resync => store.list(),
            Event::Added(node) if !no_execute_taints(node).is_empty() => {
                store.by_index(NODE_INDEX, node.name())
            }
            Event::Updated { old, new } if no_execute_taints(old) != no_execute_taints(new) => {
                store.by_index(NODE_INDEX, new.name())
            }
            _ => Vec::new(),
        };
        pods.iter().for_each(|pod| queue.add(pod.key()));
    });
}

fn watch_pods(
    ctx: &ControllerContext,
    controller: &Arc<TaintEviction>,
    queue: &Workqueue<ObjectKey>,
) {
    let (store, queue) = (controller.pods.store().clone(), queue.clone());
    let relevant = |pod: &Pod| {
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
        (pods::node_name(pod).to_owned(), tolerations)
    };
    on_events(ctx, NAME, &controller.pods, move |event| match event {
        Event::Resync => store.keys().into_iter().for_each(|key| queue.add(key)),
        Event::Added(pod) if !pods::node_name(&pod).is_empty() => queue.add(pod.key()),
        Event::Updated { old, new } if relevant(&old) != relevant(&new) => queue.add(new.key()),
        _ => {}
    });
}

#[async_trait]
impl Reconciler for TaintEviction {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.nodes.has_synced().await;
        self.pods.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(pod) = self
            .pods
            .store()
            .get_key(key)
            .filter(|pod| !pod.is_being_deleted())
        else {
            return Ok(Next::OnEvent);
        };
        let Some(node) = self.nodes.store().get("", pods::node_name(&pod)) else {
            return Ok(Next::OnEvent);
        };
        let taints = no_execute_taints(&node);
        let tolerations = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.tolerations.clone())
            .unwrap_or_default();
        let now = self.ctx.clock.now();
        match judge(&tolerations, &taints, now) {
            Verdict::Stay => Ok(Next::OnEvent),
            Verdict::StayUntil(until) => {
                let left = until.duration_since(now).unsigned_abs();
                Ok(Next::After(left.max(Duration::from_millis(10))))
            }
            Verdict::Leave => {
                self.evict(&pod).await?;
                Ok(Next::OnEvent)
            }
        }
    }
}

impl TaintEviction {
    async fn evict(&self, pod: &Pod) -> Result<(), Error> {
        let message = format!("Marking for deletion Pod {}", pod.key());
        self.ctx
            .recorder
            .event(pod, EventType::Normal, "TaintManagerEviction", message);
        let api = self.ctx.client.api::<Pod>(pod.namespace());
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": pod.uid() },
            "status": { "conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": Time(self.ctx.clock.now()),
            }] },
        }));
        if ApiError::not_found_is_none(api.patch_status(pod.name(), &patch).await)?.is_some() {
            let options = DeleteOptions::default().with_uid(pod.uid());
            ApiError::not_found_is_none(api.delete(pod.name(), &options).await)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn taint(key: &str, added: i64) -> Taint {
        Taint {
            key: key.to_owned(),
            effect: NO_EXECUTE.to_owned(),
            time_added: Some(Time(at(added))),
            value: None,
        }
    }

    fn exists(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: (!key.is_empty()).then(|| key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(NO_EXECUTE.to_owned()),
            toleration_seconds: seconds,
            value: None,
        }
    }

    #[test]
    fn verdicts() {
        let (a, b) = (taint("a", 100), taint("b", 200));
        let now = at(300);
        let both = [a.clone(), b.clone()];
        assert_eq!(judge(&[], &[], now), Verdict::Stay);
        assert_eq!(judge(&[], std::slice::from_ref(&a), now), Verdict::Leave);
        assert_eq!(judge(&[exists("", None)], &both, now), Verdict::Stay);
        assert_eq!(
            judge(&[exists("a", Some(300))], std::slice::from_ref(&a), now),
            Verdict::StayUntil(at(400))
        );
        assert_eq!(
            judge(&[exists("a", Some(200))], std::slice::from_ref(&a), now),
            Verdict::Leave
        );
        assert_eq!(judge(&[exists("a", Some(300))], &both, now), Verdict::Leave);
        let tolerations = [
            exists("a", Some(300)),
            exists("b", Some(150)),
            exists("b", Some(1000)),
        ];
        assert_eq!(judge(&tolerations, &both, now), Verdict::StayUntil(at(350)));
        assert_eq!(
            judge(&[exists("a", Some(0))], std::slice::from_ref(&a), now),
            Verdict::Leave
        );
    }
}
