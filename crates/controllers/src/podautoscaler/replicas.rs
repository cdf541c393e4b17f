//! How many replicas a metric asks for. Pure.
//!
//! The ratio of what is used to what is aimed at, times the pods that count. Pods that are not ready, or of which nothing is known, are
//! counted so that they damp the change: as using nothing when it goes up, and all that they may when it goes down (KEP-117).

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::quantity::Quantity;
use client::Object as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{config::Autoscaling, pods};

/// What was measured of a pod, in thousandths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) value: i64,
    pub(super) at: Timestamp,
    pub(super) window: SignedDuration,
}

/// By the pods' names.
pub(super) type Measurements = BTreeMap<String, Measured>;

/// How far usage may be off before something is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerances {
    pub(super) down: f64,
    pub(super) up: f64,
}

impl Tolerances {
    fn allow(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What a metric asks for, and what it is now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// In thousandths.
    pub(super) usage: i64,
    /// In percent of what is requested.
    pub(super) utilization: Option<i32>,
}

/// The target, and the pods that count.
pub(super) struct Scaled<'a> {
    pub(super) replicas: i32,
    pub(super) pods: &'a [std::sync::Arc<Pod>],
    pub(super) tolerances: Tolerances,
    pub(super) settings: Autoscaling,
    pub(super) now: Timestamp,
}

/// The usage of some pods: its ratio to what is aimed at, its average, and in percent.
struct Usage {
    ratio: f64,
    average: i64,
    utilization: Option<i32>,
}

/// Rounds up, within what a number of replicas can be.
fn ceiling(replicas: f64) -> i32 {
    // A cast saturates.
    replicas.ceil() as i32
}

type Values = BTreeMap<String, i64>;

impl Scaled<'_> {
    /// By a share of what the pods request.
    pub(super) fn by_utilization(
        &self,
        measurements: &Measurements,
        resource: &str,
        container: Option<&str>,
        target_percent: i32,
    ) -> Result<Proposal, String> {
        let requests = self.requests(resource, container)?;
        let usage = |values: &Values| {
            let known = values
                .iter()
                .filter_map(|(pod, value)| Some((value, requests.get(pod)?)));
            let (mut used, mut requested, mut count) = (0_i64, 0_i64, 0_i64);
            for (value, request) in known {
                used += value;
                requested += request;
                count += 1;
            }
            if requested == 0 {
                return Err("no metrics returned matched known pods".to_owned());
            }
            let percent = i32::try_from(used.saturating_mul(100) / requested).unwrap_or(i32::MAX);
            Ok(Usage {
                ratio: f64::from(percent) / f64::from(target_percent),
                average: used / count,
                utilization: Some(percent),
            })
        };
        let all_it_may = |pod: &str| {
            let request = requests.get(pod).copied().unwrap_or_default();
            request * i64::from(target_percent.max(100)) / 100
        };
        self.weigh(measurements, Some(resource), usage, all_it_may)
    }

    /// By an average value a pod, in thousandths. `resource`: what is measured, if it is a resource.
    pub(super) fn by_average(
        &self,
        measurements: &Measurements,
        resource: Option<&str>,
        target: i64,
    ) -> Result<Proposal, String> {
        let usage = |values: &Values| {
            let count = i64::try_from(values.len()).unwrap_or(i64::MAX).max(1);
            let average = values.values().sum::<i64>() / count;
            Ok(Usage {
                ratio: average as f64 / target as f64,
                average,
                utilization: None,
            })
        };
        self.weigh(measurements, resource, usage, |_| target)
    }

    /// By one value for all pods together (of an object, or from outside).
    pub(super) fn by_value(&self, usage: i64, target: i64) -> Result<Proposal, String> {
        let ratio = usage as f64 / target as f64;
        let replicas = if self.replicas == 0 {
            ceiling(ratio)
        } else if self.tolerances.allow(ratio) {
            self.replicas
        } else if self.pods.is_empty() {
            return Err(
                "unable to calculate ready pods: no pods returned by selector while calculating replica count"
                    .to_owned(),
            );
        } else {
            let ready =
                |pod: &&std::sync::Arc<Pod>| pods::phase(pod) == "Running" && pods::is_ready(pod);
            ceiling(ratio * self.pods.iter().filter(ready).count() as f64)
        };
        Ok(Proposal {
            replicas,
            usage,
            utilization: None,
        })
    }

    /// By one value that the pods share: so much for each. `replicas` are those that there are.
    pub(super) fn by_share(&self, usage: i64, target: i64, replicas: i32) -> Proposal {
        let ratio = usage as f64 / (target as f64 * f64::from(replicas));
        let wanted = if self.tolerances.allow(ratio) {
            replicas
        } else {
            ceiling(usage as f64 / target as f64)
        };
        Proposal {
            replicas: wanted,
            usage: (usage as f64 / f64::from(replicas)).ceil() as i64,
            utilization: None,
        }
    }

    fn weigh(
        &self,
        measurements: &Measurements,
        resource: Option<&str>,
        usage: impl Fn(&Values) -> Result<Usage, String>,
        all_it_may: impl Fn(&str) -> i64,
    ) -> Result<Proposal, String> {
        if self.pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".to_owned());
        }
        let groups = self.group(measurements, resource);
        let mut values: Values = measurements
            .iter()
            .filter(|(pod, _)| {
                !groups.ignored.contains(pod.as_str()) && !groups.unready.contains(pod.as_str())
            })
            .map(|(pod, measured)| (pod.clone(), measured.value))
            .collect();
        if values.is_empty() {
            return Err(
                "did not receive metrics for targeted pods (pods might be unready)".to_owned(),
            );
        }
        let first = usage(&values)?;
        let proposal = |replicas| Proposal {
            replicas,
            usage: first.average,
            utilization: first.utilization,
        };
        let up_with_unready = !groups.unready.is_empty() && first.ratio > 1.0;
        if !up_with_unready && groups.missing.is_empty() {
            return Ok(proposal(if self.tolerances.allow(first.ratio) {
                self.replicas
            } else {
                ceiling(first.ratio * groups.ready as f64)
            }));
        }
        for pod in &groups.missing {
            if first.ratio < 1.0 {
                values.insert((*pod).to_owned(), all_it_may(pod));
            } else if first.ratio > 1.0 {
                values.insert((*pod).to_owned(), 0);
            }
        }
        if up_with_unready {
            values.extend(groups.unready.iter().map(|pod| ((*pod).to_owned(), 0)));
        }
        let second = usage(&values)?.ratio;
        let turned = (first.ratio < 1.0 && second > 1.0) || (first.ratio > 1.0 && second < 1.0);
        if self.tolerances.allow(second) || turned {
            return Ok(proposal(self.replicas));
        }
        let wanted = ceiling(second * values.len() as f64);
        let wrong_way =
            (second < 1.0 && wanted > self.replicas) || (second > 1.0 && wanted < self.replicas);
        Ok(proposal(if wrong_way { self.replicas } else { wanted }))
    }

    fn group(&self, measurements: &Measurements, resource: Option<&str>) -> Groups<'_> {
        let mut groups = Groups::default();
        for pod in self.pods {
            let name = pod.name();
            if pod.is_being_deleted() || pods::phase(pod) == "Failed" {
                groups.ignored.insert(name);
            } else if pods::phase(pod) == "Pending" {
                groups.unready.insert(name);
            } else {
                match measurements.get(name) {
                    None => {
                        groups.missing.insert(name);
                    }
                    Some(measured)
                        if resource == Some("cpu") && !self.cpu_counts(pod, measured) =>
                    {
                        groups.unready.insert(name);
                    }
                    Some(_) => groups.ready += 1,
                }
            }
        }
        groups
    }

    /// Whether a measurement of CPU is not that of a pod that is starting.
    fn cpu_counts(&self, pod: &Pod, measured: &Measured) -> bool {
        let started = pod
            .status
            .as_ref()
            .and_then(|status| status.start_time.as_ref());
        let (Some(started), Some(ready)) = (started, pods::condition(pod, "Ready")) else {
            return false;
        };
        let since = ready
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::MIN, |time| time.0);
        let unready = ready.status == "False";
        if started.0 + self.settings.cpu_initialization_period > self.now {
            !(unready || measured.at < since.saturating_add(measured.window).unwrap_or(since))
        } else {
            // It has never been ready.
            !(unready && started.0 + self.settings.initial_readiness_delay > since)
        }
    }

    /// What each pod requests of a resource, in thousandths.
    fn requests(&self, resource: &str, container: Option<&str>) -> Result<Values, String> {
        let mut requests = Values::new();
        for pod in self.pods {
            let request = pod_request(pod, resource, container)?;
            requests.insert(pod.name().to_owned(), request);
        }
        Ok(requests)
    }
}

#[derive(Default)]
struct Groups<'a> {
    ready: usize,
    unready: BTreeSet<&'a str>,
    missing: BTreeSet<&'a str>,
    ignored: BTreeSet<&'a str>,
}

fn milli(written: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> i64 {
    written
        .0
        .parse::<Quantity>()
        .map_or(0, |quantity| quantity.milli_value())
}

fn pod_request(pod: &Pod, resource: &str, container: Option<&str>) -> Result<i64, String> {
    let spec = pod.spec.as_ref();
    let of_pod = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    if let (Some(requests), None) = (of_pod, container) {
        let request = requests.get(resource).map(milli);
        return request.ok_or_else(|| {
            format!(
                "missing pod-level request for {resource} in Pod {}",
                pod.name()
            )
        });
    }
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec
        .into_iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().filter(sidecar));
    let containers = spec.into_iter().flat_map(|spec| &spec.containers);
    let mut sum = 0;
    let mut found = container.is_none();
    for known in containers.chain(sidecars) {
        if container.is_some_and(|name| name != known.name) {
            continue;
        }
        found = true;
        let requests = known
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref());
        let request = requests.and_then(|requests| requests.get(resource));
        sum += milli(request.ok_or_else(|| {
            format!(
                "missing request for {resource} in container {} of Pod {}",
                known.name,
                pod.name()
            )
        })?);
    }
    match container {
        Some(name) if !found => Err(format!("container {name} not found in Pod {}", pod.name())),
        _ => Ok(sum),
    }
}
