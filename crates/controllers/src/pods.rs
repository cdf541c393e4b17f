//! Facts about pods that several controllers need (upstream's `podutil`).

use std::sync::Arc;
use std::time::Duration;

use client::Object as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// `status.phase`, empty before the first status.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Whether all its containers have ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it runs, or may run yet: neither ended nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !pod.is_being_deleted()
}

/// Whether it is being deleted and has not ended yet.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.is_being_deleted()
}

/// One condition of its status.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// The `Ready` condition.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when it is ready, if it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Ready for at least `min_ready_seconds`.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    if !is_ready(pod) {
        return false;
    }
    if min_ready_seconds == 0 {
        return true;
    }
    let wait = SignedDuration::from_secs(i64::from(min_ready_seconds));
    ready_since(pod).is_some_and(|since| now.duration_since(since) >= wait)
}

/// How long until the first of `pods` that are ready is available, which no event tells. `None` if nothing comes of waiting.
pub(crate) fn next_availability(
    pods: &[Arc<Pod>],
    min_ready_seconds: i32,
    now: Timestamp,
) -> Option<Duration> {
    let wait = SignedDuration::from_secs(i64::from(min_ready_seconds));
    pods.iter()
        .filter_map(|pod| ready_since(pod))
        .map(|since| wait - now.duration_since(since))
        .filter(SignedDuration::is_positive)
        .min()
        .map(SignedDuration::unsigned_abs)
}

/// `spec.nodeName`, empty before binding.
pub(crate) fn node_name(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

/// The highest restart count among its containers.
pub(crate) fn max_restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    containers
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .max()
        .unwrap_or_default()
}

/// A pod of a template, with a generated name after its controller's.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    parent: &str,
    controller: OwnerReference,
) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    // Upstream cuts the prefix where the name would become too long; the server does that at generation.
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{parent}-")),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![controller]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ready_at(time: &str) -> Arc<Pod> {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": time});
        let pod = json!({"metadata": {"name": "p"}, "status": {"conditions": [ready]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_next_pod_to_be_available_is_waited_for_and_no_longer() {
        let pods = [
            ready_at("2026-01-01T00:00:00Z"),
            ready_at("2026-01-01T00:00:07Z"),
            ready_at("2026-01-01T00:00:09Z"),
            Arc::new(Pod::default()),
        ];
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        let next = |seconds| next_availability(&pods, seconds, now);
        assert_eq!(next(0), None);
        assert_eq!(next(2), Some(Duration::from_secs(1)));
        assert_eq!(next(5), Some(Duration::from_secs(2)));
        assert_eq!(next(15), Some(Duration::from_secs(5)));
    }
}
