//! Exec, attach and port-forward in process: byte streams instead of a URL to a streaming server.
//!
//! Over gRPC these calls answer with a URL, because the streams cannot travel in CRI itself. The kubelet's HTTPS server uses this
//! trait with our own runtime and so saves a hop and a listening port.

use std::{future::Future, pin::Pin};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use crate::{
    error::Result,
    v1::{AttachRequest, ExecRequest},
};

/// A stream to read from.
pub type BoxRead = Box<dyn AsyncRead + Send + Unpin>;
/// A stream to write to; dropping it, or shutting it down, ends the other side's input.
pub type BoxWrite = Box<dyn AsyncWrite + Send + Unpin>;
/// A connection.
pub type BoxDuplex = Box<dyn AsyncDuplex>;
/// Resolves to the exit code: 0–255, 128 + n for death by signal n.
pub type ExitFuture = Pin<Box<dyn Future<Output = Result<i32>> + Send>>;

/// Both directions of a connection in one object.
pub trait AsyncDuplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncDuplex for T {}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A process whose streams are connected to us. Dropping everything ends an exec's process by hangup of its input and terminal; an
/// attached container goes on.
pub struct ExecSession {
    /// There if the request asked for it.
    pub stdin: Option<BoxWrite>,
    /// There if the request asked for it; ends when the process (and whoever inherited the stream) has ended.
    pub stdout: Option<BoxRead>,
    /// There if the request asked for it and there is no terminal.
    pub stderr: Option<BoxRead>,
    /// There with a terminal. Bounded; a size that cannot be queued may be dropped, for a newer one follows.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// For an attach it resolves when the container ends.
    pub exit: ExitFuture,
}

/// Streams into containers and sandboxes.
#[async_trait]
pub trait Streaming: Send + Sync {
    /// Starts a process in a running container. The request's flags say which streams are wanted; with `tty` there is no stderr.
    async fn exec(&self, request: ExecRequest) -> Result<ExecSession>;

    /// Connects to the streams of a container's first process, as far as the container was made with them.
    async fn attach(&self, request: AttachRequest) -> Result<ExecSession>;

    /// Connects to a port on the sandbox's loopback address.
    async fn port_forward(&self, pod_sandbox_id: &str, port: u16) -> Result<BoxDuplex>;
}
