//! Redirects of proxied backends: they know nothing of the path under which they are served here, so it is put in front.

use apimachinery::status::Status;
use http::{HeaderValue, Response, StatusCode, Uri, header};

use super::Location;
use crate::{body::Body, request_info::RequestInfo};

/// `301` to another path of this server.
pub(super) fn permanent(path: &str) -> Result<Response<Body>, Status> {
    let location = HeaderValue::from_str(path)
        .map_err(|_| Status::bad_request("invalid path for a redirect"))?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The part of a proxy's path up to and with `/proxy`, and what follows it, both as the client has encoded them.
pub(super) fn split_path<'a>(path: &'a str, info: &RequestInfo) -> (&'a str, &'a str) {
    // /api/v1/namespaces/NS/RESOURCE/NAME/proxy or /api/v1/RESOURCE/NAME/proxy
    let segments = if info.namespace.is_empty() { 5 } else { 7 };
    let end = path
        .char_indices()
        .filter(|(_, c)| *c == '/')
        .nth(segments)
        .map_or(path.len(), |(index, _)| index);
    path.split_at(end)
}

/// [`split_path`]'s first part.
pub(super) fn prefix<'a>(path: &'a str, info: &RequestInfo) -> &'a str {
    split_path(path, info).0
}

/// Rewrites the `Location` of an answer that has one.
pub(super) fn rewrite(
    response: &mut Response<Body>,
    backend: &Location,
    client_host: &str,
    prepend: &str,
) {
    if !response.status().is_redirection() && response.status() != StatusCode::CREATED {
        return;
    }
    let target = response
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let Some(target) = target.and_then(|target| rewritten(target, backend, client_host, prepend))
    else {
        return;
    };
    if let Ok(value) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

/// A link of a page as seen from outside; `None` where it stays as it is.
pub(super) fn link(
    link: &str,
    backend: &Location,
    client_host: &str,
    prepend: &str,
) -> Option<String> {
    let (target, fragment) = match link.split_once('#') {
        Some((target, fragment)) => (target, Some(fragment)),
        None => (link, None),
    };
    let mut new = rewritten(target, backend, client_host, prepend)?;
    if let Some(fragment) = fragment {
        new.push('#');
        new.push_str(fragment);
    }
    Some(new)
}

/// The target as seen from outside; `None` where it stays as it is: another host's, or relative.
fn rewritten(target: &str, backend: &Location, client_host: &str, prepend: &str) -> Option<String> {
    let uri: Uri = target.parse().ok()?;
    let authority = uri.authority().map(|authority| authority.as_str());
    let is_ours = authority.is_none_or(|host| {
        host == client_host || host == backend.authority() || host == backend.host
    });
    if !is_ours || !uri.path().starts_with('/') {
        return None;
    }
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    if uri.path().starts_with(prepend) {
        return Some(format!("{}{query}", uri.path()));
    }
    Some(format!("{prepend}{}{query}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_at_the_backend_are_put_under_the_proxys_path() {
        let backend = Location {
            host: "10.0.0.1".to_owned(),
            port: "80".to_owned(),
            path: String::new(),
            query: String::new(),
            tls: None,
            server_name: None,
        };
        let prepend = "/api/v1/namespaces/d/services/s/proxy";
        for (target, expected) in [
            (
                "/login?next=a",
                Some("/api/v1/namespaces/d/services/s/proxy/login?next=a"),
            ),
            (
                "http://10.0.0.1:80/a/",
                Some("/api/v1/namespaces/d/services/s/proxy/a/"),
            ),
            (
                "https://api:6443/a",
                Some("/api/v1/namespaces/d/services/s/proxy/a"),
            ),
            (
                "/api/v1/namespaces/d/services/s/proxy/a",
                Some("/api/v1/namespaces/d/services/s/proxy/a"),
            ),
            ("https://example.com/a", None),
        ] {
            let found = rewritten(target, &backend, "api:6443", prepend);
            assert_eq!(found.as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn the_rest_of_the_path_keeps_its_encoding() {
        let of = |path: &str| {
            let info = RequestInfo::parse(&http::Method::GET, &path.parse().unwrap());
            let (before, after) = split_path(path, &info);
            (before.to_owned(), after.to_owned())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            of("/api/v1/namespaces/d/pods/p:80/proxy/a%20b//c/"),
            pair("/api/v1/namespaces/d/pods/p:80/proxy", "/a%20b//c/")
        );
        assert_eq!(
            of("/api/v1/nodes/n/proxy"),
            pair("/api/v1/nodes/n/proxy", "")
        );
        assert_eq!(
            of("/api/v1/nodes/n/proxy/"),
            pair("/api/v1/nodes/n/proxy", "/")
        );
    }
}
