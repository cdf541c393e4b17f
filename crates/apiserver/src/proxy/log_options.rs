//! `PodLogOptions` of a query: read, checked, and written in the kubelet's names.

use apimachinery::{
    field::{ErrorList, FieldError, Path},
    status::Status,
};
use jiff::Timestamp;

use super::query_of;
use crate::query::Query;

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogOptions {
    pub(super) container: String,
    pub(super) insecure_skip_tls_verify: bool,
    follow: bool,
    previous: bool,
    timestamps: bool,
    since_seconds: Option<i64>,
    since_time: Option<Timestamp>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
    /// Whether one of the streams is asked for, which is an alpha feature upstream, off unless switched on (PodLogsQuerySplitStreams).
    has_stream: bool,
}

impl LogOptions {
    /// What cannot be read is a 400; what makes no sense a 422 in the name of the pod.
    pub(super) fn parse(query: &Query, pod_name: &str) -> Result<Self, Status> {
        let options = Self {
            container: query.get("container").unwrap_or_default().to_owned(),
            insecure_skip_tls_verify: query.flag("insecureSkipTLSVerifyBackend"),
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            since_seconds: query.integer("sinceSeconds")?,
            since_time: time(query, "sinceTime")?,
            tail_lines: query.integer("tailLines")?,
            limit_bytes: query.integer("limitBytes")?,
            has_stream: query.get("stream").is_some(),
        };
        let errors = options.complaints();
        if errors.is_empty() {
            return Ok(options);
        }
        Err(Status::invalid("", "PodLogOptions", pod_name, &errors))
    }

    fn complaints(&self) -> ErrorList {
        let mut errors = ErrorList::new();
        let field = Path::new;
        if let Some(lines) = self.tail_lines.filter(|lines| *lines < 0) {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(&field("tailLines"), lines, detail));
        }
        if let Some(bytes) = self.limit_bytes.filter(|bytes| *bytes < 1) {
            errors.push(FieldError::invalid(
                &field("limitBytes"),
                bytes,
                "must be greater than 0",
            ));
        }
        match (self.since_seconds, self.since_time) {
            (Some(_), Some(_)) => errors.push(FieldError::forbidden(
                // As upstream prints a path without a name.
                &field("").key(""),
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            )),
            (Some(seconds), None) if seconds < 1 => {
                let detail = "must be greater than 0";
                errors.push(FieldError::invalid(&field("sinceSeconds"), seconds, detail));
            }
            _ => {}
        }
        if self.has_stream {
            errors.push(FieldError::forbidden(
                &field("stream"),
                "may not be specified",
            ));
        }
        errors
    }

    /// The query that the kubelet reads.
    pub(super) fn kubelet_query(&self) -> String {
        let flags = [
            ("follow", self.follow),
            ("previous", self.previous),
            ("timestamps", self.timestamps),
        ];
        let mut pairs: Vec<(&str, String)> = flags
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| (name, "true".to_owned()))
            .collect();
        let mut push = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
        push(
            "sinceSeconds",
            self.since_seconds.map(|seconds| seconds.to_string()),
        );
        let rfc3339 = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        push("sinceTime", self.since_time.map(rfc3339));
        push("tailLines", self.tail_lines.map(|lines| lines.to_string()));
        push(
            "limitBytes",
            self.limit_bytes.map(|bytes| bytes.to_string()),
        );
        query_of(&pairs)
    }
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, Status> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        Status::bad_request(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_and_renamed() {
        let options = |query: &str| LogOptions::parse(&Query::parse(query), "p");
        let all = options(
            "container=c&follow=true&previous=false&timestamps=1&tailLines=10&limitBytes=5&sinceTime=2026-01-02T03:04:05%2B01:00",
        );
        assert_eq!(
            all.unwrap().kubelet_query(),
            "?follow=true&timestamps=true&sinceTime=2026-01-02T02%3A04%3A05Z&tailLines=10&limitBytes=5"
        );
        assert_eq!(options("").unwrap().kubelet_query(), "");

        for (query, code, message) in [
            (
                "tailLines=x",
                400,
                "strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "tailLines=-1",
                422,
                "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                "limitBytes=0",
                422,
                "PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0",
            ),
            (
                "sinceSeconds=0",
                422,
                "PodLogOptions \"p\" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0",
            ),
            (
                "sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z",
                422,
                "PodLogOptions \"p\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
            (
                "stream=",
                422,
                "PodLogOptions \"p\" is invalid: stream: Forbidden: may not be specified",
            ),
        ] {
            let status = options(query).unwrap_err();
            assert_eq!(
                (status.code, status.message.as_str()),
                (code, message),
                "{query}"
            );
        }
    }
}
