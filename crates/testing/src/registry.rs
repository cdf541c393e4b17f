//! A registry of images, as small as one can be: it answers pulls of one image, over plain HTTP or TLS, to everybody or to one user.
//!
//! It lives in the cluster's network, where the node finds it. Threads, not tasks: the tests that use it have no async runtime.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use base64::Engine as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::{Door, image::Image};

/// Between two looks whether the test has ended.
const TICK: Duration = Duration::from_millis(20);
/// A client that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom a registry lets in.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody.
    Anonymous,
    /// Who knows the password, in each request.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// Who has a token, which the registry's token server gives to who knows the password.
    Token {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
}

/// A running registry; it ends when dropped.
pub struct Registry {
    requests: Arc<Mutex<Vec<String>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    /// Serves `image` as `repository` with the tag `v1` at `address`, in the network behind `door`; with TLS if it is configured.
    pub fn serve(
        door: Door,
        address: SocketAddr,
        repository: &str,
        image: &Image,
        access: Access,
        tls: Option<Arc<ServerConfig>>,
    ) -> anyhow::Result<Self> {
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let end = Arc::<AtomicBool>::default();
        let shelf = Arc::new(Shelf {
            files: files(repository, image),
            scheme: if tls.is_some() { "https" } else { "http" },
            address,
            repository: repository.to_owned(),
            access,
            requests: requests.clone(),
        });
        let (ready, is_ready) = std::sync::mpsc::channel();
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            let listener = door
                .enter()
                .and_then(|()| TcpListener::bind(address).context("binding the registry"));
            let listener = match listener {
                Ok(listener) => listener,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(listener.set_nonblocking(true).context("listening"));
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (shelf, tls) = (shelf.clone(), tls.clone());
                        std::thread::spawn(move || {
                            let _ = stream.set_nonblocking(false);
                            let _ = stream.set_read_timeout(Some(PATIENCE));
                            let _ = match tls.map(ServerConnection::new) {
                                None => shelf.converse(stream),
                                Some(Ok(session)) => {
                                    shelf.converse(StreamOwned::new(session, stream))
                                }
                                Some(Err(_)) => Ok(()),
                            };
                        });
                    }
                    Err(_) => std::thread::sleep(TICK),
                }
            }
        });
        is_ready.recv().context("the registry's thread ended")??;
        Ok(Self {
            requests,
            end,
            thread: Some(thread),
        })
    }

    /// The paths that were asked for, with the status that was answered: `/v2/app/manifests/v1 200`.
    pub fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What can be fetched, by path, with its media type.
fn files(repository: &str, image: &Image) -> HashMap<String, (&'static str, Vec<u8>)> {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    let digest = |bytes: &[u8]| format!("sha256:{}", crate::image::sha256(bytes));
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &image.config),
        "layers": [descriptor(LAYER, &image.layer)],
    })
    .to_string()
    .into_bytes();
    let blob = |bytes: &[u8]| format!("/v2/{repository}/blobs/{}", digest(bytes));
    HashMap::from([
        (blob(&image.config), (CONFIG, image.config.clone())),
        (blob(&image.layer), (LAYER, image.layer.clone())),
        (
            format!("/v2/{repository}/manifests/{}", digest(&manifest)),
            (MANIFEST, manifest.clone()),
        ),
        (
            format!("/v2/{repository}/manifests/v1"),
            (MANIFEST, manifest),
        ),
    ])
}

const TOKEN: &str = "let-me-in";

struct Shelf {
    files: HashMap<String, (&'static str, Vec<u8>)>,
    scheme: &'static str,
    address: SocketAddr,
    repository: String,
    access: Access,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Shelf {
    /// Answers the one request of a connection.
    fn converse(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let target = lines
            .first()
            .and_then(|line| line.split(' ').nth(1))
            .unwrap_or("/");
        let path = target.split('?').next().unwrap_or(target);
        let authorization = lines.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization")
                .then(|| value.trim())
        });
        let (status, header, body) = self.answer(path, authorization);
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!("{path} {}", &status[..3]));
        let stream = stream.get_mut();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
        stream.flush()
    }

    fn answer(&self, path: &str, authorization: Option<&str>) -> (&'static str, String, Vec<u8>) {
        let basic = |user: &str, password: &str| {
            let pair = format!("{user}:{password}");
            let text = base64::engine::general_purpose::STANDARD.encode(pair);
            format!("Basic {text}")
        };
        let challenge = |text: String| {
            let header = format!("WWW-Authenticate: {text}\r\n");
            ("401 Unauthorized", header, Vec::new())
        };
        match &self.access {
            Access::Token { user, password } if path == "/token" => {
                if authorization != Some(basic(user, password).as_str()) {
                    return ("401 Unauthorized", String::new(), Vec::new());
                }
                let token = json!({"token": TOKEN}).to_string().into_bytes();
                return ("200 OK", String::new(), token);
            }
            Access::Token { .. } if authorization != Some(&format!("Bearer {TOKEN}")) => {
                return challenge(format!(
                    r#"Bearer realm="{}://{}/token",service="test",scope="repository:{}:pull""#,
                    self.scheme, self.address, self.repository
                ));
            }
            Access::Basic { user, password }
                if authorization != Some(basic(user, password).as_str()) =>
            {
                return challenge(r#"Basic realm="test""#.to_owned());
            }
            Access::Anonymous | Access::Basic { .. } | Access::Token { .. } => {}
        }
        match self.files.get(path) {
            Some((kind, body)) => ("200 OK", format!("Content-Type: {kind}\r\n"), body.clone()),
            None => ("404 Not Found", String::new(), Vec::new()),
        }
    }
}
