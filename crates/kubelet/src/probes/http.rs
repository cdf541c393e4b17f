//! One GET, as probes and hooks make it: HTTP/1.1 on a fresh connection, redirects followed on the same host, certificates not
//! checked (they are the pod's own), ten kilobytes of the body read.

use std::{sync::Arc, time::Duration};

use base::tls::{Trust, client_config};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// What is read of a body.
const MAX_BODY_BYTES: usize = 10 << 10;
const MAX_REDIRECTS: u32 = 10;

/// Where a GET goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Headers, in order; a `Host` of the user's wins.
    pub headers: Vec<(String, String)>,
}

/// The answer, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// The body's beginning.
    pub body: String,
}

impl HttpTarget {
    /// Of an action; without a host the pod's own address.
    pub fn of(action: &HTTPGetAction, port: u16, pod_ip: &str) -> Result<Self, String> {
        let host = action
            .host
            .as_deref()
            .filter(|host| !host.is_empty())
            .unwrap_or(pod_ip)
            .to_owned();
        let path = action.path.as_deref().unwrap_or("/");
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let headers = action.http_headers.iter().flatten();
        Ok(Self {
            tls: action
                .scheme
                .as_deref()
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host,
            port,
            path,
            headers: headers
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        })
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        format!("{host}:{}", self.port)
    }

    fn url(&self) -> String {
        format!(
            "{}://{}{}",
            if self.tls { "https" } else { "http" },
            self.authority(),
            self.path
        )
    }
}

/// Sends the GET; follows redirects on the same host. The error is a message worded as Go's client words it.
pub async fn http_get(
    target: &HttpTarget,
    timeout: Duration,
    user_agent: &str,
) -> Result<HttpAnswer, String> {
    let get = async {
        let mut target = target.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (answer, location) = once(&target, user_agent).await?;
            let Some(next) = location
                .as_deref()
                .and_then(|location| redirect(&target, location))
            else {
                return Ok(answer);
            };
            target = next;
        }
        Err(format!(
            "Get {:?}: stopped after {MAX_REDIRECTS} redirects",
            target.url()
        ))
    };
    match tokio::time::timeout(timeout, get).await {
        Ok(answer) => answer,
        Err(_) => Err(format!(
            "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            target.url()
        )),
    }
}

/// Where a redirect leads, if it stays on the host; elsewhere the redirect itself is the answer.
fn redirect(from: &HttpTarget, location: &str) -> Option<HttpTarget> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(HttpTarget {
            path: location.to_owned(),
            ..from.clone()
        });
    }
    let uri: http::Uri = location.parse().ok()?;
    let tls = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    let same = host == from.host;
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    same.then(|| HttpTarget {
        tls,
        host,
        port,
        path,
        headers: from.headers.clone(),
    })
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn once(
    target: &HttpTarget,
    user_agent: &str,
) -> Result<(HttpAnswer, Option<String>), String> {
    let wrap = |error: &dyn std::fmt::Display| format!("Get {:?}: {error}", target.url());
    let tcp = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|error| {
            wrap(&format!(
                "dial tcp {}: connect: {}",
                target.authority(),
                go_error(&error)
            ))
        })?;
    let stream: Box<dyn Stream> = if target.tls {
        let name = ServerName::try_from(target.host.clone()).map_err(|error| wrap(&error))?;
        // Upstream's probes take any certificate: the address is the pod's, and names prove nothing there.
        let config = client_config(Trust::Anything, None).map_err(|error| wrap(&error))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Box::new(
            connector
                .connect(name, tcp)
                .await
                .map_err(|error| wrap(&error))?,
        )
    } else {
        Box::new(tcp)
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| wrap(&error))?;
    let mut request = http::Request::get(&target.path);
    let named = |name: &str| {
        target
            .headers
            .iter()
            .any(|(header, _)| header.eq_ignore_ascii_case(name))
    };
    if !named("host") {
        request = request.header(http::header::HOST, target.authority());
    }
    if !named("user-agent") {
        request = request.header(http::header::USER_AGENT, user_agent);
    }
    if !named("accept") {
        request = request.header(http::header::ACCEPT, "*/*");
    }
    request = request.header(http::header::CONNECTION, "close");
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| wrap(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| wrap(&error))?;
        let status = response.status();
        let location = response
            .headers()
            .get(http::header::LOCATION)
            .filter(|_| status.is_redirection())
            .and_then(|location| location.to_str().ok())
            .map(str::to_owned);
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while bytes.len() < MAX_BODY_BYTES {
            match body.frame().await {
                Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                // A body that breaks off does not make the status untrue.
                Some(Err(_)) | None => break,
            }
        }
        bytes.truncate(MAX_BODY_BYTES);
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok((
            HttpAnswer {
                status: status.as_u16(),
                body,
            },
            location,
        ))
    };
    // The connection is driven for as long as the exchange takes, and dropped with it.
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

/// The kernel's error without the number that Rust adds.
pub(super) fn go_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_ascii_lowercase()
}
