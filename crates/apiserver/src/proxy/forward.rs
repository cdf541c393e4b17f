//! Passes a request on and its answer back, upgrades included. Follows upstream's `UpgradeAwareHandler`.
//!
//! Headers go through but for those of one hop and the client's credentials. An upgrade that the backend agrees to becomes a
//! [`tunnel`]; one that it refuses is answered as it refuses.

use apimachinery::status::Status;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use base::TaskGroup;

use super::{Location, ProxyConnector, html, redirect, tunnel};
use crate::{body::Body, context::Context, upgraded::Upgraded};

/// A browser cannot set headers of a WebSocket, and puts its token here instead.
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl ProxyConnector {
    /// exec, attach, port-forward: nothing but upgrades.
    pub(super) async fn upgrade(
        &self,
        context: &Context,
        location: Location,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        if !asks_for_upgrade(&context.headers) {
            return Err(Status::bad_request("Upgrade request required"));
        }
        pass_upgrade(&self.tasks, context, &location, request, |_| {}).await
    }

    /// A proxied request of any sort.
    pub(super) async fn proxy(
        &self,
        context: &Context,
        mut location: Location,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let own_path = context.info.path.as_str();
        if location.path.is_empty() && own_path.ends_with('/') {
            "/".clone_into(&mut location.path);
        }
        location.query = request
            .uri()
            .query()
            .map(|q| format!("?{q}"))
            .unwrap_or_default();
        if location.path.is_empty() {
            // Relative links of the root page need the slash.
            if matches!(*request.method(), Method::GET | Method::HEAD) {
                return redirect::permanent(&format!("{own_path}/{}", location.query));
            }
            "/".clone_into(&mut location.path);
        }
        if asks_for_upgrade(&context.headers) {
            return pass_upgrade(&self.tasks, context, &location, request, |_| {}).await;
        }
        let prepend = redirect::prefix(own_path, &context.info);
        let host = host_of(context, &request);
        let mut outgoing = outgoing(context, &location, request)?;
        forwarded(
            outgoing.headers_mut(),
            &host,
            &format!("{prepend}{}", location.path),
        );
        if html::wants_page(&context.headers) {
            // A page is read here, for its links.
            outgoing.headers_mut().remove(header::ACCEPT_ENCODING);
        }
        let response = location
            .send(outgoing, &self.tasks)
            .await
            .map_err(|error| {
                Status::service_unavailable(format!("error trying to reach service: {error}"))
            })?;
        let mut response = answer(response);
        redirect::rewrite(&mut response, &location, &host, prepend);
        let prepend = prepend.to_owned();
        Ok(html::rewrite(response, move |link| {
            redirect::link(link, &location, &host, &prepend)
        }))
    }
}

/// Passes a request on as it is, upgrades included; `edit` has the last word on its headers.
pub(crate) async fn pass(
    tasks: &TaskGroup,
    context: &Context,
    location: &Location,
    request: Request<Body>,
    edit: impl FnOnce(&mut HeaderMap) + Send,
) -> Result<Response<Body>, Status> {
    if asks_for_upgrade(&context.headers) {
        return pass_upgrade(tasks, context, location, request, edit).await;
    }
    let mut outgoing = outgoing(context, location, request)?;
    edit(outgoing.headers_mut());
    let response = location.send(outgoing, tasks).await;
    let response = response.map_err(|error| Status::service_unavailable(error.to_string()))?;
    Ok(answer(response))
}

async fn pass_upgrade(
    tasks: &TaskGroup,
    context: &Context,
    location: &Location,
    mut request: Request<Body>,
    edit: impl FnOnce(&mut HeaderMap) + Send,
) -> Result<Response<Body>, Status> {
    let client = hyper::upgrade::on(&mut request);
    let asked_for = context.headers.get(header::UPGRADE).cloned();
    let mut outgoing = outgoing(context, location, request.map(|_| Body::Empty))?;
    outgoing
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Some(protocol) = asked_for {
        outgoing.headers_mut().insert(header::UPGRADE, protocol);
    }
    edit(outgoing.headers_mut());
    let mut response = location
        .send(outgoing, tasks)
        .await
        .map_err(|error| Status::unclassified(format!("error dialing backend: {error}")))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer(response));
    }
    let backend = hyper::upgrade::on(&mut response);
    let upgraded = Upgraded::default();
    let held = upgraded.clone();
    tasks.spawn_cancellable("upgraded-connection", async move {
        let _held = held;
        let (client, backend) = match tokio::try_join!(client, backend) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "the upgrade did not come about"),
        };
        if let Err(error) = tunnel::join(TokioIo::new(client), TokioIo::new(backend)).await {
            tracing::debug!(%error, "an upgraded connection broke");
        }
    });
    // The head as it is: it names the protocol.
    let (parts, _) = response.into_parts();
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response.extensions_mut().insert(upgraded);
    Ok(response)
}

/// Whether the request asks for an upgrade.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value
                .split(',')
                .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
        })
    })
}

/// The request as the backend gets it.
fn outgoing(
    context: &Context,
    location: &Location,
    request: Request<Body>,
) -> Result<Request<Body>, Status> {
    let host = host_of(context, &request);
    let (parts, body) = request.into_parts();
    let target = format!("{}{}", location.path, location.query);
    let mut outgoing = Request::builder()
        .method(parts.method)
        .uri(target)
        .version(Version::HTTP_11)
        .body(body)
        .map_err(|error| Status::bad_request(format!("invalid URL: {error}")))?;
    // Authentication has taken the credentials out of the context's headers.
    let mut headers = context.headers.clone();
    remove_hop_by_hop(&mut headers);
    headers.remove(header::AUTHORIZATION);
    strip_websocket_token(&mut headers);
    let host = if host.is_empty() {
        location.authority()
    } else {
        host
    };
    if let Ok(host) = HeaderValue::from_str(&host) {
        headers.insert(header::HOST, host);
    }
    if let Some(peer) = context.remote() {
        let before = headers
            .get(&FORWARDED_FOR)
            .and_then(|value| value.to_str().ok());
        let all = match before {
            Some(before) => format!("{before}, {}", peer.ip()),
            None => peer.ip().to_string(),
        };
        if let Ok(all) = HeaderValue::from_str(&all) {
            headers.insert(FORWARDED_FOR, all);
        }
    }
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

/// The host that the client has addressed; backends see it too.
fn host_of<B>(context: &Context, request: &Request<B>) -> String {
    let header = context
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = || {
        request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
    };
    header.or_else(authority).unwrap_or_default().to_owned()
}

fn forwarded(headers: &mut HeaderMap, host: &str, uri: &str) {
    let values = [
        (FORWARDED_URI, uri),
        (FORWARDED_HOST, host),
        (FORWARDED_PROTO, "https"),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
}

/// The backend's answer for the client.
fn answer(response: Response<Incoming>) -> Response<Body> {
    let mut response = response.map(Body::from);
    *response.version_mut() = Version::default();
    remove_hop_by_hop(response.headers_mut());
    response
}

/// Headers that concern one connection (RFC 9110, section 7.6.1), and those that `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    for name in named.into_iter().chain(fixed) {
        headers.remove(name);
    }
}

/// Takes the token out of the list of sub-protocols.
fn strip_websocket_token(headers: &mut HeaderMap) {
    let Some(list) = headers
        .get(header::SEC_WEBSOCKET_PROTOCOL)
        .and_then(|v| v.to_str().ok())
    else {
        return;
    };
    if !list.contains(WEBSOCKET_TOKEN) {
        return;
    }
    let rest: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|p| !p.starts_with(WEBSOCKET_TOKEN))
        .collect();
    match HeaderValue::from_str(&rest.join(", ")) {
        Ok(value) if !rest.is_empty() => {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        _ => {
            headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn headers_of_one_hop_and_credentials_stay_here() {
        let mut all = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut all);
        assert_eq!(all, headers(&[("accept", "*/*")]));

        let mut context = Context::default();
        context.headers = headers(&[
            ("authorization", "Bearer secret"),
            ("host", "api:6443"),
            (
                "sec-websocket-protocol",
                "base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io",
            ),
        ]);
        let location = Location {
            host: "10.0.0.1".to_owned(),
            port: "80".to_owned(),
            path: "/x".to_owned(),
            query: "?a=b".to_owned(),
            tls: None,
            server_name: None,
        };
        let outgoing = outgoing(&context, &location, Request::new(Body::Empty)).unwrap();
        assert_eq!(outgoing.uri(), "/x?a=b");
        let expected = headers(&[
            ("host", "api:6443"),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ]);
        assert_eq!(outgoing.headers(), &expected);
    }
}
