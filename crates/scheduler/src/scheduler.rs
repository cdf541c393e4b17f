//! The shell: informer events go in, decisions are made one after the other, bindings and preemptions are carried out beside them.
//!
//! One task owns queue, cache and algorithm, so there is nothing to lock. It takes in what has happened before it decides again;
//! bindings, preemptions and reports of failure run as tasks of their own and come back as [`Outcome`]s. What the informers say is
//! taken in by [`crate::intake`], what is said of a pod that goes nowhere is in [`crate::report`].

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use base::{Clock, TaskGroup, metrics::Registry};
use client::{Client, EventRecorder, EventType, InformerFactory};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    algorithm::{Algorithm, FitError, Nomination},
    cache::Cache,
    configuration::{Configuration, ConfigurationError},
    executor::Executor,
    framework::{CycleState, Profiles},
    listers::Follower,
    metrics::{Attempt, Metrics, QueueMetrics},
    plugins::Handle,
    pod_info::PodInfo,
    preemption::Preemption,
    queue::{QueuedPod, SchedulingQueue},
    readiness::Readiness,
};

/// Bindings and preemptions under way at the same time; further decisions wait.
const MAX_UNDER_WAY: usize = 1024;

/// What the scheduler is told, under upstream's names.
#[derive(Clone, Debug)]
pub struct Config {
    /// Profiles and their plugins.
    pub configuration: Configuration,
    /// Decides between equal nodes; any number.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            configuration: Configuration::default(),
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
    /// Where it counts.
    pub metrics: Registry,
    /// Told when it knows the cluster.
    pub readiness: Readiness,
}

/// Why the scheduler ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// Its informers ended.
    #[error("the informers of pods and nodes have ended")]
    InformersEnded,
    /// What it was told cannot be done.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
}

/// Schedules until `cancel`led. Returns after all bindings under way have ended.
pub async fn run(
    config: Config,
    deps: Dependencies,
    cancel: CancellationToken,
) -> Result<(), SchedulerError> {
    let tasks = TaskGroup::new(&cancel);
    let follower = Follower::start(&deps.informers, &tasks);
    let informers = deps.informers.clone();
    let result = match Scheduler::new(&config, deps, &follower, tasks.clone()) {
        Ok(scheduler) => scheduler.run(&informers, follower).await,
        Err(error) => Err(error.into()),
    };
    tasks.shutdown().await;
    result
}

/// What came of a decision.
enum Outcome {
    /// The pod was bound, or not.
    Binding {
        pod: QueuedPod,
        node: String,
        state: CycleState,
        /// When the attempt did.
        began: Instant,
        result: Result<(), String>,
    },
    /// Room has been asked for, or not.
    Preemption {
        uid: String,
        refused_by: BTreeSet<&'static str>,
        displaced: Vec<String>,
        result: Result<(), String>,
    },
}

pub(crate) struct Scheduler {
    pub(crate) client: Client,
    pub(crate) events: EventRecorder,
    pub(crate) clock: Clock,
    pub(crate) tasks: TaskGroup,
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) queue: SchedulingQueue,
    pub(crate) cache: Cache,
    algorithm: Algorithm,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    under_way: usize,
    readiness: Readiness,
    pub(crate) metrics: Metrics,
}

impl Scheduler {
    fn new(
        config: &Config,
        deps: Dependencies,
        follower: &Follower,
        tasks: TaskGroup,
    ) -> Result<Self, ConfigurationError> {
        let configuration = &config.configuration;
        let client = deps.informers.client().clone();
        let metrics = Metrics::new(&deps.metrics);
        let handle = Handle {
            client: client.clone(),
            listers: follower.listers.clone(),
            clock: deps.clock.clone(),
            metrics: metrics.clone(),
        };
        let profiles = Arc::new(configuration.profiles(&handle)?);
        Ok(Self {
            client,
            events: deps.events,
            clock: deps.clock,
            tasks,
            queue: SchedulingQueue::new(
                Arc::clone(&profiles),
                configuration.backoff(),
                QueueMetrics::new(&deps.metrics),
            ),
            metrics,
            profiles,
            cache: Cache::default(),
            algorithm: Algorithm::new(config.seed, configuration.percentage()),
            outcomes: mpsc::channel(MAX_UNDER_WAY),
            under_way: 0,
            readiness: deps.readiness,
        })
    }

    async fn run(
        mut self,
        informers: &InformerFactory,
        mut follower: Follower,
    ) -> Result<(), SchedulerError> {
        let nodes = informers.informer::<Node>();
        let pods = informers.informer::<Pod>();
        let (mut node_events, mut pod_events) = (nodes.subscribe(), pods.subscribe());
        let cancel = self.tasks.token().clone();
        // A pod bound to a node that we do not know yet would make the others look emptier than they are.
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = async {
                nodes.has_synced().await;
                pods.has_synced().await;
                follower.has_synced().await;
            } => {}
        }
        self.readiness.set();
        loop {
            let now = self.clock.now();
            let may_decide = self.under_way < MAX_UNDER_WAY && self.queue.is_ready(now);
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
                Some(event) = follower.events.recv() => self.on_event(&event),
                () = std::future::ready(()), if may_decide => self.decide(),
                () = wake, if deadline.is_some() => {}
            }
        }
    }

    /// Takes one pod off the queue and finds it a node.
    fn decide(&mut self) {
        let Some(pod) = self.queue.pop(self.clock.now()) else {
            return;
        };
        let began = Instant::now();
        let profile = Arc::clone(self.profiles.of(&pod.info));
        let mut state = CycleState::default();
        let nodes = self.cache.snapshot();
        let decision = self
            .algorithm
            .schedule(&profile, &mut state, &pod.info, nodes);
        self.metrics.decided(began);
        let node = match decision {
            Ok(decision) => decision.node,
            Err(error) => return self.refuse(pod, error, began),
        };
        let reserved = match self.cache.node(&node) {
            Some(info) => profile.reserve(&mut state, &pod.info, info),
            None => Ok(()),
        };
        if let Err(rejection) = reserved {
            let error = FitError {
                message: rejection.reasons.join(", "),
                refused_by: BTreeSet::from([rejection.plugin]),
                nomination: Nomination::Clear,
            };
            return self.refuse(pod, error, began);
        }
        debug!(pod = pod.info.key(), node, "assumed");
        self.cache.nominations().withdraw(&pod.info.uid);
        self.cache.assume(&node, Arc::clone(&pod.info));
        self.bind(pod, node, state, began);
    }

    fn bind(&mut self, pod: QueuedPod, node: String, state: CycleState, began: Instant) {
        self.under_way += 1;
        let profile = Arc::clone(self.profiles.of(&pod.info));
        let outcomes = self.outcomes.0.clone();
        self.tasks.spawn("binding", async move {
            let result = profile.bind(&state, &pod.info, &node).await;
            let result = result.map_err(|rejection| rejection.reasons.join(", "));
            let outcome = Outcome::Binding {
                pod,
                node,
                state,
                began,
                result,
            };
            // The receiver is gone only when the scheduler has stopped; nobody asks then.
            let _ = outcomes.send(outcome).await;
        });
    }

    /// Makes room. Until the victims' deletion has been asked for the pod counts as under way: that they go is an event which it
    /// must not miss.
    pub(crate) fn preempt(
        &mut self,
        info: Arc<PodInfo>,
        refused_by: BTreeSet<&'static str>,
        preemption: Preemption,
    ) {
        self.under_way += 1;
        let displaced = preemption.displaced.iter();
        let displaced: Vec<String> = displaced.map(|other| other.uid.clone()).collect();
        for uid in &displaced {
            self.cache.nominations().withdraw(uid);
        }
        let executor = Executor {
            client: self.client.clone(),
            events: self.events.clone(),
            clock: self.clock.clone(),
        };
        let outcomes = self.outcomes.0.clone();
        self.tasks.spawn("preemption", async move {
            let result = executor.execute(&info, preemption).await;
            let outcome = Outcome::Preemption {
                uid: info.uid.clone(),
                refused_by,
                displaced,
                result: result.map_err(|error| error.to_string()),
            };
            let _ = outcomes.send(outcome).await;
        });
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        self.under_way -= 1;
        let now = self.clock.now();
        match outcome {
            Outcome::Binding {
                pod,
                node,
                state,
                began,
                result,
            } => self.on_bound(pod, &node, state, began, result),
            Outcome::Preemption {
                uid,
                refused_by,
                displaced,
                result,
            } => {
                if let Err(error) = &result {
                    warn!(uid, error, "preemption failed");
                }
                // Whom nobody makes room for has to look again.
                let refused_by = result.map(|()| refused_by).unwrap_or_default();
                self.queue.fail(&uid, refused_by, now);
                for other in displaced {
                    self.queue.retry(&other, now);
                }
            }
        }
    }

    fn count_scheduled(&self, pod: &QueuedPod, began: Instant) {
        let profile = self.profiles.of(&pod.info);
        self.metrics
            .attempted(profile.name(), Attempt::Scheduled, began);
        let waited = self.clock.now().duration_since(pod.first_seen);
        let waited = Duration::try_from(waited).unwrap_or_default();
        self.metrics.scheduled(waited, pod.attempts);
    }

    fn on_bound(
        &mut self,
        pod: QueuedPod,
        node: &str,
        mut state: CycleState,
        began: Instant,
        result: Result<(), String>,
    ) {
        let info = &pod.info;
        match result {
            Ok(()) => {
                self.queue.remove(&info.uid);
                self.count_scheduled(&pod, began);
                let message = format!("Successfully assigned {} to {node}", info.key());
                let pod = info.pod.as_ref();
                self.events
                    .event(pod, EventType::Normal, "Scheduled", &message);
            }
            Err(message) => {
                warn!(pod = info.key(), node, message, "binding failed");
                let profile = Arc::clone(self.profiles.of(info));
                profile.unreserve(&mut state, info, node);
                self.forget(&info.uid);
                self.refuse(pod, FitError::passing(message), began);
            }
        }
    }
}
