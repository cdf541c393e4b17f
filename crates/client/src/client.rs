//! One connection to one API server: requests in, bytes or `Status` errors out. Everything typed stands on this.
//!
//! Like client-go, an answer that carries `Retry-After` (429, and 5xx of a server that starts or drains) is waited out and the
//! request sent again, up to [`MAX_RETRIES`] times.

use std::{sync::Arc, time::Duration};

use apimachinery::{gvk::GroupResource, status};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tokio::time::Instant;

use crate::{
    api::{Api, Namespace},
    config::Config,
    error::{ApiError, BoxError, TransportError},
    https::Https,
    kind::Kind,
    metrics::ClientMetrics,
    transport::{Body, Transport, Upgraded},
};

/// How often a request is sent again because the server said `Retry-After`.
pub(crate) const MAX_RETRIES: u32 = 10;

/// How long an answer may take, watches aside; the server's own limit is the same.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Upper bound of a refusal's body.
const MAX_STATUS_BYTES: usize = 1 << 20;

/// A client of one API server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    user_agent: HeaderValue,
    metrics: Option<ClientMetrics>,
}

/// One request, before it is sent.
#[derive(Debug)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path and query.
    pub uri: String,
    /// `Content-Type` of the body.
    pub content_type: &'static str,
    /// `Accept`.
    pub accept: &'static str,
    /// Body; empty for none.
    pub body: Bytes,
}

/// The encoding of most bodies.
pub const JSON: &str = "application/json";

impl Request {
    /// A GET that wants JSON.
    pub fn get(uri: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            uri: uri.into(),
            content_type: JSON,
            accept: JSON,
            body: Bytes::new(),
        }
    }

    /// A request with a JSON body.
    pub fn json(method: Method, uri: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            method,
            uri: uri.into(),
            content_type: JSON,
            accept: JSON,
            body: body.into(),
        }
    }

    /// For messages: `GET /api/v1/pods`.
    pub fn describe(&self) -> String {
        let path = self.uri.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

impl Client {
    /// A client over any transport; `user_agent` names the component (`kube-scheduler/v1.36.0 …`).
    pub fn new(transport: Arc<dyn Transport>, user_agent: &str) -> Self {
        Self {
            transport,
            user_agent: header_value(user_agent),
            metrics: None,
        }
    }

    /// A client over HTTPS.
    pub fn from_config(config: Config, user_agent: &str) -> Result<Self, TransportError> {
        Ok(Self::new(Arc::new(Https::new(config)?), user_agent))
    }

    /// The same connection under another component's name.
    pub fn with_user_agent(&self, user_agent: &str) -> Self {
        Self {
            user_agent: header_value(user_agent),
            ..self.clone()
        }
    }

    /// The same component over another transport.
    pub fn with_transport(&self, transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            ..self.clone()
        }
    }

    /// The same connection, whose requests are counted.
    pub fn with_metrics(self, metrics: ClientMetrics) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    /// The typed API of a kind, in one namespace or in all: `client.api::<Pod>("default")`.
    pub fn api<K: Kind>(&self, namespace: impl Into<Namespace>) -> Api<K> {
        Api::new(self.clone(), namespace.into())
    }

    /// Sends a request and reads the whole answer.
    pub async fn request(&self, request: Request) -> Result<Bytes, ApiError> {
        let describe = request.describe();
        let read = async {
            let response = self.open(request).await?;
            match response.into_body().collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(source) => Err(ApiError::Decode {
                    request: describe,
                    source,
                }),
            }
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, read).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout(REQUEST_TIMEOUT).into()),
        }
    }

    /// GET of a path that answers text or JSON (`/version`, `/readyz`).
    pub async fn get_raw(&self, path: &str) -> Result<Bytes, ApiError> {
        self.request(Request::get(path)).await
    }

    /// Sends a request and returns when the head of a successful answer is there; its body may go on for long (watch, logs).
    pub async fn open(&self, request: Request) -> Result<http::Response<Body>, ApiError> {
        let mut retries = 0;
        loop {
            let sending = self.transport.send(self.encode(&request)?);
            let started = Instant::now();
            let sent = tokio::time::timeout(REQUEST_TIMEOUT, sending).await;
            if let Some(metrics) = &self.metrics {
                let answer = sent.as_ref().ok().and_then(|sent| sent.as_ref().ok());
                let code = answer.map(http::Response::status);
                metrics.count(&request.method, code, started.elapsed());
            }
            let response = match sent {
                Ok(response) => response?,
                Err(_) => return Err(TransportError::Timeout(REQUEST_TIMEOUT).into()),
            };
            if response.status().is_success() {
                return Ok(response);
            }
            match retry_after(&response) {
                Some(delay) if retries < MAX_RETRIES => {
                    retries += 1;
                    tokio::time::sleep(delay).await;
                }
                _ => return Err(refusal(&request, response).await),
            }
        }
    }

    /// Asks for a protocol upgrade (`exec`, `attach`, `port-forward`). The caller sets the upgrade's own headers.
    pub async fn upgrade(&self, mut request: http::Request<Bytes>) -> Result<Upgraded, ApiError> {
        request
            .headers_mut()
            .insert(header::USER_AGENT, self.user_agent.clone());
        Ok(self.transport.upgrade(request).await?)
    }

    fn encode(&self, request: &Request) -> Result<http::Request<Bytes>, ApiError> {
        let mut builder = http::Request::builder()
            .method(request.method.clone())
            .uri(&request.uri)
            .header(header::ACCEPT, request.accept)
            .header(header::USER_AGENT, self.user_agent.clone());
        if !request.body.is_empty() {
            builder = builder.header(header::CONTENT_TYPE, request.content_type);
        }
        builder
            .body(request.body.clone())
            .map_err(|error| TransportError::Http(error.into()).into())
    }
}

fn header_value(user_agent: &str) -> HeaderValue {
    HeaderValue::from_str(user_agent).unwrap_or(HeaderValue::from_static("ironclad"))
}

fn retry_after(response: &http::Response<Body>) -> Option<Duration> {
    let status = response.status();
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let seconds: u64 = response
        .headers()
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// The server's `Status`, or one made of what came instead (a proxy's page, an empty body).
async fn refusal(request: &Request, response: http::Response<Body>) -> ApiError {
    let code = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE).cloned();
    let body = match read_bounded(response.into_body(), MAX_STATUS_BYTES).await {
        Ok(body) => body,
        Err(source) => {
            let request = request.describe();
            return ApiError::Decode { request, source };
        }
    };
    let sent = serde_json::from_slice::<Status>(&body)
        .ok()
        .filter(|status| status.reason.is_some() || status.message.is_some());
    let media_type = media_type.as_ref().map(HeaderValue::as_bytes);
    let status = sent.map_or_else(
        || status_of(request, code, &status::said(media_type, &body)),
        Ok,
    );
    let status = match status {
        Ok(status) => status,
        Err(error) => return error,
    };
    ApiError::Status(Box::new(Status {
        code: status.code.or(Some(code.as_u16().into())),
        ..status
    }))
}

async fn read_bounded(mut body: Body, max_bytes: usize) -> Result<Vec<u8>, BoxError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > max_bytes {
                return Err(format!("a refusal of more than {max_bytes} bytes").into());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// What an answer that carries no `Status` says by its code, worded as client-go words it.
fn status_of(request: &Request, code: StatusCode, said: &str) -> Result<Status, ApiError> {
    let verb = request.method.as_str();
    let mut status = status::Status::of_answer(code.as_u16(), verb, said);
    if let Some((resource, name)) = asked_for(&request.uri) {
        status = status.to_request(verb, &resource, name);
    }
    let status = serde_json::to_vec(&status);
    let status = status.and_then(|json| serde_json::from_slice(&json));
    decode(&request.describe(), status)
}

/// Resource and name in a path of the API; the name is empty for a list.
fn asked_for(uri: &str) -> Option<(GroupResource, &str)> {
    let path = uri.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').skip(1);
    let group = match segments.next()? {
        "api" => "",
        "apis" => segments.next()?,
        _ => return None,
    };
    let _version = segments.next()?;
    let mut rest: Vec<&str> = segments.collect();
    if let ["namespaces", _, _, ..] = rest[..] {
        rest.drain(..2);
    }
    let name = rest.get(1).copied().unwrap_or_default();
    let resource = (*rest.first()?).to_owned();
    let resource = GroupResource {
        group: group.to_owned().into(),
        resource: resource.into(),
    };
    Some((resource, name))
}

/// Decodes an answer, naming the request in the error.
pub(crate) fn decode<T>(
    request: &str,
    result: Result<T, serde_json::Error>,
) -> Result<T, ApiError> {
    result.map_err(|error| ApiError::Decode {
        request: request.to_owned(),
        source: BoxError::from(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_status_is_worded_by_its_code() {
        for (uri, about) in [
            (
                "/apis/metrics.k8s.io/v1beta1/namespaces/n/pods?labelSelector=a",
                " (get pods.metrics.k8s.io)",
            ),
            ("/api/v1/namespaces/n/pods/p/log", " (get pods p)"),
            ("/api/v1/namespaces/n", " (get namespaces n)"),
            ("/api/v1/nodes/n", " (get nodes n)"),
            ("/readyz", ""),
            ("/apis", ""),
        ] {
            let status = status_of(
                &Request::get(uri),
                StatusCode::NOT_FOUND,
                "404 page not found",
            );
            let status = status.unwrap();
            let message = format!("the server could not find the requested resource{about}");
            assert_eq!(status.message, Some(message));
            assert_eq!(
                (status.code, status.reason),
                (Some(404), Some("NotFound".to_owned()))
            );
        }
    }
}
