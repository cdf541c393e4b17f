//! The TTL controller: tells each node how long its kubelet may keep ConfigMaps and Secrets before it reads them again, by the size of the
//! cluster. The sizes overlap, so that a cluster at a border does not go to and fro.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use client::{ApiError, Event, Informer, Object as _, ObjectKey, Patch, Workqueue};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

pub(crate) const NAME: &str = "ttl-controller";
const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

/// The smallest and the greatest number of nodes, and the seconds.
const STEPS: [(usize, usize, u32); 5] = [
    (0, 100, 0),
    (90, 500, 15),
    (450, 1000, 30),
    (900, 2000, 60),
    (1800, usize::MAX, 300),
];

struct Ttl {
    ctx: ControllerContext,
    nodes: Informer<Node>,
    /// Where in [`STEPS`] the cluster is.
    step: AtomicUsize,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(Ttl {
        nodes: ctx.informers.informer(),
        step: AtomicUsize::new(0),
        ctx: ctx.clone(),
    });
    let queue: Workqueue<ObjectKey> = ctx.queue("ttlcontroller");
    let (this, changed) = (controller.clone(), queue.clone());
    on_events(&ctx, NAME, &controller.nodes, move |event| {
        let before = this.step.load(Ordering::Relaxed);
        let now = next_step(before, this.nodes.store().len());
        this.step.store(now, Ordering::Relaxed);
        match event {
            Event::Added(node) | Event::Updated { new: node, .. } if before == now => {
                if node.annotation(ANNOTATION) != Some(&seconds(now)) {
                    changed.add(node.key());
                }
            }
            Event::Deleted(_) if before == now => {}
            _ => this
                .nodes
                .store()
                .keys()
                .into_iter()
                .for_each(|key| changed.add(key)),
        }
    });
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.others,
        &queue,
        controller,
    );
}

/// The step of a cluster of that many nodes that was at `step`.
fn next_step(mut step: usize, nodes: usize) -> usize {
    while nodes > STEPS[step].1 {
        step += 1;
    }
    while nodes < STEPS[step].0 {
        step -= 1;
    }
    step
}

fn seconds(step: usize) -> String {
    STEPS[step].2.to_string()
}

#[async_trait]
impl Reconciler for Ttl {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.nodes.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let wanted = seconds(self.step.load(Ordering::Relaxed));
        let node = self.nodes.store().get_key(key);
        if node.is_some_and(|node| node.annotation(ANNOTATION) != Some(&wanted)) {
            let patch = json!({"metadata": {"annotations": {ANNOTATION: wanted}}});
            let api = self.ctx.client.api::<Node>("");
            ApiError::not_found_is_none(api.patch(&key.name, &Patch::Strategic(patch)).await)?;
        }
        Ok(Next::OnEvent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_overlap() {
        assert_eq!(seconds(next_step(0, 100)), "0");
        assert_eq!(seconds(next_step(0, 101)), "15");
        assert_eq!(seconds(next_step(1, 95)), "15");
        assert_eq!(seconds(next_step(1, 89)), "0");
        assert_eq!(seconds(next_step(0, 5000)), "300");
        assert_eq!(seconds(next_step(4, 3)), "0");
    }
}
