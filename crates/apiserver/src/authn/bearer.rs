//! Where a bearer token stands in a request: the `Authorization` header, or, for browsers and WebSocket clients that cannot set it,
//! a subprotocol `base64url.bearer.authorization.k8s.io.<base64url of the token>`.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};

const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The token of the request, if it carries one.
pub fn token(headers: &HeaderMap) -> Option<String> {
    from_authorization(headers).or_else(|| from_websocket_protocol(headers))
}

/// Whether a token that is there was not read, for the spaces before it.
pub fn has_extra_space(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok()).map(str::trim);
    let parts: Vec<&str> = value.unwrap_or_default().splitn(3, ' ').collect();
    matches!(parts.as_slice(), [scheme, "", _] if scheme.eq_ignore_ascii_case("bearer"))
}

/// Whether a token stands among sub-protocols that name nothing else: the answer must name one, and never the token's.
pub fn lacks_protocol(headers: &HeaderMap) -> bool {
    from_authorization(headers).is_none()
        && from_websocket_protocol(headers).is_some()
        && protocols(headers).all(|p| p.starts_with(PROTOCOL_PREFIX))
}

/// Takes the token out of the request, so that nothing behind authentication (a proxied backend, a log) sees it.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    let kept: Vec<String> = protocols(headers)
        .filter(|p| !p.starts_with(PROTOCOL_PREFIX))
        .map(str::to_owned)
        .collect();
    if headers.remove(header::SEC_WEBSOCKET_PROTOCOL).is_some()
        && !kept.is_empty()
        && let Ok(value) = HeaderValue::from_str(&kept.join(", "))
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
}

fn from_authorization(headers: &HeaderMap) -> Option<String> {
    from_value(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// The token in the value of an `Authorization` header.
pub(super) fn from_value(value: &str) -> Option<String> {
    let (scheme, token) = value.trim().split_once(' ')?;
    // Upstream splits at single spaces: what follows a second one is not part of the token.
    let token = token.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn from_websocket_protocol(headers: &HeaderMap) -> Option<String> {
    let upgrade = headers.get(header::UPGRADE)?.to_str().ok()?;
    if !upgrade.eq_ignore_ascii_case("websocket") {
        return None;
    }
    let encoded = protocols(headers).find_map(|p| p.strip_prefix(PROTOCOL_PREFIX))?;
    let token = BASE64_URL_SAFE_NO_PAD
        .decode(encoded.trim_end_matches('='))
        .ok()?;
    String::from_utf8(token)
        .ok()
        .filter(|token| !token.is_empty())
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn tokens_are_found_where_they_stand() {
        let protocol = format!("{PROTOCOL_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode("abc"));
        let both = format!("v5.channel.k8s.io, {protocol}");
        for (pairs, expected) in [
            (&[("authorization", "Bearer abc")][..], Some("abc")),
            (&[("authorization", "bearer abc")], Some("abc")),
            (&[("authorization", "Bearer abc def")], Some("abc")),
            (&[("authorization", "Bearer  abc")], None),
            (&[("authorization", "Bearer ")], None),
            (&[("authorization", "Bearer")], None),
            (&[("authorization", "Basic eDp5")], None),
            (
                &[
                    ("upgrade", "websocket"),
                    ("sec-websocket-protocol", both.as_str()),
                ],
                Some("abc"),
            ),
            (&[("sec-websocket-protocol", both.as_str())], None),
            (&[], None),
        ] {
            assert_eq!(token(&headers(pairs)).as_deref(), expected, "{pairs:?}");
        }
        assert_eq!(from_value("Bearer abc\n").as_deref(), Some("abc"));
        let alone = [
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", protocol.as_str()),
        ];
        assert!(lacks_protocol(&headers(&alone)));
        let beside = [
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", both.as_str()),
        ];
        assert!(!lacks_protocol(&headers(&beside)));
        assert!(has_extra_space(&headers(&[(
            "authorization",
            "Bearer  abc"
        )])));
        assert!(!has_extra_space(&headers(&[(
            "authorization",
            "Bearer abc d"
        )])));
    }

    #[test]
    fn stripping_leaves_the_other_protocols() {
        let protocol = format!("v5.channel.k8s.io, {PROTOCOL_PREFIX}YWJj, v4.channel.k8s.io");
        let mut headers = headers(&[
            ("authorization", "Bearer x"),
            ("sec-websocket-protocol", &protocol),
        ]);
        strip(&mut headers);
        assert!(headers.get(header::AUTHORIZATION).is_none());
        assert_eq!(
            headers[header::SEC_WEBSOCKET_PROTOCOL],
            "v5.channel.k8s.io, v4.channel.k8s.io"
        );
    }
}
