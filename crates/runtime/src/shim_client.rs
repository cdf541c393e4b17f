//! The runtime's side of a shim: starting one, and talking to it.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use linux::seqpacket;
use rustix::process::Pid;
use tokio::{
    io::{AsyncReadExt as _, Interest, unix::AsyncFd},
    process::Command,
    time::{sleep, timeout},
};

use crate::shim::protocol::{MAX_MESSAGE, Reply, Request};

/// How long a shim may take to be ready, and to answer anything but the end of a process.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often connecting is tried while the shim's backlog is full.
const CONNECT_ATTEMPTS: u32 = 200;

/// Why a call to a shim failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShimError {
    /// There is no shim at this socket: it has ended, or was killed.
    #[error("the shim is gone: {0}")]
    Gone(#[source] io::Error),
    /// It did not become ready; its own words.
    #[error("failed to start shim: {0}")]
    NotStarted(String),
    /// It said no.
    #[error("{message}")]
    Refused {
        /// Its words.
        message: String,
        /// The container named does not run.
        not_running: bool,
    },
    /// It did not answer in time, or not in our language.
    #[error("the shim does not answer: {0}")]
    Unresponsive(String),
}

/// Starts a shim and waits until it serves at `socket`. It goes on when we end.
pub(crate) async fn spawn(
    command: &[OsString],
    spec: &Path,
    socket: &Path,
    log: &Path,
) -> Result<(), ShimError> {
    let failed = |error: io::Error| ShimError::NotStarted(error.to_string());
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| ShimError::NotStarted("no command is configured".to_owned()))?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed)?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg(spec)
        .arg(socket)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let mut said = String::new();
    let stdout = child.stdout.take();
    let reading = async {
        if let Some(mut stdout) = stdout {
            stdout.read_to_string(&mut said).await?;
        }
        io::Result::Ok(())
    };
    // It closes its output as soon as it has said how it went. The child is reaped whenever it ends, also after this handle is gone.
    timeout(PATIENCE, reading)
        .await
        .map_err(|_| ShimError::NotStarted("it does not become ready".to_owned()))?
        .map_err(failed)?;
    match said.trim() {
        "ready" => Ok(()),
        "" => Err(ShimError::NotStarted("it ended without a word".to_owned())),
        why => Err(ShimError::NotStarted(why.to_owned())),
    }
}

/// The address of a shim.
#[derive(Clone, Debug)]
pub(crate) struct ShimClient {
    socket: PathBuf,
}

impl ShimClient {
    /// The shim at this socket.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Makes one request that has one answer.
    pub(crate) async fn call(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), ShimError> {
        self.open(request, fds)
            .await
            .map(|(_, reply, fds)| (reply, fds))
    }

    /// Makes a request that keeps its connection; gives that and the first answer.
    pub(crate) async fn open(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Connection, Reply, Vec<OwnedFd>), ShimError> {
        let connection = self.connect().await?;
        let exchange = async {
            connection.send(request, fds).await?;
            connection.receive().await
        };
        let answer = timeout(PATIENCE, exchange)
            .await
            .map_err(|_| ShimError::Unresponsive("no answer in time".to_owned()))??;
        match answer {
            Some((
                Reply::Failed {
                    message,
                    not_running,
                },
                _,
            )) => Err(ShimError::Refused {
                message,
                not_running,
            }),
            Some((reply, fds)) => Ok((connection, reply, fds)),
            None => Err(ShimError::Gone(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    async fn connect(&self) -> Result<Connection, ShimError> {
        let mut attempt = 0;
        loop {
            match seqpacket::connect_to(&self.socket) {
                Ok(socket) => {
                    return linux::async_fd::register(socket)
                        .map(Connection)
                        .map_err(ShimError::Gone);
                }
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && attempt < CONNECT_ATTEMPTS =>
                {
                    attempt += 1;
                    sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(ShimError::Gone(error)),
            }
        }
    }
}

/// A connection to a shim.
#[derive(Debug)]
pub(crate) struct Connection(AsyncFd<OwnedFd>);

impl Connection {
    async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), ShimError> {
        let bytes = serde_json::to_vec(request)
            .map_err(|error| ShimError::Unresponsive(error.to_string()))?;
        self.0
            .async_io(Interest::WRITABLE, |socket| {
                seqpacket::send(socket.as_fd(), &bytes, fds)
            })
            .await
            .map_err(ShimError::Gone)
    }

    /// The next message; `None` at the end. May be cancelled without loss.
    pub(crate) async fn receive(&self) -> Result<Option<(Reply, Vec<OwnedFd>)>, ShimError> {
        let mut buffer = vec![0_u8; MAX_MESSAGE];
        let (length, fds) = self
            .0
            .async_io(Interest::READABLE, |socket| {
                seqpacket::receive(socket.as_fd(), &mut buffer)
            })
            .await
            .map_err(ShimError::Gone)?;
        if length == 0 {
            return Ok(None);
        }
        let reply = serde_json::from_slice(&buffer[..length])
            .map_err(|error| ShimError::Unresponsive(error.to_string()))?;
        Ok(Some((reply, fds)))
    }

    /// The process id of the shim at the other end.
    pub(crate) fn shim_pid(&self) -> io::Result<Pid> {
        Ok(rustix::net::sockopt::socket_peercred(&self.0)?.pid)
    }
}
