//! A profile: the plugins in their order, with the weights of their scores.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use super::{ClusterEvent, CycleState, MAX_NODE_SCORE, Plugin, Rejection, Verdict};
use crate::{cache::Snapshot, node_info::NodeInfo, pod_info::PodInfo};

/// The plugins of one `schedulerName`.
pub(crate) struct Profile {
    plugins: Vec<(Box<dyn Plugin>, i64)>,
}

impl Profile {
    /// Of plugins in their order, each with the weight of its score.
    pub(crate) fn new(plugins: Vec<(Box<dyn Plugin>, i64)>) -> Self {
        Self { plugins }
    }

    fn plugins(&self) -> impl Iterator<Item = &dyn Plugin> {
        self.plugins.iter().map(|(plugin, _)| plugin.as_ref())
    }

    /// The first refusal, if a plugin keeps the pod out of the queue.
    pub(crate) fn pre_enqueue(&self, pod: &PodInfo) -> Option<Rejection> {
        self.plugins()
            .find_map(|plugin| match plugin.pre_enqueue()?.pre_enqueue(pod) {
                Verdict::Reject(rejection) => Some(rejection.by(plugin.name())),
                _ => None,
            })
    }

    /// Which pod is tried first.
    pub(crate) fn compare(&self, a: (&PodInfo, Timestamp), b: (&PodInfo, Timestamp)) -> Ordering {
        self.plugins()
            .find_map(Plugin::queue_sort)
            .map_or_else(|| a.1.cmp(&b.1), |sort| sort.compare(a, b))
    }

    /// Whether `event` may make a pod schedulable that `plugin` refused.
    pub(crate) fn may_help(&self, plugin: &str, event: &ClusterEvent, pod: &PodInfo) -> bool {
        self.plugins()
            .filter(|p| p.name() == plugin)
            .any(|p| p.events().iter().any(|&kind| event.is(kind)) && p.may_help(event, pod))
    }

    /// The nodes to look at (`None`: all), or why there is no use in looking.
    pub(crate) fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<Option<BTreeSet<String>>, Rejection> {
        let mut allowed: Option<BTreeSet<String>> = None;
        for plugin in self.plugins() {
            let Some(point) = plugin.pre_filter() else {
                continue;
            };
            if let Some(names) = point
                .pre_filter(state, pod, nodes)
                .map_err(|r| r.by(plugin.name()))?
            {
                allowed = Some(match allowed {
                    None => names,
                    Some(before) => before.intersection(&names).cloned().collect(),
                });
            }
        }
        Ok(allowed)
    }

    /// The first plugin's refusal of a node, if any.
    pub(crate) fn filter(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        for plugin in self.plugins() {
            let Some(point) = plugin.filter() else {
                continue;
            };
            match point.filter(state, pod, node) {
                Verdict::Success | Verdict::Skip => {}
                Verdict::Reject(rejection) => return Err(rejection.by(plugin.name())),
                Verdict::Error(error) => {
                    return Err(Rejection::new(false, [error]).by(plugin.name()));
                }
            }
        }
        Ok(())
    }

    /// The node to wait for, or what the plugins say to it that no node fits.
    pub(crate) fn post_filter(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<Option<String>, Vec<String>> {
        let mut messages = Vec::new();
        for point in self.plugins().filter_map(Plugin::post_filter) {
            match point.post_filter(state, pod, nodes) {
                Ok(node) => return Ok(Some(node)),
                Err(rejection) => messages.extend(rejection.reasons),
            }
        }
        if messages.is_empty() {
            Ok(None)
        } else {
            Err(messages)
        }
    }

    /// The weighted sum of all scores for each feasible node, in their order.
    pub(crate) fn score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        feasible: &[Arc<NodeInfo>],
    ) -> Vec<i64> {
        for plugin in self.plugins() {
            let Some(point) = plugin.pre_score() else {
                continue;
            };
            if point.pre_score(state, pod, feasible) == Verdict::Skip {
                state.skip_score(plugin.name());
            }
        }
        let mut totals = vec![0; feasible.len()];
        for (plugin, weight) in &self.plugins {
            let Some(point) = plugin.score().filter(|_| !state.skips_score(plugin.name())) else {
                continue;
            };
            let mut scores: Vec<i64> = feasible
                .iter()
                .map(|node| point.score(state, pod, node))
                .collect();
            point.normalize(&mut scores);
            for (total, score) in totals.iter_mut().zip(scores) {
                *total += weight * score.clamp(0, MAX_NODE_SCORE);
            }
        }
        totals
    }

    /// Reserves with every plugin, or with none.
    pub(crate) fn reserve(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        node: &str,
    ) -> Result<(), Rejection> {
        for plugin in self.plugins() {
            let Some(point) = plugin.reserve() else {
                continue;
            };
            if let Some(rejection) = refusal(plugin, point.reserve(state, pod, node)) {
                self.unreserve(state, pod, node);
                return Err(rejection);
            }
        }
        Ok(())
    }

    /// Takes reservations back, in the opposite order.
    pub(crate) fn unreserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str) {
        for (plugin, _) in self.plugins.iter().rev() {
            if let Some(point) = plugin.reserve() {
                point.unreserve(state, pod, node);
            }
        }
    }

    /// Permit, PreBind, Bind and PostBind. An error says that the pod is not bound.
    pub(crate) async fn bind(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &str,
    ) -> Result<(), Rejection> {
        for plugin in self.plugins() {
            if let Some(point) = plugin.permit() {
                let verdict = point.permit(state, pod, node).await;
                refusal(plugin, verdict).map_or(Ok(()), Err)?;
            }
        }
        for plugin in self.plugins() {
            if let Some(point) = plugin.pre_bind() {
                let verdict = point.pre_bind(state, pod, node).await;
                refusal(plugin, verdict).map_or(Ok(()), Err)?;
            }
        }
        for plugin in self.plugins() {
            if let Some(point) = plugin.bind() {
                match point.bind(state, pod, node).await {
                    Verdict::Skip => {}
                    Verdict::Success => break,
                    verdict => refusal(plugin, verdict).map_or(Ok(()), Err)?,
                }
            }
        }
        for point in self.plugins().filter_map(Plugin::post_bind) {
            point.post_bind(state, pod, node).await;
        }
        Ok(())
    }
}

fn refusal(plugin: &dyn Plugin, verdict: Verdict) -> Option<Rejection> {
    match verdict {
        Verdict::Success | Verdict::Skip => None,
        Verdict::Reject(rejection) => Some(rejection.by(plugin.name())),
        Verdict::Error(error) => Some(Rejection::new(true, [error]).by(plugin.name())),
    }
}
