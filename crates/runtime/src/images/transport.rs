//! HTTP/1.1 to registries: one connection a request, TLS with this machine's certificate authorities, our own resolver.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use base::tls::{Trust, client_config};
use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::registry::RegistryError;

/// For a connection with its answer's head, and for each piece of a body.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The transport. Cheap to clone; certificate authorities are read at the first use.
#[derive(Clone, Default)]
pub(super) struct Transport {
    tls: Arc<OnceLock<tokio_rustls::TlsConnector>>,
}

impl Transport {
    /// Makes one request on a connection of its own.
    pub(super) async fn send(
        &self,
        uri: &Uri,
        request: http::request::Builder,
    ) -> Result<Response<Incoming>, RegistryError> {
        let failed = |reason: String| RegistryError::Network {
            url: uri.to_string(),
            reason,
        };
        let host = uri.host().ok_or_else(|| failed("no host".to_owned()))?;
        let tls = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = request
            .uri(path)
            .header(header::HOST, authority)
            .header(
                header::USER_AGENT,
                concat!("ironclad/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let stream = connect(host, port).await.map_err(&failed)?;
            let response = if tls {
                let name = rustls::pki_types::ServerName::try_from(host.to_owned())
                    .map_err(|error| failed(error.to_string()))?;
                let stream = self.tls()?.connect(name, stream).await;
                exchange(stream.map_err(|error| failed(error.to_string()))?, request).await
            } else {
                exchange(stream, request).await
            };
            response.map_err(|error| failed(error.to_string()))
        };
        timeout(PATIENCE, exchange)
            .await
            .map_err(|_| failed("timed out".to_owned()))?
    }

    fn tls(&self) -> Result<&tokio_rustls::TlsConnector, RegistryError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let config = client_config(Trust::System, None)
            .map_err(|error| RegistryError::Invalid(error.to_string()))?;
        Ok(self
            .tls
            .get_or_init(|| tokio_rustls::TlsConnector::from(Arc::new(config))))
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let bare = host.trim_matches(['[', ']']);
    let addresses: Vec<IpAddr> = match bare.parse() {
        Ok(ip) => vec![ip],
        Err(_) if bare == "localhost" => {
            vec![
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ]
        }
        // Not the C library's resolver: a static binary has none that works.
        Err(_) => {
            let resolver = hickory_resolver::TokioResolver::builder_tokio()
                .and_then(|builder| builder.build())
                .map_err(|error| error.to_string())?;
            let found = resolver
                .lookup_ip(bare)
                .await
                .map_err(|error| error.to_string())?;
            found.iter().collect()
        }
    };
    let mut last = format!("lookup {host}: no such host");
    for address in addresses {
        match TcpStream::connect(SocketAddr::from((address, port))).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("dial tcp {address}:{port}: {error}"),
        }
    }
    Err(last)
}

async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response's body, which holds the other half.
    #[allow(
        clippy::disallowed_methods,
        reason = "it lives exactly as long as the response"
    )]
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Reads a small body whole.
pub(super) async fn read_all(
    url: &str,
    response: Response<Incoming>,
    limit: usize,
) -> Result<Bytes, RegistryError> {
    let body = http_body_util::Limited::new(response.into_body(), limit);
    let failed = |reason: String| RegistryError::Network {
        url: url.to_owned(),
        reason,
    };
    let collected = timeout(PATIENCE, body.collect())
        .await
        .map_err(|_| failed("timed out".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(collected.to_bytes())
}
