//! Exec, attach and port-forward: the caller's streams are the process's own, passed as descriptors; no byte goes through the shim, but
//! for the output of an attached container, which the shim reads anyway, for the log.

use std::{
    io::{self, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use cri::{
    BoxDuplex, Code, CriError, ExecSession, ExitFuture, Streaming, TerminalSize,
    v1::{AttachRequest, ExecRequest, ExecSyncRequest, ExecSyncResponse},
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{io::AsyncReadExt as _, sync::mpsc, time::timeout};

use crate::{
    runtime::{Container, ContainerState, Runtime, Sandbox, internal},
    shim::{
        protocol::{Reply, Request},
        spec::{ContainerSpec, ProcessSpec},
    },
    shim_client::{Connection, ShimError},
    stream::FdStream,
};

/// Sizes of a terminal that wait to be set.
const SIZES_IN_FLIGHT: usize = 4;
/// What an `ExecSync` may write on each stream; more is read and dropped.
const MAX_OUTPUT: usize = 16 << 20;
/// For output to end after a process has; what others still write then is not waited for.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(10);

/// For a forwarded port to be connected.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

impl Runtime {
    fn running(&self, id: &str) -> Result<(Arc<Container>, Arc<Sandbox>), CriError> {
        let container = self.require_container(id)?;
        if !container.is_running() {
            let state = match container.state() {
                ContainerState::Created => "CONTAINER_CREATED",
                ContainerState::Running(_) => "CONTAINER_RUNNING",
                ContainerState::Exited(..) => "CONTAINER_EXITED",
            };
            return Err(CriError::precondition(format!(
                "container is in {state} state"
            )));
        }
        let sandbox = self.require_sandbox(&container.record().sandbox_id)?;
        Ok((container, sandbox))
    }

    /// The container's own process with another command.
    fn exec_spec(
        container: &Container,
        command: &[String],
        tty: bool,
    ) -> Result<OwnedFd, CriError> {
        if command.is_empty() {
            return Err(CriError::invalid("no command specified"));
        }
        let write = || -> io::Result<OwnedFd> {
            let text = std::fs::read(container.dir.path("spec.json"))?;
            let container: ContainerSpec = serde_json::from_slice(&text)?;
            let spec = ProcessSpec {
                args: command.to_vec(),
                tty,
                ..container.process
            };
            // As long as the arguments are: no message of the socket would hold them.
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            let file = rustix::fs::memfd_create(c"exec", flags)?;
            let mut file = std::fs::File::from(file);
            file.write_all(&serde_json::to_vec(&spec)?)?;
            Ok(file.into())
        };
        write().map_err(internal("make the exec's spec"))
    }

    /// Runs a command to its end.
    pub(crate) async fn exec_to_end(
        &self,
        request: ExecSyncRequest,
    ) -> Result<ExecSyncResponse, CriError> {
        let limit = u64::try_from(request.timeout)
            .ok()
            .filter(|seconds| *seconds > 0);
        let session = self
            .exec(ExecRequest {
                container_id: request.container_id,
                cmd: request.cmd,
                tty: false,
                stdin: false,
                stdout: true,
                stderr: true,
            })
            .await?;
        let ExecSession {
            stdout,
            stderr,
            exit,
            ..
        } = session;
        let running = async {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let exit_code = {
                let reading =
                    async { tokio::join!(collect(stdout, &mut out), collect(stderr, &mut err)) };
                tokio::pin!(reading);
                tokio::pin!(exit);
                // Output ends with the process, unless somebody it has left behind holds on to the streams.
                tokio::select! {
                    exit_code = &mut exit => {
                        let _ = timeout(OUTPUT_PATIENCE, reading).await;
                        exit_code
                    }
                    _ = &mut reading => exit.await,
                }
            };
            exit_code.map(|exit_code| ExecSyncResponse {
                stdout: out,
                stderr: err,
                exit_code,
            })
        };
        match limit {
            None => running.await,
            // Dropped, the connection to the shim closes, and the shim kills the process.
            Some(seconds) => timeout(Duration::from_secs(seconds), running).await.map_err(|_| {
                CriError::deadline(format!(
                    "failed to exec in container: timeout {seconds}s exceeded: context deadline exceeded"
                ))
            })?,
        }
    }
}

/// Reads to the end, keeps the beginning.
async fn collect(stream: Option<cri::BoxRead>, into: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0_u8; 16 * 1024];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        let room = MAX_OUTPUT.saturating_sub(into.len());
        into.extend_from_slice(&buffer[..read.min(room)]);
    }
}

/// A pipe: the end for us, and the end for the process.
fn pipe(ours_reads: bool) -> io::Result<(FdStream, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ours, theirs) = if ours_reads {
        (reader, writer)
    } else {
        (writer, reader)
    };
    Ok((FdStream::new(ours)?, theirs))
}

fn null() -> io::Result<OwnedFd> {
    Ok(std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}

fn refused(doing: &'static str) -> impl FnOnce(ShimError) -> CriError {
    move |error| {
        let code = match &error {
            ShimError::Refused {
                not_running: true, ..
            } => Code::FailedPrecondition,
            ShimError::Gone(_) => Code::Unavailable,
            _ => Code::Unknown,
        };
        CriError::new(code, format!("{doing}: {error}")).with_source(error)
    }
}

/// Sets sizes as they come, until nobody sends any more.
fn resizer(runtime: &Runtime, terminal: OwnedFd) -> mpsc::Sender<TerminalSize> {
    let (sizes, mut incoming) = mpsc::channel::<TerminalSize>(SIZES_IN_FLIGHT);
    runtime.0.tasks.spawn_cancellable("resize", async move {
        while let Some(size) = incoming.recv().await {
            let _ = linux::terminal::resize(terminal.as_fd(), size.width, size.height);
        }
    });
    sizes
}

/// The exit code that comes on the connection of an exec.
async fn exit_code(connection: Connection) -> Result<i32, CriError> {
    loop {
        match connection
            .receive()
            .await
            .map_err(refused("failed to wait for the process"))?
        {
            Some((Reply::Exited { exit_code }, _)) => return Ok(exit_code),
            Some(_) => {}
            None => {
                return Err(CriError::new(
                    Code::Unavailable,
                    "the container's shim is gone",
                ));
            }
        }
    }
}

#[async_trait]
impl Streaming for Runtime {
    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, CriError> {
        let (container, sandbox) = self.running(&request.container_id)?;
        let spec = Self::exec_spec(&container, &request.cmd, request.tty)?;
        let shim_request = Request::Exec {
            id: container.id.clone(),
        };
        let failed = "failed to exec in container";
        if request.tty {
            let opened = sandbox.shim.open(&shim_request, &[spec.as_fd()]).await;
            let (connection, _, fds) = opened.map_err(refused(failed))?;
            let terminal = fds
                .into_iter()
                .next()
                .ok_or_else(|| CriError::internal("the shim gave no terminal"))?;
            let duplicate = || -> io::Result<_> {
                let reader = FdStream::new(terminal.try_clone()?)?;
                let writer = FdStream::new(terminal.try_clone()?)?;
                Ok((reader, writer))
            };
            let (reader, writer) = duplicate().map_err(internal(failed))?;
            return Ok(ExecSession {
                stdin: request.stdin.then(|| Box::new(writer) as cri::BoxWrite),
                stdout: Some(Box::new(reader)),
                stderr: None,
                resize: Some(resizer(self, terminal)),
                exit: Box::pin(exit_code(connection)),
            });
        }
        let stream = |wanted: bool, ours_reads: bool| -> io::Result<(Option<FdStream>, OwnedFd)> {
            if !wanted {
                return Ok((None, null()?));
            }
            pipe(ours_reads).map(|(ours, theirs)| (Some(ours), theirs))
        };
        let (stdin, child_stdin) = stream(request.stdin, false).map_err(internal(failed))?;
        let (stdout, child_stdout) = stream(request.stdout, true).map_err(internal(failed))?;
        let (stderr, child_stderr) = stream(request.stderr, true).map_err(internal(failed))?;
        let fds: Vec<BorrowedFd<'_>> = [&spec, &child_stdin, &child_stdout, &child_stderr]
            .map(AsFd::as_fd)
            .into();
        let opened = sandbox.shim.open(&shim_request, &fds).await;
        let (connection, _, _) = opened.map_err(refused(failed))?;
        Ok(ExecSession {
            stdin: stdin.map(|stream| Box::new(stream) as cri::BoxWrite),
            stdout: stdout.map(|stream| Box::new(stream) as cri::BoxRead),
            stderr: stderr.map(|stream| Box::new(stream) as cri::BoxRead),
            resize: None,
            exit: Box::pin(exit_code(connection)),
        })
    }

    async fn attach(&self, request: AttachRequest) -> Result<ExecSession, CriError> {
        let (container, sandbox) = self.running(&request.container_id)?;
        let failed = "failed to attach container";
        let tty = container.config.tty;
        let stdin = request.stdin && container.config.stdin;
        let stderr_wanted = request.stderr && !tty;
        let stdout = request
            .stdout
            .then(|| pipe(true))
            .transpose()
            .map_err(internal(failed))?;
        let stderr = stderr_wanted
            .then(|| pipe(true))
            .transpose()
            .map_err(internal(failed))?;
        let fds: Vec<BorrowedFd<'_>> = [&stdout, &stderr]
            .into_iter()
            .flatten()
            .map(|(_, theirs)| theirs.as_fd())
            .collect();
        let attach = Request::Attach {
            id: container.id.clone(),
            stdin,
            stdout: request.stdout,
            stderr: stderr_wanted,
        };
        let opened = sandbox.shim.open(&attach, &fds).await;
        let (connection, _, fds) = opened.map_err(refused(failed))?;
        let input = fds.into_iter().next();
        let resize = match (&input, tty) {
            (Some(terminal), true) => {
                let terminal = terminal.try_clone().map_err(internal(failed))?;
                Some(resizer(self, terminal))
            }
            _ => None,
        };
        let stdin = match input.filter(|_| stdin) {
            None => None,
            Some(input) => {
                let writer = FdStream::new(input).map_err(internal(failed))?;
                // A container that reads its input once sees the end of it when this client has closed its own.
                let closing = container.config.stdin_once.then(|| Closing {
                    runtime: self.clone(),
                    sandbox: sandbox.clone(),
                    container_id: container.id.clone(),
                });
                Some(Box::new(AttachedInput {
                    writer,
                    _closing: closing,
                }) as cri::BoxWrite)
            }
        };
        Ok(ExecSession {
            stdin,
            stdout: stdout.map(|(ours, _)| Box::new(ours) as cri::BoxRead),
            stderr: stderr.map(|(ours, _)| Box::new(ours) as cri::BoxRead),
            resize,
            exit: attached_exit(container, connection),
        })
    }

    async fn port_forward(&self, pod_sandbox_id: &str, port: u16) -> Result<BoxDuplex, CriError> {
        let sandbox = self.require_sandbox(pod_sandbox_id)?;
        if !sandbox.is_ready() {
            return Err(CriError::precondition(format!(
                "sandbox container {:?} is not running",
                sandbox.id
            )));
        }
        let mut last = String::new();
        for ipv6 in [false, true] {
            match connect(&sandbox, port, ipv6).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => last = error.to_string(),
            }
        }
        Err(CriError::new(
            Code::Unknown,
            format!("failed to connect to localhost:{port} inside the sandbox: {last}"),
        ))
    }
}

/// A connection that the shim has begun, once it is established.
async fn connect(
    sandbox: &Sandbox,
    port: u16,
    ipv6: bool,
) -> Result<tokio::net::TcpStream, Box<dyn std::error::Error + Send + Sync>> {
    let (_, fds) = sandbox
        .shim
        .call(&Request::Connect { port, ipv6 }, &[])
        .await?;
    let socket = fds
        .into_iter()
        .next()
        .ok_or("the shim gave no connection")?;
    let stream = tokio::net::TcpStream::from_std(std::net::TcpStream::from(socket))?;
    timeout(CONNECT_PATIENCE, stream.writable())
        .await
        .map_err(|_| "timed out")??;
    match stream.take_error()? {
        Some(error) => Err(error.into()),
        None => Ok(stream),
    }
}

/// Resolves when the container has ended; holds the attachment until then.
fn attached_exit(container: Arc<Container>, connection: Connection) -> ExitFuture {
    Box::pin(async move {
        container.ended().await;
        // The shim closes the connection when it has handed over the last of the output.
        let rest = async { while let Ok(Some(_)) = connection.receive().await {} };
        let _ = timeout(OUTPUT_PATIENCE, rest).await;
        match container.state() {
            ContainerState::Exited(_, exit) => Ok(exit.exit_code),
            _ => Err(CriError::new(Code::Unavailable, "the container is gone")),
        }
    })
}

/// Closes a container's input when it is dropped.
struct Closing {
    runtime: Runtime,
    sandbox: Arc<Sandbox>,
    container_id: String,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let shim = self.sandbox.shim.clone();
        let request = Request::CloseStdin {
            id: std::mem::take(&mut self.container_id),
        };
        self.runtime
            .0
            .tasks
            .spawn_cancellable("close-stdin", async move {
                let _ = shim.call(&request, &[]).await;
            });
    }
}

/// An attached container's input.
struct AttachedInput {
    writer: FdStream,
    _closing: Option<Closing>,
}

impl tokio::io::AsyncWrite for AttachedInput {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        self._closing = None;
        std::pin::Pin::new(&mut self.writer).poll_shutdown(context)
    }
}
