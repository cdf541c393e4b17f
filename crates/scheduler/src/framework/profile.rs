//! A profile: the plugins in their order, with the weights of their scores.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;

use super::{
    ClusterEvent, CycleState, EventKind, MAX_NODE_SCORE, NoRoom, Plugin, Point, PostFilterInput,
    PreFilterResult, Rejection, Verdict,
};
use crate::{
    metrics::PointMetrics, node_info::NodeInfo, pod_info::PodInfo, preemption::Preemption,
    snapshot::Snapshot,
};

/// A plugin, and the weight of its score.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) weight: i64,
}

/// The nodes that PreFilter left, and who narrowed them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Narrowed {
    /// `None`: all.
    pub(crate) nodes: Option<BTreeSet<String>>,
    pub(crate) by: BTreeSet<&'static str>,
}

/// The plugins of one `schedulerName`.
pub(crate) struct Profile {
    name: String,
    /// For each point its plugins, in order.
    points: [Vec<Row>; Point::ALL.len()],
    plugins: HashMap<&'static str, Arc<dyn Plugin>>,
    metrics: PointMetrics,
}

impl Profile {
    /// Of the plugins that `rows` gives for each point, in their order; those that have no say there are left out.
    pub(crate) fn with_points(name: impl Into<String>, rows: impl Fn(Point) -> Vec<Row>) -> Self {
        let points = Point::ALL.map(|point| {
            let mut rows = rows(point);
            rows.retain(|row| point.is_point_of(row.plugin.as_ref()));
            rows
        });
        let rows = points.iter().flatten();
        let plugins = rows.map(|row| (row.plugin.name(), Arc::clone(&row.plugin)));
        Self {
            name: name.into(),
            plugins: plugins.collect(),
            points,
            metrics: PointMetrics::default(),
        }
    }

    /// Says how long its points take.
    pub(crate) fn with_metrics(mut self, metrics: PointMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// All plugins of a point were asked, from then on.
    pub(crate) fn asked<T, E>(&self, point: Point, outcome: &Result<T, E>, began: Instant) {
        let status = match outcome {
            Ok(_) => "Success",
            Err(_) => "Unschedulable",
        };
        self.metrics.asked(point, status, began);
    }

    /// The `schedulerName` whose pods it is for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self, point: Point) -> &[Row] {
        &self.points[point as usize]
    }

    fn at(&self, point: Point) -> impl Iterator<Item = &dyn Plugin> {
        self.rows(point).iter().map(|row| row.plugin.as_ref())
    }

    /// How many plugins have a say at a point.
    pub(crate) fn count(&self, point: Point) -> usize {
        self.rows(point).len()
    }

    /// The names of the plugins at a point, in order.
    #[cfg(test)]
    pub(crate) fn names(&self, point: Point) -> Vec<&'static str> {
        self.at(point).map(Plugin::name).collect()
    }

    /// The first refusal, if a plugin keeps the pod out of the queue.
    pub(crate) fn pre_enqueue(&self, pod: &PodInfo) -> Option<Rejection> {
        self.at(Point::PreEnqueue)
            .find_map(|plugin| match plugin.pre_enqueue()?.pre_enqueue(pod) {
                Verdict::Reject(rejection) => Some(rejection.by(plugin.name())),
                _ => None,
            })
    }

    /// Which pod is tried first.
    pub(crate) fn compare(&self, a: (&PodInfo, Timestamp), b: (&PodInfo, Timestamp)) -> Ordering {
        self.at(Point::QueueSort)
            .find_map(Plugin::queue_sort)
            .map_or_else(|| a.1.cmp(&b.1), |sort| sort.compare(a, b))
    }

    /// The kinds of events that concern each plugin.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (&'static str, &'static [EventKind])> {
        self.plugins
            .values()
            .map(|plugin| (plugin.name(), plugin.events()))
    }

    /// Whether `event` may make a pod schedulable that `plugin` refused.
    pub(crate) fn may_help(&self, plugin: &str, event: &ClusterEvent, pod: &PodInfo) -> bool {
        self.plugins.get(plugin).is_some_and(|plugin| {
            plugin.events().iter().any(|&kind| event.is(kind)) && plugin.may_help(event, pod)
        })
    }

    /// The nodes to look at, or why there is no use in looking. After a refusal that preemption might lift the other plugins are
    /// asked all the same, for preemption needs what they remember.
    pub(crate) fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<Narrowed, Rejection> {
        let mut narrowed = Narrowed::default();
        let mut refused = None;
        for plugin in self.at(Point::PreFilter) {
            let Some(point) = plugin.pre_filter() else {
                continue;
            };
            match point.pre_filter(state, pod, nodes) {
                Err(rejection) if rejection.resolvable => {
                    refused = Some(rejection.by(plugin.name()))
                }
                Err(rejection) => return Err(rejection.by(plugin.name())),
                Ok(PreFilterResult::AllNodes) => {}
                Ok(PreFilterResult::Skip) => state.skip_filter(plugin.name()),
                Ok(PreFilterResult::Nodes(names)) => {
                    narrowed.by.insert(plugin.name());
                    narrowed.nodes = Some(match narrowed.nodes {
                        None => names,
                        Some(before) => before.intersection(&names).cloned().collect(),
                    });
                    if narrowed.nodes.as_ref().is_some_and(BTreeSet::is_empty) {
                        return Err(nothing_left(plugin, &narrowed));
                    }
                }
            }
        }
        refused.map_or(Ok(narrowed), Err)
    }

    /// As if `other` had come to `node`.
    pub(crate) fn add_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        other: &PodInfo,
        node: &NodeInfo,
    ) {
        for plugin in self.at(Point::PreFilter) {
            if let Some(point) = plugin.pre_filter()
                && !state.skips_filter(plugin.name())
            {
                point.add_pod(state, pod, other, node);
            }
        }
    }

    /// As if `other` had left `node`.
    pub(crate) fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        other: &PodInfo,
        node: &NodeInfo,
    ) {
        for plugin in self.at(Point::PreFilter) {
            if let Some(point) = plugin.pre_filter()
                && !state.skips_filter(plugin.name())
            {
                point.remove_pod(state, pod, other, node);
            }
        }
    }

    /// The first plugin's refusal of a node, if any.
    pub(crate) fn filter(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        for plugin in self.at(Point::Filter) {
            let Some(point) = plugin.filter() else {
                continue;
            };
            if state.skips_filter(plugin.name()) {
                continue;
            }
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

    /// The same, with room left for pods of at least this priority that are nominated for the node and not there yet. A pod must
    /// fit with them and, since they may go elsewhere, without them (it may have affinity to one of them).
    pub(crate) fn filter_with_nominated(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
        nodes: &Snapshot,
    ) -> Result<(), Rejection> {
        let mut nominated = nodes
            .nominated
            .on(&node.name)
            .filter(|other| other.priority >= pod.priority && other.uid != pod.uid)
            .peekable();
        if nominated.peek().is_some() {
            let (mut state, mut crowded) = (state.clone(), node.clone());
            for other in nominated {
                crowded.add_pod(Arc::clone(other));
                self.add_pod(&mut state, pod, other, &crowded);
            }
            self.filter(&state, pod, &crowded)?;
        }
        self.filter(state, pod, node)
    }

    /// Whom to move so that the pod fits, or what the plugins say to it that no node does.
    pub(crate) fn post_filter(&self, input: &PostFilterInput<'_>) -> Result<Preemption, NoRoom> {
        let mut messages = Vec::new();
        let mut clears_nomination = false;
        for point in self.at(Point::PostFilter).filter_map(Plugin::post_filter) {
            match point.post_filter(input) {
                Ok(preemption) => return Ok(preemption),
                Err(no_room) => {
                    clears_nomination |= no_room.clears_nomination;
                    messages.push(no_room.message);
                }
            }
        }
        messages.retain(|message| !message.is_empty());
        Err(NoRoom {
            message: messages.join(", "),
            clears_nomination,
        })
    }

    /// The weighted sum of all scores for each feasible node, in their order.
    pub(crate) fn score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        feasible: &[Arc<NodeInfo>],
        nodes: &Snapshot,
    ) -> Vec<i64> {
        let began = Instant::now();
        for plugin in self.at(Point::PreScore) {
            let Some(point) = plugin.pre_score() else {
                continue;
            };
            if point.pre_score(state, pod, feasible, nodes) == Verdict::Skip {
                state.skip_score(plugin.name());
            }
        }
        self.metrics.asked(Point::PreScore, "Success", began);
        let began = Instant::now();
        let mut totals = vec![0; feasible.len()];
        let mut scores = Vec::with_capacity(feasible.len());
        for Row { plugin, weight } in self.rows(Point::Score) {
            let Some(point) = plugin.score().filter(|_| !state.skips_score(plugin.name())) else {
                continue;
            };
            scores.clear();
            scores.extend(feasible.iter().map(|node| point.score(state, pod, node)));
            point.normalize(state, feasible, &mut scores);
            for (total, score) in totals.iter_mut().zip(&scores) {
                *total += weight * score.clamp(&0, &MAX_NODE_SCORE);
            }
        }
        self.metrics.asked(Point::Score, "Success", began);
        totals
    }

    /// Reserves with every plugin, or with none.
    pub(crate) fn reserve(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> Result<(), Rejection> {
        let began = Instant::now();
        let reserve = |plugin: &dyn Plugin, state: &mut CycleState| {
            let verdict = plugin.reserve()?.reserve(state, pod, node);
            refusal(plugin, verdict)
        };
        let refused = self
            .at(Point::Reserve)
            .find_map(|plugin| reserve(plugin, state));
        let outcome = refused.map_or(Ok(()), Err);
        self.asked(Point::Reserve, &outcome, began);
        if outcome.is_err() {
            self.unreserve(state, pod, &node.name);
        }
        outcome
    }

    /// Takes reservations back, in the opposite order.
    pub(crate) fn unreserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str) {
        for row in self.rows(Point::Reserve).iter().rev() {
            if let Some(point) = row.plugin.reserve() {
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
        for point in [Point::Permit, Point::PreBind, Point::Bind] {
            let began = Instant::now();
            let outcome = self.bind_at(point, state, pod, node).await;
            self.asked(point, &outcome, began);
            outcome?;
        }
        let began = Instant::now();
        for point in self.at(Point::PostBind).filter_map(Plugin::post_bind) {
            point.post_bind(state, pod, node).await;
        }
        self.metrics.asked(Point::PostBind, "Success", began);
        Ok(())
    }

    /// Asks the plugins of one of the points of a binding until one refuses, or has bound.
    async fn bind_at(
        &self,
        point: Point,
        state: &CycleState,
        pod: &PodInfo,
        node: &str,
    ) -> Result<(), Rejection> {
        for plugin in self.at(point) {
            let verdict = match point {
                Point::Permit => match plugin.permit() {
                    Some(permit) => permit.permit(state, pod, node).await,
                    None => continue,
                },
                Point::PreBind => match plugin.pre_bind() {
                    Some(pre_bind) => pre_bind.pre_bind(state, pod, node).await,
                    None => continue,
                },
                _ => match plugin.bind() {
                    Some(bind) => bind.bind(state, pod, node).await,
                    None => continue,
                },
            };
            let has_bound = point == Point::Bind && verdict == Verdict::Success;
            refusal(plugin, verdict).map_or(Ok(()), Err)?;
            if has_bound {
                break;
            }
        }
        Ok(())
    }
}

/// No node is left that all plugins would look at; nor would there be one if other pods went.
fn nothing_left(plugin: &dyn Plugin, narrowed: &Narrowed) -> Rejection {
    let by: Vec<&str> = narrowed.by.iter().copied().collect();
    let reason = if let [only] = by.as_slice() {
        format!("node(s) didn't satisfy plugin {only}")
    } else {
        format!(
            "node(s) didn't satisfy plugin(s) [{}] simultaneously",
            by.join(" ")
        )
    };
    Rejection::new(false, [reason]).by(plugin.name())
}

fn refusal(plugin: &dyn Plugin, verdict: Verdict) -> Option<Rejection> {
    match verdict {
        Verdict::Success | Verdict::Skip => None,
        Verdict::Reject(rejection) => Some(rejection.by(plugin.name())),
        Verdict::Error(error) => Some(Rejection::new(true, [error]).by(plugin.name())),
    }
}
