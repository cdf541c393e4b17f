//! exec and attach. The upgrade is agreed on first and the process started then, so that what goes wrong in the runtime reaches the
//! user on the error stream, as upstream has it.

use std::{io, time::Duration};

use base::TaskGroup;
use cri::{
    ExecSession,
    v1::{AttachRequest, ExecRequest},
};
use http::Response;
use httpstream::{RemoteCommand, StreamOptions, Upgrade};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    super::{
        body::{Body, Refusal},
        idle::IdleTimeout,
        query::Query,
        router::{Call, Router},
    },
    Upgraded, status, switching,
};
use crate::observed::{ContainerState, ObservedContainer};

/// Bytes copied at once.
const BUFFER: usize = 32 << 10;
/// How long output may still come after the process has ended: a child of it may hold the stream open for ever.
const DRAIN: Duration = Duration::from_secs(10);

/// `/exec/…`: runs a command in a container.
pub(in super::super) async fn exec(
    router: &Router,
    pod: Pod,
    container: &str,
    call: Call,
) -> Result<Response<Body>, Refusal> {
    let options = stream_options(&call.query)?;
    let run = running(router, &pod, container).await?;
    let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
    let streaming = router.host.streaming().clone();
    let request = ExecRequest {
        container_id: run.id,
        cmd: command.clone(),
        tty: options.tty,
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr && !options.tty,
    };
    serve(router, call, options, move |tasks, streams| async move {
        match streaming.exec(request).await {
            Err(error) => {
                let error = format!("error executing command in container: {error}");
                (streams, status::internal(&error))
            }
            Ok(session) => {
                let (streams, ended) = join(session, streams, &tasks).await;
                let status = match ended {
                    Ok(code) => status::exited(&command, code),
                    Err(error) => {
                        let error = format!("error executing command in container: {error}");
                        status::internal(&error)
                    }
                };
                (streams, status)
            }
        }
    })
}

/// `/attach/…`: connects to a container's first process.
pub(in super::super) async fn attach(
    router: &Router,
    pod: Pod,
    container: &str,
    call: Call,
) -> Result<Response<Body>, Refusal> {
    let options = stream_options(&call.query)?;
    let run = running(router, &pod, container).await?;
    let streaming = router.host.streaming().clone();
    let request = AttachRequest {
        container_id: run.id,
        tty: options.tty,
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr && !options.tty,
    };
    serve(router, call, options, move |tasks, streams| async move {
        let failed = |error: cri::CriError| {
            status::internal(&format!("error attaching to container: {error}"))
        };
        match streaming.attach(request).await {
            Err(error) => (streams, failed(error)),
            Ok(session) => {
                let (streams, ended) = join(session, streams, &tasks).await;
                // The exit code is the container's status', not the attachment's.
                let status = ended.map_or_else(failed, |_code| status::success());
                (streams, status)
            }
        }
    })
}

/// Agrees to the upgrade, and lets `act` do its work on the streams in the background.
fn serve<F, A>(
    router: &Router,
    mut call: Call,
    options: StreamOptions,
    act: F,
) -> Result<Response<Body>, Refusal>
where
    F: FnOnce(TaskGroup, RemoteCommand) -> A + Send + 'static,
    A: Future<Output = (RemoteCommand, Value)> + Send,
{
    let upgrade = Upgrade::remote_command(call.request.headers())?;
    let upgraded = hyper::upgrade::on(&mut call.request);
    let (protocol, idle) = (upgrade.protocol, router.idle_timeout);
    let tasks = router.tasks.clone();
    router
        .tasks
        .spawn_cancellable("remote-command", async move {
            let carried = async {
                let connection = upgraded.await.map_err(io::Error::other)?;
                let connection: Upgraded = IdleTimeout::new(TokioIo::new(connection), idle);
                let streams = RemoteCommand::accept(protocol, connection, options, &tasks).await?;
                let (streams, status) = act(tasks.clone(), streams).await;
                streams.finish(&status).await
            };
            if let Err(error) = carried.await {
                tracing::debug!(%error, "a remote command's connection broke");
            }
        });
    Ok(switching(upgrade))
}

/// Copies until the process has ended and its output has been taken.
async fn join(
    session: ExecSession,
    mut streams: RemoteCommand,
    tasks: &TaskGroup,
) -> (RemoteCommand, Result<i32, cri::CriError>) {
    let ExecSession {
        stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = session;
    // These two end with the connection, or when the process does not take any more; nobody waits for them.
    if let (Some(from), Some(to)) = (streams.stdin.take(), stdin) {
        tasks.spawn_cancellable("remote-stdin", async move {
            let _ = copy(from, to).await;
        });
    }
    if let (Some(mut sizes), Some(resize)) = (streams.sizes.take(), resize) {
        tasks.spawn_cancellable("remote-resize", async move {
            while let Some(size) = sizes.recv().await {
                let size = cri::TerminalSize {
                    width: size.width,
                    height: size.height,
                };
                if resize.send(size).await.is_err() {
                    return;
                }
            }
        });
    }
    let out = pair(stdout, streams.stdout.take());
    let err = pair(stderr, streams.stderr.take());
    let output = async { tokio::join!(out, err) };
    tokio::pin!(output, exit);
    let ended = tokio::select! {
        // All output is there, mostly because the process has ended.
        _ = &mut output => exit.await,
        ended = &mut exit => {
            let _ = tokio::time::timeout(DRAIN, output).await;
            ended
        }
    };
    (streams, ended)
}

/// Copies one output to the client; without a client's stream it is read and dropped, so that the process does not stand still.
async fn pair(from: Option<cri::BoxRead>, to: Option<impl AsyncWrite + Unpin>) -> io::Result<()> {
    match (from, to) {
        (Some(from), Some(to)) => copy(from, to).await,
        (Some(from), None) => copy(from, tokio::io::sink()).await,
        (None, _) => Ok(()),
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}

/// The container's run, if it runs.
pub(super) async fn running(
    router: &Router,
    pod: &Pod,
    container: &str,
) -> Result<ObservedContainer, Refusal> {
    let run = router.host.container(pod, container, false).await?;
    run.filter(|run| run.state == ContainerState::Running)
        .ok_or_else(|| Refusal::internal(format!("container not found ({container:?})")))
}

/// Which streams a request asks for; at least one.
fn stream_options(query: &Query) -> Result<StreamOptions, Refusal> {
    let flag = |name| query.get(name) == Some("1");
    let tty = flag("tty");
    let options = StreamOptions {
        stdin: flag("input"),
        stdout: flag("output"),
        // A terminal has one output.
        stderr: flag("error") && !tty,
        tty,
    };
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(Refusal::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_streams() {
        let options = |query| stream_options(&Query::parse(query));
        assert_eq!(
            options("input=1&output=1&error=1&tty=1").unwrap(),
            StreamOptions {
                stdin: true,
                stdout: true,
                stderr: false,
                tty: true
            }
        );
        let refused = options("tty=1&error=1").unwrap_err();
        assert_eq!(
            refused.message,
            "you must specify at least 1 of stdin, stdout, stderr"
        );
    }
}
