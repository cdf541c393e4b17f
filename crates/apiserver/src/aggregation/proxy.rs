//! Requests for another server: passed on, with the user in headers in place of the user's credentials.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};

use super::{Aggregator, Remote};
use crate::{body::Body, context::Context, proxy::pass, user::UserInfo};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

impl Aggregator {
    /// Answers as the other server does, or 503.
    pub(crate) async fn proxy(
        &self,
        remote: &Remote,
        context: &Context,
        request: Request<Body>,
    ) -> Response<Body> {
        self.pass(remote, context, &context.user, request).await
    }

    /// The same, in the name of `user`.
    pub(super) async fn pass(
        &self,
        remote: &Remote,
        context: &Context,
        user: &UserInfo,
        request: Request<Body>,
    ) -> Response<Body> {
        if !remote.available {
            return refusal("service unavailable");
        }
        let uri = request.uri();
        let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
        let path = uri.path().to_owned();
        let reach = &self.reach;
        let location = remote.location(reach.reader.as_ref(), &reach.identity, path, query);
        let location = match location {
            Ok(location) => location,
            Err(error) => {
                tracing::warn!(%error, api_service = remote.name, "no way to another server");
                return refusal("service unavailable");
            }
        };
        let identify = |headers: &mut HeaderMap| set_identity(headers, user);
        match pass(&reach.tasks, context, &location, request, identify).await {
            Ok(response) => response,
            Err(status) => refusal(&status.message),
        }
    }
}

/// 503 in plain words, as upstream.
fn refusal(message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Says who the user is, and nothing that the client has said of it.
pub(super) fn set_identity(headers: &mut HeaderMap, user: &UserInfo) {
    let said: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            **name == USER || **name == UID || **name == GROUP || name.as_str().starts_with(EXTRA)
        })
        .cloned()
        .collect();
    for name in said {
        headers.remove(name);
    }
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    add(USER, &user.name);
    if !user.uid.is_empty() {
        add(UID, &user.uid);
    }
    for group in &user.groups {
        add(GROUP, group);
    }
    for (key, values) in &user.extra {
        let Ok(name) = HeaderName::try_from(format!("{EXTRA}{}", escape_key(key))) else {
            continue;
        };
        for value in values {
            add(name.clone(), value);
        }
    }
}

/// What cannot stand in a header's name is percent-encoded; upstream encodes capitals too, for names of headers have no case.
fn escape_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        let plain =
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&'*+-.^_`|~".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_of_itself_does_not_count() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "root"),
            ("x-remote-extra-scopes", "all"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let user = UserInfo {
            name: "jane".to_owned(),
            groups: vec!["a".to_owned(), "b".to_owned()],
            extra: [("Example.com/x".to_owned(), vec!["1".to_owned()])].into(),
            ..UserInfo::default()
        };
        set_identity(&mut headers, &user);
        assert_eq!(headers["x-remote-user"], "jane");
        assert_eq!(headers.get_all("x-remote-group").iter().count(), 2);
        assert_eq!(headers["x-remote-extra-%45xample.com%2fx"], "1");
        assert!(!headers.contains_key("x-remote-extra-scopes"));
        assert!(headers.contains_key("accept"));
    }
}
