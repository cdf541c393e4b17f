//! The `Host` header of HTTP/1.1: there is exactly one, of characters that a host can have (RFC 9112, 3.2). What two servers on the way read differently is
//! read by none. Worded as Go's server words it.

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};

use crate::{body::Body, negotiation::plain_error};

/// The answer to a request that breaks the rule.
pub(super) fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let is_exempt = request.version() != Version::HTTP_11 || request.method() == Method::CONNECT;
    let complaint = complaint(request.headers()).filter(|_| !is_exempt)?;
    let mut response = plain_error(
        StatusCode::BAD_REQUEST,
        &format!("400 Bad Request{complaint}"),
    );
    let headers = response.headers_mut();
    headers.remove(header::X_CONTENT_TYPE_OPTIONS);
    headers.insert(
        header::CONNECTION,
        header::HeaderValue::from_static("close"),
    );
    Some(response)
}

fn complaint(headers: &HeaderMap) -> Option<&'static str> {
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
            complaint(request.headers_ref().unwrap())
                .filter(|_| refuse(&request.body(()).unwrap()).is_some())
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
}
