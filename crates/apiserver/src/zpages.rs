//! `/statusz` and `/flagz`: what a person wants to know of a running server at a glance, as text (KEP-4827, KEP-4828).

use apimachinery::status::Status;
use http::{HeaderMap, HeaderValue, Response, header};
use jiff::Timestamp;

use crate::{body::Body, discovery::Version, negotiation::preferred};

const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";

/// What the pages show.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// When the server was started.
    pub(crate) started: Timestamp,
    /// The flags that it was given.
    pub(crate) flags: Vec<(String, String)>,
}

impl Pages {
    /// `/statusz`
    pub(crate) fn statusz(&self, now: Timestamp, paths: &[&str]) -> Response<Body> {
        let up = now.duration_since(self.started).as_secs().max(0);
        let version = Version::CURRENT.git_version();
        let version = version.trim_start_matches('v');
        let emulated: Vec<&str> = version.splitn(3, '.').take(2).collect();
        text(format!(
            "\napiserver statusz\n{WARNING}\n\nStarted: {}\nUp: {} hr {:02} min {:02} sec\nBinary version: {version}\nEmulation version: {}\nPaths: {}\n",
            self.started.strftime("%a %b %e %H:%M:%S UTC %Y"),
            up / 3600,
            up / 60 % 60,
            up % 60,
            emulated.join("."),
            paths.join(" "),
        ))
    }

    /// `/flagz`
    pub(crate) fn flagz(&self) -> Response<Body> {
        let mut flags = self.flags.clone();
        flags.sort();
        let lines: String = flags
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        text(format!("\napiserver flagz\n{WARNING}\n{lines}"))
    }
}

/// # Errors
/// 406, if the client takes no text. Upstream has the pages as objects, too, for who names their version.
pub(crate) fn acceptable(headers: &HeaderMap) -> Result<(), Status> {
    let known = ["application/json", "application/yaml", "text/plain"];
    match preferred(headers, &[("text/plain", ())]) {
        Some(()) => Ok(()),
        None => Err(Status::not_acceptable(&known)),
    }
}

/// An answer in plain text.
pub(crate) fn text(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn shown(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_pages_are_text() {
        let acceptable = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            acceptable(&headers).map_err(|status| status.message)
        };
        assert!(acceptable("*/*").is_ok() && acceptable("text/plain;charset=utf-8").is_ok());
        assert_eq!(
            acceptable("application/json").unwrap_err(),
            "only the following media types are accepted: application/json, application/yaml, text/plain"
        );
    }

    #[tokio::test]
    async fn the_pages_say_what_there_is() {
        let pages = Pages {
            started: "2026-01-02T03:04:05Z".parse().unwrap(),
            flags: vec![
                ("v".to_owned(), "2".to_owned()),
                ("a".to_owned(), "b".to_owned()),
            ],
        };
        let now = "2026-01-02T04:05:07Z".parse().unwrap();
        let status = shown(pages.statusz(now, &["/healthz", "/metrics"])).await;
        assert!(
            status.contains("Started: Fri Jan  2 03:04:05 UTC 2026\nUp: 1 hr 01 min 02 sec\n"),
            "{status}"
        );
        assert!(status.ends_with("Paths: /healthz /metrics\n"));
        assert!(shown(pages.flagz()).await.ends_with(".\na=b\nv=2\n"));
    }
}
