//! `Status`: how the API says no (and now and then yes), worded as `k8s.io/apimachinery/pkg/api/errors` words it.
//!
//! Every failure of the API is made by a constructor of this file, so that codes, reasons and wording stand in one place. It is an
//! error like any other in Rust; whoever serves HTTP writes it out as the body.

mod answer;

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    field::{ErrorList, FieldError},
    gvk::{GroupResource, GroupVersionKind},
    quote,
};

/// The answer that is no object: `kind: Status` of `v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    #[serde(default = "kind")]
    pub kind: String,
    /// Always `v1`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// Nearly always empty, and always written.
    #[serde(default)]
    pub metadata: ListMeta,
    /// `Success` or `Failure`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs: one of the `Reason`s; empty where upstream gives none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<StatusDetails>>,
    /// HTTP status code.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code: u16,
}

fn kind() -> String {
    "Status".to_owned()
}

fn api_version() -> String {
    "v1".to_owned()
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Metadata of lists and of `Status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// The revision of the whole list.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Where the next page begins.
    #[serde(default, rename = "continue", skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
    /// How many are left after this page, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<i64>,
}

/// What a `Status` is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Resource in most answers, kind in those of `Invalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Uid of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One for each complaint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// When to try again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}

/// One complaint of a `Status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCause {
    /// For programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl StatusCause {
    /// Of its parts.
    pub fn new(
        reason: impl Into<String>,
        message: impl Into<String>,
        field: impl Into<String>,
    ) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            field: field.into(),
        }
    }
}

/// The result of what the API is asked for.
pub type Result<T> = std::result::Result<T, Status>;

pub use answer::said;

/// What flow control says to whom it refuses.
const TOO_MANY_REQUESTS: &str = "Too many requests, please try again later.";
/// So many complaints about an object are told at most: hundreds of thousands, which a body has room for, would be answers of hundreds of megabytes.
const MAX_TOLD: usize = 10_000;

impl Status {
    /// A failure of its parts, without details.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind(),
            api_version: api_version(),
            metadata: ListMeta::default(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// `Success`, as deletion answers it. The code stays out of the body, as upstream has it.
    pub fn success(details: Option<StatusDetails>) -> Self {
        Self {
            status: "Success".to_owned(),
            code: 0,
            details: details.map(Box::new),
            ..Self::failure(0, "", "")
        }
    }

    fn about(mut self, resource: &GroupResource, name: &str) -> Self {
        let details = self.details_mut();
        details.name = name.to_owned();
        details.group = resource.group.clone().into_owned();
        details.kind = resource.resource.clone().into_owned();
        self
    }

    fn caused_by(mut self, reason: &str, message: &str) -> Self {
        self.details_mut()
            .causes
            .push(StatusCause::new(reason, message, ""));
        self
    }

    fn retry_after(mut self, seconds: i32) -> Self {
        self.details_mut().retry_after_seconds = seconds;
        self
    }

    /// The details, made if there are none yet.
    pub fn details_mut(&mut self) -> &mut StatusDetails {
        self.details.get_or_insert_default()
    }

    /// With one more cause.
    pub fn with_cause(mut self, cause: StatusCause) -> Self {
        self.details_mut().causes.push(cause);
        self
    }

    /// 404: there is no object of this name.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::failure(
            404,
            "NotFound",
            format!("{resource} {} not found", quote(name)),
        )
        .about(resource, name)
    }

    /// 404: nothing is served at this path. Upstream says it of unknown resources.
    pub fn unknown_path() -> Self {
        let mut status = Self::failure(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        status.details = Some(Box::default());
        status
    }

    /// 409: an object of this name is there already.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::failure(
            409,
            "AlreadyExists",
            format!("{resource} {} already exists", quote(name)),
        )
        .about(resource, name)
    }

    /// 409: the name made from `generateName` was taken.
    pub fn generate_name_conflict(resource: &GroupResource, name: &str) -> Self {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        Self::failure(409, "AlreadyExists", message)
            .about(resource, name)
            .retry_after(1)
    }

    /// 409: the object was changed by somebody else, or a precondition does not hold.
    pub fn conflict(resource: &GroupResource, name: &str, reason: impl fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {resource} {}: {reason}",
            quote(name)
        );
        Self::failure(409, "Conflict", message).about(resource, name)
    }

    /// The conflict of optimistic concurrency.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409: fields of an apply are owned by other managers.
    pub fn apply_conflict(causes: Vec<StatusCause>, message: impl Into<String>) -> Self {
        let mut status = Self::failure(409, "Conflict", message);
        status.details_mut().causes = causes;
        status
    }

    /// 422: the object breaks rules, of which the first ten thousand are told. `kind` and `group` are the object's.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &ErrorList) -> Self {
        let errors = &errors[..errors.len().min(MAX_TOLD)];
        let mut status = Self::failure(422, "Invalid", "");
        status.message = format!("{} {} is invalid", group_kind(group, kind), quote(name));
        if !errors.is_empty() {
            status.message.push_str(": ");
            status.message.push_str(&aggregate(errors));
        }
        let details = status.details_mut();
        details.name = name.to_owned();
        details.group = group.to_owned();
        details.kind = kind.to_owned();
        details.causes = errors
            .iter()
            .map(|e| StatusCause::new(e.kind.reason(), e.body(), e.field.to_string()))
            .collect();
        status
    }

    /// [`Status::invalid`] of an object's kind.
    pub fn invalid_kind(gvk: &GroupVersionKind, name: &str, errors: &ErrorList) -> Self {
        Self::invalid(&gvk.group, &gvk.kind, name, errors)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 401: nobody knows who this is. An empty reason says `not authorized`.
    pub fn unauthorized(message: &str) -> Self {
        let message = if message.is_empty() {
            "not authorized"
        } else {
            message
        };
        Self::failure(401, "Unauthorized", message)
    }

    /// 403. With an empty name the message names the resource alone, and with an empty resource neither.
    pub fn forbidden(resource: &GroupResource, name: &str, reason: impl fmt::Display) -> Self {
        let message = if resource.resource.is_empty() {
            format!("forbidden: {reason}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {reason}")
        } else {
            format!("{resource} {} is forbidden: {reason}", quote(name))
        };
        Self::failure(403, "Forbidden", message).about(resource, name)
    }

    /// 405: the resource does not know this verb.
    pub fn method_not_supported(resource: &GroupResource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{resource}\"");
        Self::failure(405, "MethodNotAllowed", message).about(resource, "")
    }

    /// 405: the path does not know this HTTP method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut status = Self::failure(405, "MethodNotAllowed", message);
        status.details = Some(Box::default());
        status
    }

    /// 410: it was there, and is no more.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, "Gone", message)
    }

    /// 410: a revision that is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 410 of a watch or list at a compacted revision.
    pub fn too_old_resource_version(asked: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410 of a continue token whose revision is gone.
    pub fn continue_expired(inconsistent_token: &str) -> Self {
        let mut status = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
             that were created, modified, or deleted between the time the first chunk was returned and now may show \
             up in the list.",
        );
        inconsistent_token.clone_into(&mut status.metadata.continue_token);
        status
    }

    /// 504: the request ran out of time.
    pub fn timeout(message: impl fmt::Display, retry_after_seconds: i32) -> Self {
        Self::failure(504, "Timeout", format!("Timeout: {message}"))
            .retry_after(retry_after_seconds)
    }

    /// 504: the cache did not reach the revision asked for in time.
    pub fn too_large_resource_version(asked: u64, current: u64, retry_after_seconds: i32) -> Self {
        Self::timeout(
            format_args!("Too large resource version: {asked}, current: {current}"),
            retry_after_seconds,
        )
        .caused_by("ResourceVersionTooLarge", "Too large resource version")
    }

    /// 500: the operation could not be finished in time and may be tried again.
    pub fn server_timeout(
        resource: &GroupResource,
        operation: &str,
        retry_after_seconds: i32,
    ) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Self::failure(500, "ServerTimeout", message)
            .about(resource, operation)
            .retry_after(retry_after_seconds)
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i32) -> Self {
        Self::failure(429, "TooManyRequests", message).retry_after(retry_after_seconds)
    }

    /// 429 of flow control.
    pub fn overloaded(retry_after_seconds: i32) -> Self {
        Self::too_many_requests(TOO_MANY_REQUESTS, retry_after_seconds)
    }

    /// 413.
    pub fn request_too_large(message: impl fmt::Display) -> Self {
        Self::failure(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {message}"),
        )
    }

    /// 413 with the limit in bytes.
    pub fn request_larger_than(limit_bytes: usize) -> Self {
        Self::request_too_large(format_args!("limit is {limit_bytes}"))
    }

    /// 415: `accepted` lists media types as `application/json, …`.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 406.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::not_acceptable_as(message)
    }

    /// 406, of an answer that does not come in the shape that is asked for.
    pub fn not_acceptable_as(message: impl fmt::Display) -> Self {
        Self::failure(406, "NotAcceptable", message.to_string())
    }

    /// 500: nobody's fault but ours.
    pub fn internal(error: impl fmt::Display) -> Self {
        let error = error.to_string();
        Self::failure(
            500,
            "InternalError",
            format!("Internal error occurred: {error}"),
        )
        .caused_by("", &error)
    }

    /// 500 without a reason: what upstream makes of an error that is no `Status`.
    pub fn unclassified(error: impl fmt::Display) -> Self {
        Self::failure(500, "", error.to_string())
    }

    /// 503.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound"
    }

    /// Whether the name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// Whether somebody was faster.
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// Whether the revision is no longer kept, so that a client must list anew.
    pub fn is_expired(&self) -> bool {
        self.reason == "Expired" || self.reason == "Gone"
    }
}

/// `Deployment.apps`; the kind alone in the core group.
fn group_kind(group: &str, kind: &str) -> String {
    if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    }
}

/// The messages as upstream's aggregate prints them: one bare, several in brackets, each once.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut messages: Vec<String> = errors.iter().map(FieldError::to_string).collect();
    let mut seen = HashSet::new();
    let new: Vec<bool> = messages.iter().map(|one| seen.insert(one)).collect();
    let mut new = new.into_iter();
    messages.retain(|_| new.next().unwrap_or(true));
    match <[String; 1]>::try_from(messages) {
        Ok([one]) => one,
        Err(many) => format!("[{}]", many.join(", ")),
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::{FieldError, Path};

    #[test]
    fn complaints_without_end_are_not_all_told() {
        let labels = Path::new("metadata").child("labels");
        let errors: Vec<_> = (0..MAX_TOLD + 1)
            .map(|n| FieldError::required(&labels.key(&n.to_string()), ""))
            .collect();
        let status = Status::invalid("", "Pod", "p", &errors);
        assert_eq!(status.details.unwrap().causes.len(), MAX_TOLD);
        assert!(
            status
                .message
                .ends_with("metadata.labels[9999]: Required value]")
        );
    }

    #[test]
    fn bodies_are_those_of_upstream() {
        let pods = GroupResource::new("", "pods");
        let widgets = GroupResource::new("example.com", "widgets");
        let path = Path::new("spec").child("replicas");
        let errors = vec![
            FieldError::required(&path, ""),
            FieldError::invalid(&path, -1, "must be greater"),
        ];
        let cases = [
            (
                Status::not_found(&pods, "a"),
                json!({"message": "pods \"a\" not found", "reason": "NotFound",
                    "details": {"name": "a", "kind": "pods"}, "code": 404}),
            ),
            (
                Status::modified(&widgets, "w"),
                json!({"message": "Operation cannot be fulfilled on widgets.example.com \"w\": the object has been \
                    modified; please apply your changes to the latest version and try again", "reason": "Conflict",
                    "details": {"name": "w", "group": "example.com", "kind": "widgets"}, "code": 409}),
            ),
            (
                Status::invalid("apps", "Deployment", "d", &errors),
                json!({"message": "Deployment.apps \"d\" is invalid: [spec.replicas: Required value, \
                    spec.replicas: Invalid value: -1: must be greater]", "reason": "Invalid",
                    "details": {"name": "d", "group": "apps", "kind": "Deployment", "causes": [
                        {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.replicas"},
                        {"reason": "FieldValueInvalid", "message": "Invalid value: -1: must be greater",
                         "field": "spec.replicas"}]}, "code": 422}),
            ),
            (
                Status::too_large_resource_version(9, 8, 1),
                json!({"message": "Timeout: Too large resource version: 9, current: 8", "reason": "Timeout",
                    "details": {"causes": [{"reason": "ResourceVersionTooLarge",
                        "message": "Too large resource version"}], "retryAfterSeconds": 1}, "code": 504}),
            ),
            (
                Status::method_not_supported(&widgets, "create"),
                json!({"message": "create is not supported on resources of kind \"widgets.example.com\"",
                    "reason": "MethodNotAllowed", "details": {"group": "example.com", "kind": "widgets"}, "code": 405}),
            ),
        ];
        for (status, mut expected) in cases {
            for (key, value) in [
                ("kind", "Status"),
                ("apiVersion", "v1"),
                ("status", "Failure"),
            ] {
                expected[key] = json!(value);
            }
            expected["metadata"] = json!({});
            assert_eq!(serde_json::to_value(&status).unwrap(), expected);
            let back: Status = serde_json::from_value(expected).unwrap();
            assert_eq!(back, status);
        }
    }
}
