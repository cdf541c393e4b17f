//! The shell: informer events go in, decisions are made one after the other, bindings are carried out beside them.
//!
//! One task owns queue, cache and algorithm, so there is nothing to lock. It takes in what has happened before it decides again;
//! bindings and reports of failure run as tasks of their own and come back as [`Outcome`]s.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use base::{Clock, TaskGroup};
use client::{Client, Event, EventRecorder, EventType, InformerFactory, Object as _, Patch, Store};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    algorithm::{Algorithm, FitError},
    cache::Cache,
    framework::{ClusterEvent, CycleState, NodeChange, Profile},
    plugins,
    pod_info::PodInfo,
    queue::{QueuedPod, SchedulingQueue},
};

/// Bindings under way at the same time; further decisions wait.
const MAX_BINDINGS: usize = 256;

/// What the scheduler is told, under upstream's names.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pods with this `spec.schedulerName` are ours.
    pub scheduler_name: String,
    /// Decides between equal nodes; any number.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            scheduler_name: "default-scheduler".to_owned(),
            seed: 1,
        }
    }
}

/// What the scheduler stands on.
pub struct Dependencies {
    /// Its eyes and hands.
    pub informers: InformerFactory,
    /// Where it says what it did.
    pub events: EventRecorder,
    /// Time.
    pub clock: Clock,
}

/// Why the scheduler ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// Its informers ended.
    #[error("the informers of pods and nodes have ended")]
    InformersEnded,
}

/// Schedules until `cancel`led. Returns after all bindings under way have ended.
pub async fn run(
    config: Config,
    deps: Dependencies,
    cancel: CancellationToken,
) -> Result<(), SchedulerError> {
    let tasks = TaskGroup::new(&cancel);
    let result = Scheduler::new(config, deps, tasks.clone()).run().await;
    tasks.shutdown().await;
    result
}

/// What came of a decision.
struct Outcome {
    pod: QueuedPod,
    node: String,
    state: CycleState,
    result: Result<(), String>,
}

struct Scheduler {
    name: String,
    client: Client,
    events: EventRecorder,
    clock: Clock,
    tasks: TaskGroup,
    informers: InformerFactory,
    profile: Arc<Profile>,
    queue: SchedulingQueue,
    cache: Cache,
    algorithm: Algorithm,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    bindings: usize,
}

impl Scheduler {
    fn new(config: Config, deps: Dependencies, tasks: TaskGroup) -> Self {
        let client = deps.informers.client().clone();
        let profile = Arc::new(plugins::default_profile(client.clone()));
        Self {
            name: config.scheduler_name,
            client,
            events: deps.events,
            clock: deps.clock,
            tasks,
            informers: deps.informers,
            queue: SchedulingQueue::new(Arc::clone(&profile)),
            profile,
            cache: Cache::default(),
            algorithm: Algorithm::new(config.seed),
            outcomes: mpsc::channel(MAX_BINDINGS),
            bindings: 0,
        }
    }

    async fn run(mut self) -> Result<(), SchedulerError> {
        let nodes = self.informers.informer::<Node>();
        let pods = self.informers.informer::<Pod>();
        let (mut node_events, mut pod_events) = (nodes.subscribe(), pods.subscribe());
        let cancel = self.tasks.token().clone();
        // A pod bound to a node that we do not know yet would make the others look emptier than they are.
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = async { nodes.has_synced().await; pods.has_synced().await } => {}
        }
        loop {
            let now = self.clock.now();
            let may_decide = self.bindings < MAX_BINDINGS && self.queue.is_ready(now);
            let deadline = self.queue.next_deadline();
            let wake = self.clock.sleep_until(deadline.unwrap_or(Timestamp::MAX));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                Some(outcome) = self.outcomes.1.recv() => self.on_outcome(outcome),
                event = node_events.next() => match event {
                    Some(event) => self.on_node(event, nodes.store()),
                    None => return Err(SchedulerError::InformersEnded),
                },
                event = pod_events.next() => match event {
                    Some(event) => self.on_pod(event, pods.store()),
                    None => return Err(SchedulerError::InformersEnded),
                },
                () = std::future::ready(()), if may_decide => self.decide(),
                () = wake, if deadline.is_some() => {}
            }
        }
    }

    fn on_node(&mut self, event: Event<Node>, store: &Store<Node>) {
        match event {
            Event::Resync => {
                let known: HashSet<String> = store.keys().into_iter().map(|key| key.name).collect();
                for gone in self
                    .cache
                    .node_names()
                    .filter(|name| !known.contains(*name))
                    .cloned()
                    .collect::<Vec<_>>()
                {
                    self.cache.remove_node(&gone);
                }
                for node in store.list() {
                    self.set_node(node);
                }
            }
            Event::Added(node) | Event::Updated { new: node, .. } => self.set_node(node),
            Event::Deleted(node) => self.cache.remove_node(node.name()),
        }
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let event = match self.cache.node(node.name()) {
            None => Some(ClusterEvent::NodeAdded(Arc::clone(&node))),
            Some(known) => {
                let change = NodeChange::between(&known.node, &node);
                (!change.is_empty()).then(|| ClusterEvent::NodeUpdated(Arc::clone(&node), change))
            }
        };
        self.cache.set_node(node);
        if let Some(event) = event {
            self.queue.on_event(&event, self.clock.now());
        }
    }

    fn on_pod(&mut self, event: Event<Pod>, store: &Store<Pod>) {
        match event {
            Event::Resync => {
                let pods = store.list();
                let known: HashSet<&str> = pods.iter().map(|pod| pod.uid()).collect();
                for gone in self
                    .cache
                    .pod_uids()
                    .chain(self.queue.uids())
                    .filter(|uid| !known.contains(uid.as_str()))
                    .cloned()
                    .collect::<Vec<_>>()
                {
                    self.remove_pod(&gone);
                }
                for pod in pods {
                    self.set_pod(pod);
                }
            }
            Event::Added(pod) | Event::Updated { new: pod, .. } => self.set_pod(pod),
            Event::Deleted(pod) => self.remove_pod(pod.uid()),
        }
    }

    fn set_pod(&mut self, pod: Arc<Pod>) {
        let Some(spec) = &pod.spec else { return };
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.remove_pod(pod.uid());
            return;
        }
        if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
            self.queue.remove(pod.uid());
            self.cache.add_pod(node, Arc::clone(&pod));
        } else if spec.scheduler_name.as_deref() == Some(&self.name)
            && !self.cache.is_placed(pod.uid())
        {
            if pod.is_being_deleted() {
                self.queue.remove(pod.uid());
            } else {
                self.queue
                    .add_or_update(PodInfo::new(pod), self.clock.now());
            }
        }
    }

    fn remove_pod(&mut self, uid: &str) {
        self.queue.remove(uid);
        if let Some(pod) = self.cache.remove_pod(uid) {
            self.queue
                .on_event(&ClusterEvent::AssignedPodRemoved(pod), self.clock.now());
        }
    }

    /// Takes one pod off the queue and finds it a node.
    fn decide(&mut self) {
        let Some(pod) = self.queue.pop(self.clock.now()) else {
            return;
        };
        let mut state = CycleState::default();
        let nodes = self.cache.snapshot();
        let decision = self
            .algorithm
            .schedule(&self.profile, &mut state, &pod.info, &nodes);
        drop(nodes);
        let node = match decision {
            Ok(decision) => decision.node,
            Err(error) => return self.refuse(pod, error),
        };
        if let Err(rejection) = self.profile.reserve(&mut state, &pod.info, &node) {
            let message = rejection.reasons.join(", ");
            let refused_by = BTreeSet::from([rejection.plugin]);
            return self.refuse(
                pod,
                FitError {
                    message,
                    refused_by,
                    nominated_node: None,
                },
            );
        }
        debug!(pod = pod.info.key(), node, "assumed");
        self.cache.assume(&node, Arc::clone(&pod.info));
        self.bind(pod, node, state);
    }

    fn bind(&mut self, pod: QueuedPod, node: String, state: CycleState) {
        self.bindings += 1;
        let (profile, outcomes) = (Arc::clone(&self.profile), self.outcomes.0.clone());
        self.tasks.spawn("binding", async move {
            let result = profile.bind(&state, &pod.info, &node).await;
            let result = result.map_err(|rejection| rejection.reasons.join(", "));
            // The receiver is gone only when the scheduler has stopped; nobody asks then.
            let _ = outcomes
                .send(Outcome {
                    pod,
                    node,
                    state,
                    result,
                })
                .await;
        });
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        self.bindings -= 1;
        let Outcome {
            pod,
            node,
            mut state,
            result,
        } = outcome;
        let info = &pod.info;
        match result {
            Ok(()) => {
                self.queue.remove(&info.uid);
                let message = format!("Successfully assigned {} to {node}", info.key());
                self.events
                    .event(info.pod.as_ref(), EventType::Normal, "Scheduled", &message);
            }
            Err(message) => {
                warn!(pod = info.key(), node, message, "binding failed");
                self.profile.unreserve(&mut state, info, &node);
                self.cache.forget(&info.uid);
                self.refuse(
                    pod,
                    FitError {
                        message,
                        refused_by: BTreeSet::new(),
                        nominated_node: None,
                    },
                );
            }
        }
    }

    /// Puts a pod back and says why: in an event, and in its `PodScheduled` condition.
    fn refuse(&mut self, pod: QueuedPod, error: FitError) {
        let info = pod.info;
        let reason = if error.refused_by.is_empty() {
            "SchedulerError"
        } else {
            "Unschedulable"
        };
        self.queue
            .fail(&info.uid, error.refused_by, self.clock.now());
        self.events.event(
            info.pod.as_ref(),
            EventType::Warning,
            "FailedScheduling",
            &error.message,
        );
        if condition_stands(&info.pod, reason, &error.message) {
            return;
        }
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": error.message,
            "lastProbeTime": null,
            "lastTransitionTime": transition_time(&info.pod, self.clock.now()),
            "observedGeneration": info.pod.metadata.generation,
        });
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": info.uid },
            "status": {
                "conditions": [condition],
                "nominatedNodeName": error.nominated_node,
            },
        }));
        let pods = self.client.api::<Pod>(&info.namespace);
        self.tasks.spawn_cancellable("condition", async move {
            // A pod that has gone needs no condition; anything else is tried again with the next attempt.
            if let Err(error) = pods.patch_status(&info.name, &patch).await
                && !error.is_not_found()
                && !error.is_conflict()
            {
                warn!(pod = info.key(), %error, "updating the PodScheduled condition failed");
            }
        });
    }
}

/// Whether the pod says so already.
fn condition_stands(pod: &Pod, reason: &str, message: &str) -> bool {
    scheduled_condition(pod).is_some_and(|condition| {
        condition.status == "False"
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(message)
    })
}

/// When the condition became what it is about to be: unchanged while it stays false.
fn transition_time(pod: &Pod, now: Timestamp) -> String {
    let kept = scheduled_condition(pod)
        .filter(|condition| condition.status == "False")
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0);
    kept.unwrap_or(now)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

fn scheduled_condition(pod: &Pod) -> Option<&k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")
}
