//! `prober_probe_total`, by pod: what `/metrics/probes` shows. A pod that goes takes its series with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::metrics::Registry;
use k8s_openapi::api::core::v1::Pod;

use super::ProbeType;
use crate::pod::{name, namespace, uid};

/// How one probing ended, in the words of the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Successful,
    Failed,
    Unknown,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

struct PodProbes {
    namespace: String,
    name: String,
    /// By container, type of probe and outcome.
    counts: BTreeMap<(String, &'static str, Outcome), u64>,
}

/// Counts probings. Bounded by the node's pods and their probes. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(super) struct ProbeMetrics {
    pods: Arc<Mutex<HashMap<String, PodProbes>>>,
}

impl ProbeMetrics {
    /// Shown in this registry.
    pub(super) fn new(registry: &Registry) -> Self {
        let metrics = Self::default();
        let shown = metrics.clone();
        registry.on_scrape(
            "prober_probe_total",
            "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
            "counter",
            move |sink| {
                for (uid, pod) in shown.lock().iter() {
                    for ((container, probe, outcome), count) in &pod.counts {
                        let labels = [
                            ("container", container.as_str()),
                            ("namespace", &pod.namespace),
                            ("pod", &pod.name),
                            ("pod_uid", uid),
                            ("probe_type", probe),
                            ("result", outcome.as_str()),
                        ];
                        sink.sample(&labels, *count as f64);
                    }
                }
            },
        );
        metrics
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, PodProbes>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One probing.
    pub(super) fn count(&self, pod: &Pod, container: &str, probe: ProbeType, outcome: Outcome) {
        let mut pods = self.lock();
        let of_pod = pods
            .entry(uid(pod).to_owned())
            .or_insert_with(|| PodProbes {
                namespace: namespace(pod).to_owned(),
                name: name(pod).to_owned(),
                counts: BTreeMap::new(),
            });
        let key = (container.to_owned(), probe.as_str(), outcome);
        *of_pod.counts.entry(key).or_default() += 1;
    }

    /// The pod is gone.
    pub(super) fn forget(&self, pod_uid: &str) {
        self.lock().remove(pod_uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_go_with_their_pod() {
        let registry = Registry::new();
        let metrics = ProbeMetrics::new(&registry);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        }))
        .unwrap();
        metrics.count(&pod, "c", ProbeType::Liveness, Outcome::Failed);
        metrics.count(&pod, "c", ProbeType::Liveness, Outcome::Failed);
        let expected = "prober_probe_total{container=\"c\",namespace=\"ns\",pod=\"p\",pod_uid=\"u\",probe_type=\"Liveness\",result=\"failed\"} 2";
        assert!(
            registry.encode().contains(expected),
            "{}",
            registry.encode()
        );
        metrics.forget("u");
        assert!(!registry.encode().contains("pod_uid"));
    }
}
