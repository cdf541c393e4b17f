//! `endpoints.kubernetes.io/last-change-trigger-time`: when what an Endpoints or EndpointSlice object tells of has happened, by which proxies
//! measure how long a change takes to reach the kernel.
//!
//! As upstream: of what has changed since the Service was last looked at (its creation, its pods' readiness), the earliest; of several
//! changes of one pod between two looks only the last is seen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use client::{Object as _, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What was seen of a Service when it was last looked at.
#[derive(Default)]
struct Seen {
    created: Option<Timestamp>,
    pods: HashMap<String, Timestamp>,
}

/// What was seen of all Services. Bounded by them and their pods.
#[derive(Default)]
pub(crate) struct TriggerTimeTracker {
    services: Mutex<HashMap<ObjectKey, Seen>>,
}

impl TriggerTimeTracker {
    /// The time to write beside a change that is made now; none if nothing that has a time has changed.
    pub(crate) fn last_change(&self, service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
        let created = service.metadata.creation_timestamp.as_ref();
        let now = Seen {
            created: created.map(|time| time.0),
            pods: pods
                .iter()
                .filter_map(|pod| Some((pod.name().to_owned(), turned_ready_or_not(pod)?)))
                .collect(),
        };
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = services.get(&service.key()) else {
            let created = now.created;
            services.insert(service.key(), now);
            return created;
        };
        let newer = |pod: &String, time: Timestamp| before.pods.get(pod) < Some(&time);
        let of_pods = now.pods.iter().filter(|(pod, time)| newer(pod, **time));
        let of_service = now.created.filter(|_| now.created > before.created);
        let changed = of_pods.map(|(_, time)| *time).chain(of_service).min();
        services.insert(service.key(), now);
        changed
    }

    /// The Service is gone.
    pub(crate) fn forget(&self, service: &ObjectKey) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.remove(service);
    }
}

fn turned_ready_or_not(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions.iter().find(|found| found.type_ == "Ready")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Writes the time beside a change, or takes that of an older change away.
pub(crate) fn stamp(metadata: &mut ObjectMeta, time: Option<Timestamp>) {
    match time {
        Some(time) => {
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.insert(ANNOTATION.to_owned(), time.to_string());
        }
        None => {
            if let Some(annotations) = &mut metadata.annotations {
                annotations.remove(ANNOTATION);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: u8) -> Timestamp {
        format!("2026-01-01T00:00:{second:02}Z").parse().unwrap()
    }

    fn service() -> Service {
        let metadata = json!({"name": "s", "namespace": "ns", "creationTimestamp": at(1)});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn pod(name: &str, second: u8) -> Arc<Pod> {
        let condition =
            json!({"type": "Ready", "status": "True", "lastTransitionTime": at(second)});
        let pod = json!({"metadata": {"name": name}, "status": {"conditions": [condition]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_earliest_of_what_has_changed() {
        let tracker = TriggerTimeTracker::default();
        let look = |pods: &[Arc<Pod>]| tracker.last_change(&service(), pods);
        assert_eq!(look(&[pod("a", 5)]), Some(at(1)), "a new Service");
        assert_eq!(look(&[pod("a", 5)]), None, "nothing has changed");
        assert_eq!(look(&[pod("a", 9), pod("b", 7)]), Some(at(7)));
        assert_eq!(look(&[pod("b", 7)]), None, "a pod that goes has no time");
        tracker.forget(&service().key());
        assert_eq!(look(&[]), Some(at(1)));
    }

    #[test]
    fn an_older_time_does_not_stay() {
        let mut metadata = ObjectMeta::default();
        stamp(&mut metadata, Some(at(3)));
        let written = &metadata.annotations.as_ref().unwrap()[ANNOTATION];
        assert_eq!(written, "2026-01-01T00:00:03Z");
        stamp(&mut metadata, None);
        assert_eq!(metadata.annotations.unwrap().len(), 0);
    }
}
