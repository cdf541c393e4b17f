//! Conditions of a Job.

use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1::{JobCondition, JobStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// Ends in failure as soon as all pods are gone and counted.
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
/// Ends in success as soon as all pods are gone and counted.
pub(super) const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";

/// A condition by its type.
pub(super) fn get<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
}

/// Whether a condition is true.
pub(super) fn has(status: &JobStatus, kind: &str) -> bool {
    get(status, kind).is_some_and(|condition| condition.status == "True")
}

/// Sets a condition, in its place if there is one of that type.
pub(super) fn set(
    status: &mut JobStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let condition = JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|known| known.type_ == kind) {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

/// Whether it has ended, well or not.
pub(super) fn is_finished(status: &JobStatus) -> bool {
    has(status, "Complete") || has(status, "Failed")
}

/// Whether its end is decided.
pub(super) fn is_ending(status: &JobStatus) -> bool {
    has(status, FAILURE_TARGET) || has(status, SUCCESS_CRITERIA_MET)
}
