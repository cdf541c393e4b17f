//! How the server calls webhooks: one JSON body posted, one JSON body back, over kept connections.
//!
//! Admission webhooks, conversion of custom resources, authentication, authorization and audit webhooks all come through here.
//! A [`ClientConfig`] says where a webhook is and whom to trust there; it is read from the `clientConfig` of an API object
//! ([`ClientConfig::from_object`]) or from a file in kubeconfig form ([`kubeconfig::read`]). [`WebhookClients::client`] gives the client
//! of a configuration: equal configurations share one, which goes when its last user drops it.
//!
//! Bounds, so that a webhook which hangs or lies harms its own callers alone: every call has a timeout which covers everything,
//! also waiting for a free connection; answers have a size; a target has at most [`MAX_CALLS`] calls under way.
//!
//! As upstream, a webhook behind a Service is reached through the ClusterIP, by HTTP/1.1 (an HTTP/2 connection would pin all calls to
//! one of its pods), and proves to be `<service>.<namespace>.svc`.

mod config;
mod connection;
mod error;
pub mod kubeconfig;
mod pool;
pub(crate) mod service_resolver;
#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use apimachinery::status::{self, Status};
use base::TaskGroup;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};

pub use config::{ClientConfig, ConfigError, Credentials, Target, Trust};
pub use error::CallError;

use crate::reader::ObjectReader;
use pool::Pool;

/// How many calls of one target are under way at once; more wait, as long as their timeout allows.
pub const MAX_CALLS: usize = 256;
/// How large an answer may be unless the caller says otherwise.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;

/// All clients of a server. Cheap to clone; clones share the clients.
#[derive(Clone)]
pub struct WebhookClients {
    shared: Arc<Shared>,
}

struct Shared {
    reader: Arc<dyn ObjectReader>,
    tasks: TaskGroup,
    /// Only as long as someone holds them.
    clients: Mutex<HashMap<ClientConfig, Weak<WebhookClient>>>,
}

impl std::fmt::Debug for WebhookClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookClients").finish_non_exhaustive()
    }
}

impl WebhookClients {
    /// Finds Services by `reader`; connections live in `tasks`.
    pub fn new(reader: Arc<dyn ObjectReader>, tasks: TaskGroup) -> Self {
        Self {
            shared: Arc::new(Shared {
                reader,
                tasks,
                clients: Mutex::default(),
            }),
        }
    }

    /// The client of a configuration, made if nobody holds one. Nothing is dialled yet.
    pub fn client(&self, config: &ClientConfig) -> Result<Arc<WebhookClient>, ConfigError> {
        let mut clients = self
            .shared
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(config).and_then(Weak::upgrade) {
            return Ok(client);
        }
        let client = Arc::new(WebhookClient::new(
            config.clone(),
            Arc::clone(&self.shared.reader),
            self.shared.tasks.clone(),
        )?);
        clients.retain(|_, client| client.strong_count() > 0);
        clients.insert(config.clone(), Arc::downgrade(&client));
        Ok(client)
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// All of it may take this long.
    pub timeout: Duration,
    /// Whether the webhook is told so (`?timeout=10s`), as admission and conversion do.
    pub announce_timeout: bool,
    /// How many bytes the answer may have.
    pub max_answer_bytes: usize,
}

impl Call {
    /// With a timeout that is not announced, and the usual size of answers.
    pub fn within(timeout: Duration) -> Self {
        Self {
            timeout,
            announce_timeout: false,
            max_answer_bytes: MAX_ANSWER_BYTES,
        }
    }
}

/// Calls one webhook.
#[derive(Debug)]
pub struct WebhookClient {
    config: ClientConfig,
    /// `https://host:port/path`
    url: String,
    pool: Pool,
}

impl WebhookClient {
    fn new(
        config: ClientConfig,
        reader: Arc<dyn ObjectReader>,
        tasks: TaskGroup,
    ) -> Result<Self, ConfigError> {
        let url = config.url()?;
        let pool = Pool::new(&config, &url, reader, tasks)?;
        Ok(Self {
            config,
            url: url.to_string(),
            pool,
        })
    }

    /// Gets what is at the URL; for documents that others publish, such as an issuer's keys.
    pub async fn get(&self, call: Call) -> Result<Bytes, CallError> {
        let exchange = self.exchange(Method::GET, &self.url, Bytes::new(), call);
        match tokio::time::timeout(call.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Deadline),
        }
    }

    /// Posts JSON; gives the body of an answer of success, whatever is in it.
    pub async fn post(&self, body: Bytes, call: Call) -> Result<Bytes, CallError> {
        let url = if call.announce_timeout {
            format!("{}?timeout={}", self.url, go_seconds(call.timeout))
        } else {
            self.url.clone()
        };
        let answer =
            tokio::time::timeout(call.timeout, self.exchange(Method::POST, &url, body, call));
        let result = match answer.await {
            Ok(result) => result,
            Err(_) => Err(CallError::Deadline),
        };
        result.map_err(|error| match error {
            answered @ CallError::Answered(_) => answered,
            other => CallError::Post {
                url,
                source: Box::new(other),
            },
        })
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        call: Call,
    ) -> Result<Bytes, CallError> {
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| CallError::Broken(error.to_string()))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json.clone());
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, */*"),
        );
        headers.insert(header::USER_AGENT, user_agent());
        if let Some(authorization) = self.config.credentials.authorization().await? {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let (response, lease) = self.pool.send(request).await?;
        let (head, body) = response.into_parts();
        let success = head.status.is_success();
        let limit = if success {
            call.max_answer_bytes
        } else {
            MAX_ANSWER_BYTES.min(1 << 20)
        };
        let bytes = match Limited::new(body, limit).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(CallError::TooLarge(limit));
            }
            Err(error) => return Err(CallError::broken(&*error)),
        };
        lease.give_back();
        if success {
            return Ok(bytes);
        }
        let media_type = head.headers.get(header::CONTENT_TYPE);
        let media_type = media_type.map(HeaderValue::as_bytes);
        let refusal = refusal(head.status, media_type, &bytes);
        Err(CallError::Answered(Box::new(refusal)))
    }
}

fn user_agent() -> HeaderValue {
    HeaderValue::from_static("kube-apiserver-admission")
}

/// As Go writes a duration of whole seconds, or of milliseconds.
fn go_seconds(timeout: Duration) -> String {
    match timeout.as_millis() {
        ms if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        ms if ms < 1000 => format!("{ms}ms"),
        _ => format!("{}s", timeout.as_secs_f64()),
    }
}

/// What an answer that is no success says: its own `Status` if it is one, else what upstream's client makes of the code.
fn refusal(code: StatusCode, media_type: Option<&[u8]>, body: &[u8]) -> Status {
    if let Ok(status) = serde_json::from_slice::<Status>(body)
        && status.kind == "Status"
        && status.status == "Failure"
    {
        return status;
    }
    Status::of_answer(code.as_u16(), "POST", &status::said(media_type, body))
}
