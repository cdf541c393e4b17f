//! Local commands to a running cluster (`ironclad image …`, `ironclad store snapshot`): HTTP on a unix socket that root alone can open.
//! What they do needs the node's own memory, not the API.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use base::TaskGroup;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use runtime::{Runtime, images::ArchiveFormat};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::place::Place;

/// Longest request body: the name of a file or an image.
const MAX_BODY: usize = 64 << 10;

/// What commands act on.
pub(crate) struct Control {
    pub(crate) runtime: Runtime,
    /// Where the store is in this process.
    pub(crate) store: Option<Arc<etcd::Embedded>>,
}

/// Serves until `cancel`led.
pub(crate) async fn start(
    place: &Place,
    control: Control,
    tasks: &TaskGroup,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let socket = place.control_socket();
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", socket.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("listening on {}", socket.display()))?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    let control = Arc::new(control);
    let (connections, cancel) = (tasks.clone(), cancel.clone());
    tasks.spawn("control", async move {
        while let Some(Ok((stream, _))) = cancel.run_until_cancelled(listener.accept()).await {
            let control = Arc::clone(&control);
            connections.spawn_cancellable("control-connection", async move {
                let service = service_fn(move |request| {
                    let control = Arc::clone(&control);
                    async move { Ok::<_, std::convert::Infallible>(control.answer(request).await) }
                });
                let io = TokioIo::new(stream);
                // A client that went away is no concern of ours.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await;
            });
        }
        // Gone with the process in any case; removing it is politeness.
        let _ = fs::remove_file(&socket);
    });
    Ok(())
}

impl Control {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, text) = match self.handle(request).await {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    }

    async fn handle(&self, request: Request<Incoming>) -> anyhow::Result<String> {
        let (head, body) = request.into_parts();
        let body = http_body_util::Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let argument = String::from_utf8(body.to_vec()).context("the argument is not UTF-8")?;
        let images = self.runtime.images();
        match (head.method, head.uri.path()) {
            (Method::GET, "/images") => {
                let records = images.list();
                let rows: Vec<_> = records
                    .iter()
                    .map(|r| json!({ "id": r.id.to_string(), "tags": r.tags, "digests": r.digests, "size": r.size }))
                    .collect();
                Ok(serde_json::to_string(&rows)?)
            }
            (Method::POST, "/images/pull") => {
                let record = images.pull(&argument, None).await?;
                Ok(record.id.to_string())
            }
            (Method::POST, "/images/import") => {
                let file =
                    fs::File::open(&argument).with_context(|| format!("opening {argument}"))?;
                let records = images.import(file, ArchiveFormat::Any, None).await?;
                let names = records
                    .iter()
                    .flat_map(|r| r.tags.iter().cloned().chain([r.id.to_string()]).take(1));
                Ok(names.collect::<Vec<_>>().join("\n"))
            }
            (Method::POST, "/images/export") => self.export(&argument).await,
            (Method::POST, "/images/remove") => {
                if !images.remove(&argument)? {
                    bail!("no such image: {argument}");
                }
                Ok(argument)
            }
            (Method::POST, "/store/snapshot") => {
                let store = self.store.as_ref().context("the store is not here")?;
                let revision = store.snapshot(PathBuf::from(&argument)).await?;
                Ok(revision.to_string())
            }
            (method, path) => bail!("unknown command: {method} {path}"),
        }
    }

    async fn export(&self, argument: &str) -> anyhow::Result<String> {
        let (file, name) = argument
            .split_once('\n')
            .context("export takes a file and an image")?;
        let output = fs::File::create(file).with_context(|| format!("creating {file}"))?;
        self.runtime
            .images()
            .export(vec![name.to_owned()], output)
            .await?;
        Ok(file.to_owned())
    }
}

/// Sends a command to the cluster at `place`, and answers what it says.
pub(crate) fn request(
    place: &Place,
    method: Method,
    path: &str,
    argument: &str,
) -> anyhow::Result<String> {
    let socket = place.control_socket();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = UnixStream::connect(&socket).await.with_context(|| {
            format!(
                "no cluster runs at {} (`ironclad up` starts one)",
                place.data_dir().display()
            )
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        let exchange = async {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "localhost")
                .body(Full::from(argument.to_owned()))?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            if !status.is_success() {
                bail!("{text}");
            }
            Ok(text)
        };
        tokio::pin!(connection);
        tokio::select! {
            answer = exchange => answer,
            ended = &mut connection => match ended {
                Ok(()) => bail!("the server hung up"),
                Err(error) => Err(error.into()),
            },
        }
    })
}
