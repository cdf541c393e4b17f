//! What of a log is wanted: the query that the API server writes.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::super::{body::Refusal, query::Query};

/// Which of a container's outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Streams {
    #[default]
    All,
    Stdout,
    Stderr,
}

/// The options of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogOptions {
    pub(super) follow: bool,
    pub(super) previous: bool,
    pub(super) timestamps: bool,
    /// Nothing older.
    pub(super) since: Option<Timestamp>,
    /// So many lines from the end.
    pub(super) tail_lines: Option<u64>,
    /// No more bytes than that.
    pub(super) limit_bytes: Option<u64>,
    pub(super) streams: Streams,
}

impl LogOptions {
    /// `now` is what `sinceSeconds` counts from.
    pub(super) fn parse(query: &Query, now: Timestamp) -> Result<Self, Refusal> {
        let since_seconds = number(query, "sinceSeconds")?;
        let since_time = query
            .get("sinceTime")
            .map(|text| text.parse::<Timestamp>())
            .transpose()
            .map_err(|_| undecodable())?;
        let since = match (since_seconds, since_time) {
            (Some(_), Some(_)) => return Err(invalid()),
            (Some(seconds), None) if seconds < 1 => return Err(invalid()),
            (Some(seconds), None) => Some(
                now.checked_sub(SignedDuration::from_secs(seconds))
                    .unwrap_or(Timestamp::MIN),
            ),
            (None, since_time) => since_time,
        };
        let tail_lines = number(query, "tailLines")?;
        let limit_bytes = number(query, "limitBytes")?;
        if limit_bytes == Some(0) {
            return Err(invalid());
        }
        let unsigned =
            |value: Option<i64>| value.map(u64::try_from).transpose().map_err(|_| invalid());
        let streams = match query.get("stream") {
            None | Some("All") => Streams::All,
            Some("Stdout") => Streams::Stdout,
            Some("Stderr") => Streams::Stderr,
            Some(_) => return Err(invalid()),
        };
        if streams != Streams::All && tail_lines.is_some() {
            return Err(invalid());
        }
        Ok(Self {
            follow: flag(query, "follow"),
            previous: flag(query, "previous"),
            timestamps: flag(query, "timestamps"),
            since,
            tail_lines: unsigned(tail_lines)?,
            limit_bytes: unsigned(limit_bytes)?,
            streams,
        })
    }
}

fn flag(query: &Query, name: &str) -> bool {
    query
        .all(name)
        .next()
        .is_some_and(|value| !(value.eq_ignore_ascii_case("false") || value == "0"))
}

fn number(query: &Query, name: &str) -> Result<Option<i64>, Refusal> {
    query
        .get(name)
        .map(str::parse)
        .transpose()
        .map_err(|_| undecodable())
}

fn undecodable() -> Refusal {
    Refusal::bad_request(r#"{"message": "Unable to decode query."}"#)
}

fn invalid() -> Refusal {
    Refusal::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        r#"{"message": "Invalid request."}"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let parse = |query: &str| LogOptions::parse(&Query::parse(query), now);
        let options =
            parse("follow=true&timestamps=true&tailLines=3&limitBytes=9&sinceSeconds=5").unwrap();
        assert_eq!(
            options,
            LogOptions {
                follow: true,
                timestamps: true,
                tail_lines: Some(3),
                limit_bytes: Some(9),
                since: Some("2026-01-02T03:04:00Z".parse().unwrap()),
                ..LogOptions::default()
            }
        );
        assert_eq!(
            parse("stream=Stderr&previous=1").unwrap().streams,
            Streams::Stderr
        );
        for (query, code) in [
            ("tailLines=x", 400),
            ("sinceTime=yesterday", 400),
            ("tailLines=-1", 422),
            ("limitBytes=0", 422),
            ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422),
            ("stream=Both", 422),
            ("stream=Stdout&tailLines=1", 422),
        ] {
            assert_eq!(parse(query).unwrap_err().code.as_u16(), code, "{query}");
        }
    }
}
