//! A client of registries, as far as pulling needs one: the OCI distribution specification over HTTP/1.1.
//!
//! Manifests are small and verified whole. A blob goes straight into the content store; a broken transfer is taken up where it ended, by
//! `Range`, also after a restart. Credentials go to the registry and to the token server that it names, never along a redirect to another
//! host. Plain HTTP is spoken to this machine alone.

use std::{net::IpAddr, time::Duration};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    content::{ContentStore, Ingest},
    digest::Digest,
    manifest::{Descriptor, Index, Manifest, media_type},
    reference::Reference,
    transport::{PATIENCE, Transport, read_all},
};

/// How often a request is made before its failure counts.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const MAX_REDIRECTS: usize = 10;
const MAX_MANIFEST: usize = 4 << 20;
/// Blobs of one image that are fetched at the same time, as upstream's runtimes do.
const PARALLEL_BLOBS: usize = 3;
/// Pieces of a blob between the network and the disk.
const PIECES_IN_FLIGHT: usize = 16;

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Who we are to a registry. Never printed.
#[derive(Clone)]
pub enum Credentials {
    /// User and password, or token.
    Basic {
        /// User.
        username: String,
        /// Password.
        password: String,
    },
    /// A token for the registry itself.
    Bearer(String),
    /// A refresh token for its token server.
    Identity(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Why a registry did not give us what we asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or it broke.
    #[error("{url}: {reason}")]
    Network {
        /// Where to.
        url: String,
        /// What happened.
        reason: String,
    },
    /// It answered otherwise.
    #[error("{url}: unexpected status {status}{detail}")]
    Status {
        /// Where to.
        url: String,
        /// The answer.
        status: StatusCode,
        /// The registry's own words.
        detail: String,
    },
    /// We are not let in.
    #[error("pull access denied, repository does not exist or may require authorization: {0}")]
    Denied(String),
    /// No such image.
    #[error("{0}: not found")]
    NotFound(String),
    /// What it gave is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// The disk.
    #[error("store: {0}")]
    Store(#[from] std::io::Error),
}

impl RegistryError {
    /// Whether another attempt may do better.
    fn is_passing(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                    )
            }
            _ => false,
        }
    }
}

/// What a pull has brought.
#[derive(Debug)]
pub(super) struct Pulled {
    /// The manifest for this machine.
    pub(super) manifest: Digest,
    /// What the name meant: that manifest, or an index.
    pub(super) named: Digest,
}

/// The client. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Registry {
    transport: Transport,
}

/// One pull: the registry, and how we are let in.
struct Session<'a> {
    registry: &'a Registry,
    reference: &'a Reference,
    base: String,
    credentials: Option<Credentials>,
    authorization: tokio::sync::Mutex<Option<HeaderValue>>,
}

impl Registry {
    /// A client with this machine's certificate authorities.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Fetches what is missing of an image for this machine.
    pub(super) async fn pull(
        &self,
        content: &ContentStore,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Pulled, RegistryError> {
        let session = Session {
            registry: self,
            reference,
            base: base_url(&reference.registry),
            credentials,
            authorization: tokio::sync::Mutex::new(None),
        };
        session.pull(content).await
    }
}

/// Docker Hub's API has another name; this machine's own registries speak plain HTTP.
fn base_url(registry: &str) -> String {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let local = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    match registry {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        registry if local => format!("http://{registry}"),
        registry => format!("https://{registry}"),
    }
}

impl Session<'_> {
    async fn pull(&self, content: &ContentStore) -> Result<Pulled, RegistryError> {
        let name = self.reference.manifest_name();
        let expected = self.reference.digest.clone();
        let (named, text, kind) = self.manifest(&name, expected.as_ref()).await?;
        let is_index = match kind.as_str() {
            media_type::INDEX | media_type::DOCKER_LIST => true,
            media_type::MANIFEST | media_type::DOCKER_MANIFEST => false,
            _ => serde_json::from_slice::<Index>(&text).is_ok(),
        };
        let (manifest, text) = if is_index {
            let index: Index = parse(&text, "index")?;
            let entry = index.for_this_machine().ok_or_else(|| {
                RegistryError::Invalid(format!(
                    "no match for platform in manifest of {}",
                    self.reference
                ))
            })?;
            let (digest, text, _) = self
                .manifest(&entry.digest.to_string(), Some(&entry.digest))
                .await?;
            (digest, text)
        } else {
            (named.clone(), text)
        };
        let parsed: Manifest = parse(&text, "manifest")?;
        self.blobs(content, &parsed).await?;
        // Last: a manifest in the store has its blobs beside it.
        content.write(&text)?;
        Ok(Pulled { manifest, named })
    }

    async fn manifest(
        &self,
        name: &str,
        expected: Option<&Digest>,
    ) -> Result<(Digest, Bytes, String), RegistryError> {
        let url = format!(
            "{}/v2/{}/manifests/{name}",
            self.base, self.reference.repository
        );
        let fetch = || async {
            let response = self.get(&url, Some(ACCEPT), 0).await?;
            let kind = response
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|kind| kind.to_str().ok())
                .map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_owned())
                .unwrap_or_default();
            let text = read_all(&url, response, MAX_MANIFEST).await?;
            Ok((text, kind))
        };
        let (text, kind) = retry(fetch).await?;
        let digest = Digest::of(&text);
        if expected.is_some_and(|expected| *expected != digest) {
            return Err(RegistryError::Invalid(format!(
                "manifest {name} has digest {digest}: the registry gave something else"
            )));
        }
        Ok((digest, text, kind))
    }

    async fn blobs(
        &self,
        content: &ContentStore,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        use futures_util::stream::{StreamExt as _, TryStreamExt as _};
        let mut wanted: Vec<Descriptor> = Vec::new();
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let known = wanted.iter().any(|other| other.digest == blob.digest);
            if !known && !content.has(&blob.digest) {
                wanted.push(blob.clone());
            }
        }
        futures_util::stream::iter(wanted)
            .map(|blob| async move { retry(|| self.blob(content, &blob)).await })
            .buffer_unordered(PARALLEL_BLOBS)
            .try_collect()
            .await
    }

    async fn blob(&self, content: &ContentStore, blob: &Descriptor) -> Result<(), RegistryError> {
        let digest = &blob.digest;
        let url = format!(
            "{}/v2/{}/blobs/{digest}",
            self.base, self.reference.repository
        );
        let mut ingest = loop {
            match content.ingest(digest) {
                Ok(ingest) => break ingest,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
                // Another pull fetches the same; what it leaves is ours to go on with.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    sleep(FIRST_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        if ingest.written() > blob.size {
            ingest.restart()?;
        }
        if ingest.written() < blob.size {
            let response = self.get(&url, None, ingest.written()).await?;
            if response.status() != StatusCode::PARTIAL_CONTENT {
                ingest.restart()?;
            }
            ingest = store(&url, response, ingest, blob.size).await?;
        }
        tokio::task::spawn_blocking(move || ingest.commit())
            .await
            .map_err(std::io::Error::other)??;
        Ok(())
    }

    /// Gets a URL of the registry, with authorization as it asks for it. Answers that are no success are errors.
    async fn get(
        &self,
        url: &str,
        accept: Option<&str>,
        from: u64,
    ) -> Result<Response<Incoming>, RegistryError> {
        let mut challenged = false;
        loop {
            let authorization = self.authorization.lock().await.clone();
            let response = self.follow(url, accept, from, authorization).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && !challenged {
                challenged = true;
                let authorization = self.answer_challenge(&response).await?;
                *self.authorization.lock().await = Some(authorization);
                continue;
            }
            return match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    Err(RegistryError::Denied(self.reference.name()))
                }
                StatusCode::NOT_FOUND => Err(RegistryError::NotFound(self.reference.to_string())),
                status => {
                    let detail = read_all(url, response, 4096).await.unwrap_or_default();
                    let detail = String::from_utf8_lossy(&detail);
                    let detail = if detail.is_empty() {
                        String::new()
                    } else {
                        format!(": {}", detail.trim())
                    };
                    Err(RegistryError::Status {
                        url: url.to_owned(),
                        status,
                        detail,
                    })
                }
            };
        }
    }

    /// Follows redirects; the authorization stays with the host that it was meant for.
    async fn follow(
        &self,
        url: &str,
        accept: Option<&str>,
        from: u64,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let first: Uri = parse_uri(url)?;
        let mut at = first.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut request = Request::get(at.clone());
            if let Some(accept) = accept {
                request = request.header(header::ACCEPT, accept);
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let same_host = at.authority() == first.authority() && at.scheme() == first.scheme();
            if let Some(authorization) = authorization.clone().filter(|_| same_host) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = self.registry.transport.send(&at, request).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION);
            let location = location
                .and_then(|l| l.to_str().ok())
                .ok_or_else(|| RegistryError::Invalid(format!("{at}: redirect to nowhere")))?;
            let next = if location.starts_with('/') {
                let scheme = at.scheme_str().unwrap_or("https");
                let authority = at.authority().map_or("", |authority| authority.as_str());
                parse_uri(&format!("{scheme}://{authority}{location}"))?
            } else {
                parse_uri(location)?
            };
            if at.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(RegistryError::Invalid(format!(
                    "{at}: redirect away from TLS"
                )));
            }
            at = next;
        }
        Err(RegistryError::Invalid(format!("{url}: too many redirects")))
    }

    async fn answer_challenge(
        &self,
        response: &Response<Incoming>,
    ) -> Result<HeaderValue, RegistryError> {
        let denied = || RegistryError::Denied(self.reference.name());
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        for challenge in challenges.iter().filter_map(|value| value.to_str().ok()) {
            let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
            if scheme.eq_ignore_ascii_case("basic")
                && let Some(Credentials::Basic { username, password }) = &self.credentials
            {
                return sensitive(&basic(username, password));
            }
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(Credentials::Bearer(token)) = &self.credentials {
                    return sensitive(&format!("Bearer {token}"));
                }
                let token = retry(|| self.token(parameters)).await?;
                return sensitive(&format!("Bearer {token}"));
            }
        }
        Err(denied())
    }

    async fn token(&self, parameters: &str) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let parameters = challenge_parameters(parameters);
        let find = |key: &str| {
            parameters
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_str())
        };
        let realm = find("realm")
            .ok_or_else(|| RegistryError::Invalid("challenge without a realm".to_owned()))?;
        let scope = find("scope")
            .map(str::to_owned)
            .unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
        let mut url = format!("{realm}{}", if realm.contains('?') { '&' } else { '?' });
        if let Some(service) = find("service") {
            url.push_str(&format!("service={}&", escape(service)));
        }
        url.push_str(&format!("scope={}", escape(&scope)));
        let uri = parse_uri(&url)?;
        let plain = uri.scheme_str() == Some("http");
        if plain && self.base.starts_with("https") {
            return Err(RegistryError::Invalid(format!(
                "{url}: tokens only over TLS"
            )));
        }
        let mut request = Request::get(uri.clone());
        match &self.credentials {
            Some(Credentials::Basic { username, password }) => {
                request = request.header(
                    header::AUTHORIZATION,
                    sensitive(&basic(username, password))?,
                );
            }
            // The token server's own way: its refresh token as the password of nobody.
            Some(Credentials::Identity(token)) => {
                request =
                    request.header(header::AUTHORIZATION, sensitive(&basic("<token>", token))?);
            }
            _ => {}
        }
        let response = self.registry.transport.send(&uri, request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(RegistryError::Denied(self.reference.name()));
            }
            status => {
                return Err(RegistryError::Status {
                    url,
                    status,
                    detail: String::new(),
                });
            }
        }
        let text = read_all(&url, response, 1 << 20).await?;
        let token: Token = parse(&text, "token")?;
        token
            .token
            .or(token.access_token)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| RegistryError::Invalid("token server gave no token".to_owned()))
    }
}

/// Writes a body to the disk as it comes; at most `size` bytes. What came before an error is kept for the next attempt.
async fn store(
    url: &str,
    response: Response<Incoming>,
    mut ingest: Ingest,
    size: u64,
) -> Result<Ingest, RegistryError> {
    let failed = |reason: String| RegistryError::Network {
        url: url.to_owned(),
        reason,
    };
    let (pieces, mut incoming) = mpsc::channel::<Bytes>(PIECES_IN_FLIGHT);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(piece) = incoming.blocking_recv() {
            if ingest.written() + piece.len() as u64 > size {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    "blob is longer than its manifest says",
                ));
            }
            ingest.write_all(&piece)?;
        }
        Ok(ingest)
    });
    let mut body = response.into_body();
    let mut outcome = Ok(());
    loop {
        let frame = match timeout(PATIENCE, body.frame()).await {
            Err(_) => {
                outcome = Err(failed("timed out".to_owned()));
                break;
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                outcome = Err(failed(error.to_string()));
                break;
            }
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(piece) = frame.into_data()
            && pieces.send(piece).await.is_err()
        {
            break;
        }
    }
    drop(pieces);
    let ingest = writing.await.map_err(std::io::Error::other)??;
    outcome?;
    if ingest.written() < size {
        return Err(failed("connection closed early".to_owned()));
    }
    Ok(ingest)
}

async fn retry<T, F>(attempt: impl Fn() -> F) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "registry request failed, trying again");
                sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
    attempt().await
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8], what: &str) -> Result<T, RegistryError> {
    serde_json::from_slice(text)
        .map_err(|error| RegistryError::Invalid(format!("{what} is not readable: {error}")))
}

fn parse_uri(url: &str) -> Result<Uri, RegistryError> {
    url.parse()
        .map_err(|error| RegistryError::Invalid(format!("{url}: {error}")))
}

fn basic(username: &str, password: &str) -> String {
    let engine = base64::engine::general_purpose::STANDARD;
    format!("Basic {}", engine.encode(format!("{username}:{password}")))
}

fn sensitive(value: &str) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| RegistryError::Invalid("credentials are not printable".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `key="value",key=value` of a challenge.
fn challenge_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([',', ' ']).to_ascii_lowercase();
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.push((key, value.to_owned()));
        rest = tail;
    }
    parameters
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                escaped.push(char::from(byte));
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text =
            r#"realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push""#;
        assert_eq!(
            challenge_parameters(text),
            [
                ("realm".to_owned(), "https://auth.example/token".to_owned()),
                ("service".to_owned(), "reg".to_owned()),
                ("scope".to_owned(), "repository:a/b:pull,push".to_owned()),
            ]
        );
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        assert_eq!(base_url("localhost:5000"), "http://localhost:5000");
        assert_eq!(base_url("127.0.0.1:5000"), "http://127.0.0.1:5000");
        assert_eq!(base_url("10.0.0.1:5000"), "https://10.0.0.1:5000");
        assert_eq!(base_url("docker.io"), "https://registry-1.docker.io");
    }
}
