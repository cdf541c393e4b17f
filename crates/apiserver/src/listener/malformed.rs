//! Requests that HTTP forbids, in Go's server's words: what two servers on the way may read differently is read by none.
//!
//! HTTP/1.1 has exactly one `Host`, of characters that a host can have (RFC 9112, 3.2). In a path two hexadecimal digits follow each percent sign
//! (RFC 3986, 2.1).

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};

use crate::{body::Body, negotiation::plain_error};

/// The answer to a request that breaks a rule.
pub(super) fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let complaint = complaint(request)?;
    let mut response = plain_error(
        StatusCode::BAD_REQUEST,
        &format!("400 Bad Request{complaint}"),
    );
    let headers = response.headers_mut();
    headers.remove(header::X_CONTENT_TYPE_OPTIONS);
    if request.version() != Version::HTTP_2 {
        headers.insert(
            header::CONNECTION,
            header::HeaderValue::from_static("close"),
        );
    }
    Some(response)
}

fn complaint<B>(request: &Request<B>) -> Option<&'static str> {
    if !is_escaped(request.uri().path().as_bytes()) {
        return Some("");
    }
    let has_host = request.version() == Version::HTTP_11 && request.method() != Method::CONNECT;
    has_host.then(|| complaint_about_host(request.headers()))?
}

/// Whether each percent sign begins an escape.
fn is_escaped(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest[at..] {
            [_, first, second, ..] if first.is_ascii_hexdigit() && second.is_ascii_hexdigit() => {
                rest = &rest[at + 3..];
            }
            _ => return false,
        }
    }
    true
}

fn complaint_about_host(headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Some(": missing required Host header"),
        (Some(_), Some(_)) => Some(""),
        (Some(host), None) if !host.as_bytes().iter().all(can_be_of_host) => {
            Some(": malformed Host header")
        }
        _ => None,
    }
}

/// Of a registered name, an address or a port (RFC 3986, 3.2.2).
fn can_be_of_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$%&()*+,-.:;=[]'_~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_host_that_can_be_one() {
        let refused = |version: Version, method: Method, hosts: &[&str]| {
            let mut request = Request::builder().version(version).method(method);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            complaint(&request.body(()).unwrap())
        };
        let (http, get) = (Version::HTTP_11, Method::GET);
        for (hosts, expected) in [
            (&["x:6443"][..], None),
            (&["[::1]:6443"], None),
            (&[""], None),
            (&[], Some(": missing required Host header")),
            (&["x", "x"], Some("")),
            (&["a b"], Some(": malformed Host header")),
            (&["a/b"], Some(": malformed Host header")),
        ] {
            assert_eq!(refused(http, get.clone(), hosts), expected, "{hosts:?}");
        }
        assert_eq!(refused(Version::HTTP_10, get.clone(), &[]), None);
        assert_eq!(refused(Version::HTTP_2, get, &[]), None);
        assert_eq!(refused(http, Method::CONNECT, &[]), None);
    }

    #[test]
    fn percent_signs_begin_escapes() {
        for (path, expected) in [
            ("/api", 200),
            ("/api/%2F%c3%BC?q=%zz", 200),
            ("/api/%zz", 400),
            ("/api/%2", 400),
            ("/%", 400),
        ] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let request = Request::builder().version(version).uri(path);
                let request = request.header(header::HOST, "x").body(()).unwrap();
                let response = refuse(&request);
                let status = response.as_ref().map_or(200, |it| it.status().as_u16());
                assert_eq!(status, expected, "{path}");
                let closes = response.is_some_and(|it| it.headers().contains_key("connection"));
                assert_eq!(closes, expected == 400 && version == Version::HTTP_11);
            }
        }
    }
}
