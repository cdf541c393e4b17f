//! The horizontal pod autoscaler: follows metrics with the number of a target's replicas, through its scale subresource.
//!
//! Every sync period each autoscaler is looked at: [`metrics`] asks what is used, [`replicas`] says what that needs, [`behavior`] how much of it
//! may be done now. What it remembers for that is lost with the process, as upstream's is.

mod behavior;
mod measure;
mod metrics;
mod replicas;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apimachinery::labels::Selector;
use async_trait::async_trait;
use client::{ApiError, Discovery, Event, EventType, Informer, Object as _, ObjectKey, Workqueue};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

use self::{
    behavior::{Memory, limit},
    measure::{current_metric, tolerances},
    metrics::Metrics,
    replicas::Scaled,
    target::Target,
};

pub(crate) const NAME: &str = "horizontal-pod-autoscaler-controller";
/// How long what the server serves is taken as known.
const DISCOVERY_LIFE: Duration = Duration::from_secs(30);

struct Autoscalers {
    ctx: ControllerContext,
    autoscalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    metrics: Metrics,
    /// By autoscaler.
    memory: Mutex<HashMap<ObjectKey, Memory>>,
    /// The selectors of the targets, by autoscaler: no pod may have two.
    selectors: Mutex<HashMap<ObjectKey, Selector>>,
    discovery: tokio::sync::Mutex<Option<(Timestamp, Arc<Discovery>)>>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(Autoscalers {
        autoscalers: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        metrics: Metrics::new(ctx.client.clone()),
        memory: Mutex::default(),
        selectors: Mutex::default(),
        discovery: tokio::sync::Mutex::default(),
        ctx: ctx.clone(),
    });
    let queue: Workqueue<ObjectKey> = ctx.queue("horizontalpodautoscaler");
    let (store, changed) = (controller.autoscalers.store().clone(), queue.clone());
    on_events(
        &ctx,
        NAME,
        &controller.autoscalers,
        move |event| match event {
            Event::Resync => store.keys().into_iter().for_each(|key| changed.add(key)),
            // Our own status is no reason to look again.
            Event::Updated { old, new } if old.spec == new.spec => {}
            Event::Added(autoscaler)
            | Event::Updated {
                new: autoscaler, ..
            } => {
                changed.add(autoscaler.key());
            }
            Event::Deleted(autoscaler) => changed.add(autoscaler.key()),
        },
    );
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.horizontal_pod_autoscaler,
        &queue,
        controller,
    );
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One look at an autoscaler: what is found is written into its status.
struct Look<'a> {
    autoscaler: &'a HorizontalPodAutoscaler,
    conditions: Vec<HorizontalPodAutoscalerCondition>,
    current: Option<i32>,
    desired: i32,
    metrics: Vec<Value>,
    scaled_at: Option<Time>,
    now: Timestamp,
}

impl<'a> Look<'a> {
    fn begin(autoscaler: &'a HorizontalPodAutoscaler, now: Timestamp) -> Self {
        let status = autoscaler.status.clone().unwrap_or_default();
        Self {
            autoscaler,
            conditions: status.conditions.unwrap_or_default(),
            current: status.current_replicas,
            desired: status.desired_replicas,
            metrics: Vec::new(),
            scaled_at: status.last_scale_time,
            now,
        }
    }

    fn say(&mut self, kind: &str, value: &str, reason: &str, message: &str) {
        let known = self.conditions.iter_mut().find(|known| known.type_ == kind);
        let condition = match known {
            Some(known) => known,
            None => {
                self.conditions.push(HorizontalPodAutoscalerCondition {
                    type_: kind.to_owned(),
                    ..HorizontalPodAutoscalerCondition::default()
                });
                let last = self.conditions.len() - 1;
                &mut self.conditions[last]
            }
        };
        if condition.status != value {
            condition.last_transition_time = Some(Time(self.now));
        }
        condition.status = value.to_owned();
        condition.reason = Some(reason.to_owned());
        condition.message = Some(message.to_owned());
    }

    fn status(&self) -> Value {
        let mut status = json!({
            "currentReplicas": self.current.unwrap_or_default(),
            "desiredReplicas": self.desired,
            "conditions": self.conditions,
            "currentMetrics": self.metrics,
        });
        if let Some(at) = &self.scaled_at {
            status["lastScaleTime"] = json!(at);
        }
        status
    }
}

#[async_trait]
impl Reconciler for Autoscalers {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.autoscalers.has_synced().await;
        self.pods.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(autoscaler) = self.autoscalers.store().get_key(key) else {
            lock(&self.memory).remove(key);
            lock(&self.selectors).remove(key);
            return Ok(Next::OnEvent);
        };
        let mut look = Look::begin(&autoscaler, self.ctx.clock.now());
        if let Err(complaint) = self.look(key, &mut look).await {
            tracing::debug!(controller = NAME, %key, complaint, "not scaled");
        }
        self.write_status(&autoscaler, &look).await?;
        Ok(Next::After(self.ctx.config.autoscaling.sync_period))
    }
}

impl Autoscalers {
    fn warn(&self, look: &Look<'_>, reason: &str, message: &str) {
        let recorder = &self.ctx.recorder;
        recorder.event(look.autoscaler, EventType::Warning, reason, message);
    }

    async fn look(&self, key: &ObjectKey, look: &mut Look<'_>) -> Result<(), String> {
        let spec = &look.autoscaler.spec;
        let target = match self.target(look.autoscaler).await {
            Ok(target) => target,
            Err(complaint) => {
                self.warn(look, "FailedGetScale", &complaint);
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {complaint}"
                );
                look.say("AbleToScale", "False", "FailedGetScale", &message);
                return Err(complaint);
            }
        };
        look.say(
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        );
        let current = target.replicas();
        look.current = Some(current);
        lock(&self.memory)
            .entry(key.clone())
            .or_default()
            .begin(current, look.now);
        let minimum = spec.min_replicas.unwrap_or(1);
        let (wanted, reason) = if current == 0 {
            look.say(
                "ScalingActive",
                "False",
                "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero",
            );
            (0, String::new())
        } else if current > spec.max_replicas {
            let reason = "Current number of replicas above Spec.MaxReplicas";
            (spec.max_replicas, reason.to_owned())
        } else if current < minimum {
            let reason = "Current number of replicas below Spec.MinReplicas";
            (minimum, reason.to_owned())
        } else {
            self.by_metrics(key, look, &target).await?
        };
        look.desired = wanted;
        if wanted == current {
            return Ok(());
        }
        self.scale(key, look, target, wanted, &reason).await
    }

    /// What the metrics ask for, within what the behavior allows, and why.
    async fn by_metrics(
        &self,
        key: &ObjectKey,
        look: &mut Look<'_>,
        target: &Target,
    ) -> Result<(i32, String), String> {
        let current = target.replicas();
        let computed = self.compute(key, look, target).await;
        let (proposed, metric) = computed.inspect_err(|complaint| {
            self.warn(look, "FailedComputeMetricsReplicas", complaint);
        })?;
        let reason = if proposed > current {
            format!("{metric} above target")
        } else {
            "All metrics below target".to_owned()
        };
        let mut memory = lock(&self.memory);
        let memory = memory.entry(key.clone()).or_default();
        let (wanted, said) = limit(
            &look.autoscaler.spec,
            memory,
            current,
            proposed,
            self.ctx.config.autoscaling.downscale_stabilization,
            look.now,
        );
        for (kind, value, why, message) in said {
            look.say(kind, value, why, &message);
        }
        Ok((wanted, reason))
    }

    /// The highest of what the metrics ask for. Some may fail, unless the others want less than there is: then nothing is done.
    async fn compute(
        &self,
        key: &ObjectKey,
        look: &mut Look<'_>,
        target: &Target,
    ) -> Result<(i32, String), String> {
        let written = target.scale["status"]["selector"]
            .as_str()
            .unwrap_or_default();
        let selector = self.check_selector(key, look, written)?;
        let pods: Vec<Arc<Pod>> = self.selected(&key.namespace, &selector);
        let settings = self.ctx.config.autoscaling;
        let scaled = Scaled {
            replicas: target.replicas(),
            pods: &pods,
            tolerances: tolerances(look.autoscaler, settings.tolerance),
            settings,
            now: look.now,
        };
        let there = target.scale["status"]["replicas"]
            .as_i64()
            .unwrap_or_default();
        let there = i32::try_from(there).unwrap_or(i32::MAX);
        let specs = look.autoscaler.spec.metrics.clone().unwrap_or_default();
        let mut highest: Option<(i32, String)> = None;
        let mut failed: Vec<(&'static str, String)> = Vec::new();
        for spec in &specs {
            match self
                .measure(&key.namespace, written, &scaled, there, spec)
                .await
            {
                Ok((proposal, name)) => {
                    look.metrics.push(current_metric(spec, &proposal));
                    if highest
                        .as_ref()
                        .is_none_or(|(most, _)| proposal.replicas > *most)
                    {
                        highest = Some((proposal.replicas, name));
                    }
                }
                Err((reason, complaint)) => {
                    self.warn(look, reason, &complaint);
                    failed.push((reason, complaint));
                }
            }
        }
        let first_failure = failed.first();
        let enough =
            highest.filter(|(replicas, _)| failed.is_empty() || *replicas >= scaled.replicas);
        if let (None, Some((reason, complaint))) = (&enough, first_failure) {
            let message = format!("the HPA was unable to compute the replica count: {complaint}");
            look.say("ScalingActive", "False", reason, &message);
            return Err(format!(
                "invalid metrics ({} invalid out of {}), first error is: {complaint}",
                failed.len(),
                specs.len()
            ));
        }
        let (replicas, name) = enough.unwrap_or((scaled.replicas, String::new()));
        let message =
            format!("the HPA was able to successfully calculate a replica count from {name}");
        look.say("ScalingActive", "True", "ValidMetricFound", &message);
        Ok((replicas, name))
    }

    fn selected(&self, namespace: &str, selector: &Selector) -> Vec<Arc<Pod>> {
        let mut pods = self.pods.store().list_namespace(namespace);
        pods.retain(|pod| selector.matches_with(|label| pod.label(label)));
        pods
    }

    /// The selector of the target's pods, if it is one and no other autoscaler has any of them.
    fn check_selector(
        &self,
        key: &ObjectKey,
        look: &mut Look<'_>,
        written: &str,
    ) -> Result<Selector, String> {
        let refuse = |look: &mut Look<'_>, event, reason, complaint: String, message: &str| {
            self.warn(look, event, &complaint);
            look.say("ScalingActive", "False", reason, message);
            Err(complaint)
        };
        if written.is_empty() {
            let message = "the HPA target's scale is missing a selector";
            let complaint = "selector is required".to_owned();
            return refuse(
                look,
                "SelectorRequired",
                "InvalidSelector",
                complaint,
                message,
            );
        }
        let selector = match Selector::parse(written) {
            Ok(selector) => selector,
            Err(error) => {
                let complaint = format!(
                    "couldn't convert selector into a corresponding internal selector object: {error}"
                );
                let message = complaint.clone();
                return refuse(
                    look,
                    "InvalidSelector",
                    "InvalidSelector",
                    complaint,
                    &message,
                );
            }
        };
        let pods = self.selected(&key.namespace, &selector);
        let mut selectors = lock(&self.selectors);
        selectors.insert(key.clone(), selector.clone());
        let mut rivals: Vec<&ObjectKey> = selectors
            .iter()
            .filter(|(other, selector)| {
                other.namespace == key.namespace
                    && pods
                        .iter()
                        .any(|pod| selector.matches_with(|label| pod.label(label)))
            })
            .map(|(other, _)| other)
            .collect();
        if rivals.len() > 1 {
            rivals.sort_by(|a, b| a.name.cmp(&b.name));
            let named: Vec<String> = rivals
                .iter()
                .map(|rival| format!("{{{} {}}}", rival.name, rival.namespace))
                .collect();
            let complaint = format!(
                "pods by selector {written} are controlled by multiple HPAs: [{}]",
                named.join(" ")
            );
            let message = complaint.clone();
            return refuse(
                look,
                "AmbiguousSelector",
                "AmbiguousSelector",
                complaint,
                &message,
            );
        }
        Ok(selector)
    }

    async fn write_status(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        look: &Look<'_>,
    ) -> Result<(), Error> {
        let status = serde_json::from_value(look.status());
        let status = status.map_err(|error| Error::State(error.to_string()))?;
        let mut changed = autoscaler.clone();
        changed.status = Some(status);
        let before = json!(autoscaler.status);
        let same = json!(changed.status) == before;
        if !same {
            let api = self
                .ctx
                .client
                .api::<HorizontalPodAutoscaler>(autoscaler.namespace());
            ApiError::not_found_is_none(api.update_status(&changed).await)?;
        }
        Ok(())
    }
}
