//! The `Status` of an answer that carries none: a proxy's page, a webhook's or kubelet's plain text, an empty body. It is worded by the code alone, as
//! upstream's clients word it (`NewGenericServerResponse`).

use super::Status;
use crate::gvk::GroupResource;

/// So much of a body that is no `Status` is repeated, as upstream does.
const MAX_SAID_BYTES: usize = 2048;

/// What a body says that is no `Status`: the beginning of a text, `unknown` if it is none.
pub fn said(media_type: Option<&[u8]>, body: &[u8]) -> String {
    if media_type.is_some_and(|media_type| !media_type.starts_with(b"text/")) {
        return "unknown".to_owned();
    }
    let body = &body[..body.len().min(MAX_SAID_BYTES)];
    String::from_utf8_lossy(body).trim().to_owned()
}

impl Status {
    /// What a code means to who sent a request with this verb. `said` is what came with it (see [`said`]).
    pub fn of_answer(code: u16, verb: &str, said: &str) -> Self {
        let own = |message: &str| message.to_owned();
        let (reason, message) = match code {
            400 => (
                "BadRequest",
                own("the server rejected our request for an unknown reason"),
            ),
            401 => (
                "Unauthorized",
                own("the server has asked for the client to provide credentials"),
            ),
            // Who is trying to do what, which types are taken: that is in the text.
            403 => ("Forbidden", own(said)),
            404 => (
                "NotFound",
                own("the server could not find the requested resource"),
            ),
            405 => (
                "MethodNotAllowed",
                own("the server does not allow this method on the requested resource"),
            ),
            406 if said.is_empty() || said == "unknown" => (
                "NotAcceptable",
                own(
                    "the server was unable to respond with a content type that the client supports",
                ),
            ),
            406 => ("NotAcceptable", own(said)),
            409 if verb == "POST" => ("AlreadyExists", own("the server reported a conflict")),
            409 => ("Conflict", own("the server reported a conflict")),
            415 => ("UnsupportedMediaType", own(said)),
            422 => (
                "Invalid",
                own("the server rejected our request due to an error in our request"),
            ),
            429 => (
                "TooManyRequests",
                own(
                    "the server has received too many requests and has asked us to try again later",
                ),
            ),
            503 => (
                "ServiceUnavailable",
                own("the server is currently unable to handle the request"),
            ),
            504 => (
                "Timeout",
                own(
                    "the server was unable to return a response in the time allotted, but may still be processing the request",
                ),
            ),
            500.. => (
                "InternalError",
                format!(
                    "an error on the server ({}) has prevented the request from succeeding",
                    crate::quote(said)
                ),
            ),
            _ => (
                "",
                format!(
                    "the server responded with the status code {code} but did not return more information"
                ),
            ),
        };
        let mut status = Self::failure(code, reason, message);
        status.details_mut();
        status
    }

    /// The same, having named what was asked for; a list has no name.
    #[must_use]
    pub fn to_request(mut self, verb: &str, resource: &GroupResource, name: &str) -> Self {
        let verb = verb.to_lowercase();
        let named = match name {
            "" => format!(" ({verb} {resource})"),
            name => format!(" ({verb} {resource} {name})"),
        };
        self.message.push_str(&named);
        self.about(resource, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_speak_where_no_status_does() {
        for (code, verb, said, reason, message) in [
            (
                404,
                "GET",
                "404 page not found",
                "NotFound",
                "the server could not find the requested resource",
            ),
            (
                409,
                "POST",
                "",
                "AlreadyExists",
                "the server reported a conflict",
            ),
            (409, "PUT", "", "Conflict", "the server reported a conflict"),
            (403, "GET", "not you", "Forbidden", "not you"),
            (
                406,
                "GET",
                "unknown",
                "NotAcceptable",
                "the server was unable to respond with a content type that the client supports",
            ),
            (
                415,
                "POST",
                "json only",
                "UnsupportedMediaType",
                "json only",
            ),
            (
                502,
                "GET",
                "a \"bad\" gateway",
                "InternalError",
                r#"an error on the server ("a \"bad\" gateway") has prevented the request from succeeding"#,
            ),
            (
                302,
                "GET",
                "",
                "",
                "the server responded with the status code 302 but did not return more information",
            ),
        ] {
            let status = Status::of_answer(code, verb, said);
            assert_eq!(
                (status.code, status.reason.as_str(), status.message.as_str()),
                (code, reason, message)
            );
        }
    }

    #[test]
    fn texts_are_repeated_as_far_as_they_are_short() {
        assert_eq!(said(None, b" no such page\n"), "no such page");
        assert_eq!(said(Some(b"text/html; charset=utf-8"), b"<p>"), "<p>");
        assert_eq!(said(Some(b"application/json"), b"{}"), "unknown");
        assert_eq!(said(None, &[b'x'; 9000]).len(), MAX_SAID_BYTES);
    }

    #[test]
    fn what_was_asked_for_is_named() {
        let pods = GroupResource::new("metrics.k8s.io", "pods");
        let missing = || Status::of_answer(404, "GET", "");
        let status = missing().to_request("GET", &pods, "");
        assert!(status.message.ends_with(" (get pods.metrics.k8s.io)"));
        let status = missing().to_request("GET", &pods, "p");
        assert!(status.message.ends_with(" (get pods.metrics.k8s.io p)"));
        assert_eq!(status.details.unwrap().name, "p");
    }
}
