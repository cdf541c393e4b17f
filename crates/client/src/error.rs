//! What can go wrong between a client and the API server, and which of it is worth another try.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause};
use thiserror::Error;

/// A boxed error of a transport or a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The request did not reach a server, or its answer did not come back. The server may or may not have acted on it.
#[derive(Debug, Error)]
pub enum TransportError {
    /// No connection: refused, unreachable, TLS handshake failed.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// `host:port`.
        host: String,
        /// Why.
        source: BoxError,
    },
    /// The connection broke, or the peer does not speak HTTP.
    #[error("request failed: {0}")]
    Http(#[source] BoxError),
    /// Credentials could not be read.
    #[error("cannot read credentials: {0}")]
    Credentials(#[source] BoxError),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The transport cannot do this (an upgrade, mostly).
    #[error("{0} is not supported by this transport")]
    Unsupported(&'static str),
}

/// An answer other than the wanted one.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The server refused, with its `Status`.
    #[error("{}", message(.0))]
    Status(Box<Status>),
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer's body ended early or is not what it should be.
    #[error("cannot read the answer to {request}: {source}")]
    Decode {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        source: BoxError,
    },
}

fn message(status: &Status) -> &str {
    status
        .message
        .as_deref()
        .or(status.reason.as_deref())
        .unwrap_or("the server refused the request")
}

impl ApiError {
    /// The server's `Status`, if it gave one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// `status.reason`, or nothing.
    pub fn reason(&self) -> &str {
        self.status()
            .and_then(|s| s.reason.as_deref())
            .unwrap_or_default()
    }

    /// The HTTP status code, or 0 where there was no answer.
    pub fn code(&self) -> i32 {
        self.status().and_then(|s| s.code).unwrap_or_default()
    }

    /// The object (or the whole resource) is not there.
    pub fn is_not_found(&self) -> bool {
        self.reason() == "NotFound" || self.code() == 404
    }

    /// An object of that name is there already.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// The object changed since it was read, or a precondition does not hold.
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }

    /// The object fails validation.
    pub fn is_invalid(&self) -> bool {
        self.reason() == "Invalid"
    }

    /// Not allowed for this user.
    pub fn is_forbidden(&self) -> bool {
        self.reason() == "Forbidden"
    }

    /// Not authenticated.
    pub fn is_unauthorized(&self) -> bool {
        self.reason() == "Unauthorized"
    }

    /// The method is not there for this resource.
    pub fn is_method_not_supported(&self) -> bool {
        self.reason() == "MethodNotAllowed" || self.code() == 405
    }

    /// 429: later.
    pub fn is_too_many_requests(&self) -> bool {
        self.reason() == "TooManyRequests" || self.code() == 429
    }

    /// The resourceVersion asked for is no longer kept: list anew.
    pub fn is_expired(&self) -> bool {
        matches!(self.reason(), "Expired" | "Gone") || self.code() == 410
    }

    /// Refused because the namespace is being deleted (`details.causes` names `NamespaceTerminating`).
    pub fn is_namespace_terminating(&self) -> bool {
        self.is_forbidden()
            && self
                .causes()
                .iter()
                .any(|cause| cause.reason.as_deref() == Some("NamespaceTerminating"))
    }

    /// Refused because the object of that name is another one by now: the uid that was written is not its own.
    pub fn is_of_another_uid(&self) -> bool {
        self.is_invalid()
            && self
                .causes()
                .iter()
                .any(|cause| cause.field.as_deref() == Some("metadata.uid"))
    }

    fn causes(&self) -> &[StatusCause] {
        let details = self.status().and_then(|status| status.details.as_ref());
        let causes = details.and_then(|details| details.causes.as_deref());
        causes.unwrap_or_default()
    }

    /// Whether the same request may succeed later: no answer, overload, or the server's own trouble.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(TransportError::Unsupported(_)) => false,
            Self::Transport(_) | Self::Decode { .. } => true,
            Self::Status(status) => {
                matches!(status.code, Some(429 | 500..=599)) || self.is_conflict()
            }
        }
    }

    /// `details.retryAfterSeconds`.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let seconds = self.status()?.details.as_ref()?.retry_after_seconds?;
        u64::try_from(seconds).ok()
    }

    /// Turns "not found" into nothing.
    pub fn not_found_is_none<T>(result: Result<T, Self>) -> Result<Option<T>, Self> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_writes_to_the_successor_of_an_object_is_told_so() {
        let refused = |code: u16, reason: &str, field: &str| {
            let details = json!({"causes": [{"reason": "FieldValueInvalid", "field": field}]});
            let status =
                json!({"status": "Failure", "code": code, "reason": reason, "details": details});
            ApiError::Status(Box::new(serde_json::from_value(status).unwrap()))
        };
        assert!(refused(422, "Invalid", "metadata.uid").is_of_another_uid());
        assert!(!refused(422, "Invalid", "metadata.name").is_of_another_uid());
        assert!(!refused(409, "Conflict", "metadata.uid").is_of_another_uid());
    }
}
