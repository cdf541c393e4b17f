//! How long a request may take: `--request-timeout`, or less if the client says so by `timeout=`. Watches and streams may take as long as
//! they like.

use std::time::Duration;

use apimachinery::{status::Status, time::parse_duration};

use crate::context::Context;

/// The time that a request has; none for long-running ones.
pub(super) fn of(context: &Context, maximum: Duration) -> Result<Option<Duration>, Status> {
    let asked = match context.query.get("timeout") {
        None | Some("") => None,
        _ if context.info.is_long_running() => None,
        Some(text) => {
            let nanos = parse_duration(text).map_err(|error| {
                Status::bad_request(format!(
                    "invalid timeout specified in the request URL - {error}"
                ))
            })?;
            // Nothing, or less: the client does not mind.
            u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)
        }
    };
    if context.info.is_long_running() {
        return Ok(None);
    }
    let asked = asked.map_or(maximum, Duration::from_nanos);
    Ok(Some(asked.min(maximum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authn::Peer, request_info::RequestInfo};

    fn deadline(uri: &str) -> Result<Option<Duration>, Status> {
        let (parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
        let mut context = Context::new(&parts, Peer::default());
        context.info = RequestInfo::parse(&parts.method, &parts.uri);
        of(&context, Duration::from_secs(60))
    }

    #[test]
    fn clients_may_ask_for_less() {
        for (uri, seconds) in [
            ("/api/v1/pods", Some(60.0)),
            ("/api/v1/pods?timeout=", Some(60.0)),
            ("/api/v1/pods?timeout=1m30s", Some(60.0)),
            ("/api/v1/pods?timeout=1.5s", Some(1.5)),
            ("/api/v1/pods?timeout=250ms", Some(0.25)),
            ("/api/v1/pods?timeout=0s", Some(60.0)),
            ("/api/v1/pods?timeout=-5s", Some(60.0)),
            ("/api/v1/pods?watch=1&timeout=1s", None),
            ("/api/v1/pods?watch=1&timeout=x", None),
            ("/api/v1/namespaces/a/pods/b/log?timeout=1s", None),
        ] {
            let seconds = seconds.map(Duration::from_secs_f64);
            assert_eq!(deadline(uri).unwrap(), seconds, "{uri}");
        }
        let refused = deadline("/api/v1/pods?timeout=10").unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (
                400,
                "invalid timeout specified in the request URL - time: missing unit in duration \"10\""
            )
        );
    }
}
