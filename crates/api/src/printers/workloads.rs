//! Rows of the kinds that own pods.

use apimachinery::{Object, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    age::{age, human_duration, seconds_between, since},
    format::{
        NONE, bool_text, condition_is_true, containers, count, labels, or, selector, template_spec,
    },
};
use crate::fields::Fields;

/// Name, Ready, Up-to-date, Available, Age, Containers, Images, Selector.
pub(super) fn deployment(object: &Object, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.object("spec"), object.object("status"));
    let [names, images] = containers(template_spec(object));
    vec![
        json!(meta::name(object)),
        json!(format!(
            "{}/{}",
            count(status, "readyReplicas"),
            count(spec, "replicas")
        )),
        json!(count(status, "updatedReplicas")),
        json!(count(status, "availableReplicas")),
        json!(age(object, now)),
        names,
        images,
        json!(selector(spec.and_then(|s| s.object("selector")))),
    ]
}

/// Name, Desired, Current, Ready, Age, Containers, Images, Selector.
pub(super) fn replica_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let selector = selector(object.object("spec").and_then(|s| s.object("selector")));
    replicated(object, now, selector)
}

/// Like [`replica_set`], whose selector is a plain map.
pub(super) fn replication_controller(object: &Object, now: Timestamp) -> Vec<Value> {
    let selector = labels(object.object("spec").and_then(|s| s.object("selector")));
    replicated(object, now, selector)
}

fn replicated(object: &Object, now: Timestamp, selector: String) -> Vec<Value> {
    let (spec, status) = (object.object("spec"), object.object("status"));
    let [names, images] = containers(template_spec(object));
    vec![
        json!(meta::name(object)),
        json!(count(spec, "replicas")),
        json!(count(status, "replicas")),
        json!(count(status, "readyReplicas")),
        json!(age(object, now)),
        names,
        images,
        json!(selector),
    ]
}

/// Name, Ready, Age, Containers, Images.
pub(super) fn stateful_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.object("spec"), object.object("status"));
    let [names, images] = containers(template_spec(object));
    vec![
        json!(meta::name(object)),
        json!(format!(
            "{}/{}",
            count(status, "readyReplicas"),
            count(spec, "replicas")
        )),
        json!(age(object, now)),
        names,
        images,
    ]
}

/// Name, Desired, Current, Ready, Up-to-date, Available, Node Selector, Age, Containers, Images, Selector.
pub(super) fn daemon_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.object("spec"), object.object("status"));
    let template = template_spec(object);
    let [names, images] = containers(template);
    vec![
        json!(meta::name(object)),
        json!(count(status, "desiredNumberScheduled")),
        json!(count(status, "currentNumberScheduled")),
        json!(count(status, "numberReady")),
        json!(count(status, "updatedNumberScheduled")),
        json!(count(status, "numberAvailable")),
        json!(labels(template.and_then(|t| t.object("nodeSelector")))),
        json!(age(object, now)),
        names,
        images,
        json!(selector(spec.and_then(|s| s.object("selector")))),
    ]
}

/// Name, Status, Completions, Duration, Age, Containers, Images, Selector.
pub(super) fn job(object: &Object, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.object("spec"), object.object("status"));
    let succeeded = count(status, "succeeded");
    let completions = match spec.and_then(|s| s.int("completions")) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None => match count(spec, "parallelism") {
            parallel if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
            _ => format!("{succeeded}/1"),
        },
    };
    let start = status.map_or("", |s| s.text("startTime"));
    let end = status.map_or("", |s| s.text("completionTime"));
    let duration = if start.is_empty() {
        String::new()
    } else if end.is_empty() {
        since(start, now)
    } else {
        seconds_between(start, end)
            .map(human_duration)
            .unwrap_or_default()
    };
    let word = if condition_is_true(status, "Complete") {
        "Complete"
    } else if condition_is_true(status, "Failed") {
        "Failed"
    } else if meta::is_deleting(object) {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .into_iter()
            .find(|c| condition_is_true(status, c))
            .unwrap_or("Running")
    };
    let [names, images] = containers(template_spec(object));
    vec![
        json!(meta::name(object)),
        json!(word),
        json!(completions),
        json!(duration),
        json!(age(object, now)),
        names,
        images,
        json!(selector(spec.and_then(|s| s.object("selector")))),
    ]
}

/// Name, Schedule, Timezone, Suspend, Active, Last Schedule, Age, Containers, Images, Selector.
pub(super) fn cron_job(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let status = object.object("status").unwrap_or(&empty);
    let job = spec.object("jobTemplate").and_then(|t| t.object("spec"));
    let last = status.text("lastScheduleTime");
    let last = if last.is_empty() {
        NONE.to_owned()
    } else {
        since(last, now)
    };
    let [names, images] = containers(
        job.and_then(|j| j.object("template"))
            .and_then(|t| t.object("spec")),
    );
    vec![
        json!(meta::name(object)),
        json!(spec.text("schedule")),
        json!(or(spec.text("timeZone"), NONE)),
        json!(bool_text(spec.bool_opt("suspend"))),
        json!(status.list("active").len()),
        json!(last),
        json!(age(object, now)),
        names,
        images,
        json!(selector(job.and_then(|j| j.object("selector")))),
    ]
}

/// Name, Containers, Images, Pod Labels.
pub(super) fn pod_template(object: &Object, _now: Timestamp) -> Vec<Value> {
    let template = object.object("template");
    let [names, images] = containers(template.and_then(|t| t.object("spec")));
    let pod_labels = template
        .and_then(|t| t.object("metadata"))
        .and_then(|m| m.object("labels"));
    vec![
        json!(meta::name(object)),
        names,
        images,
        json!(labels(pod_labels)),
    ]
}

/// Name, Controller, Revision, Age.
pub(super) fn controller_revision(object: &Object, now: Timestamp) -> Vec<Value> {
    let controller = match meta::controller_of(object) {
        Some(owner) => {
            let group = owner
                .api_version
                .split_once('/')
                .map_or("", |(group, _)| group);
            let kind = owner.kind.to_lowercase();
            let kind = if group.is_empty() {
                kind
            } else {
                format!("{kind}.{group}")
            };
            format!("{kind}/{}", owner.name)
        }
        None => NONE.to_owned(),
    };
    vec![
        json!(meta::name(object)),
        json!(controller),
        json!(object.int("revision").unwrap_or(0)),
        json!(age(object, now)),
    ]
}

/// Name, Reference, Targets, MinPods, MaxPods, Replicas, Age.
pub(super) fn horizontal_pod_autoscaler(object: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let target = spec.object("scaleTargetRef").unwrap_or(&empty);
    let min = spec
        .int("minReplicas")
        .map_or("<unset>".to_owned(), |n| n.to_string());
    vec![
        json!(meta::name(object)),
        json!(format!("{}/{}", target.text("kind"), target.text("name"))),
        json!(super::metrics::targets(object)),
        json!(min),
        json!(spec.int("maxReplicas").unwrap_or(0)),
        json!(count(object.object("status"), "currentReplicas")),
        json!(age(object, now)),
    ]
}

/// Name, Min Available, Max Unavailable, Allowed Disruptions, Age.
pub(super) fn pod_disruption_budget(object: &Object, now: Timestamp) -> Vec<Value> {
    let spec = object.object("spec");
    let bound = |field| {
        super::format::scalar(spec.and_then(|s| s.get(field))).unwrap_or_else(|| "N/A".to_owned())
    };
    vec![
        json!(meta::name(object)),
        json!(bound("minAvailable")),
        json!(bound("maxUnavailable")),
        json!(count(object.object("status"), "disruptionsAllowed")),
        json!(age(object, now)),
    ]
}
