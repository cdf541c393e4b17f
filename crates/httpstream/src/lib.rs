//! Multiplexed streams over upgraded HTTP connections: WebSocket (`v5.channel.k8s.io`) and SPDY/3.1.
//!
//! `kubectl exec`, `attach`, `cp` and `port-forward` carry several byte streams over one connection. Which protocol does it is the client's
//! choice; what is served is the same: [`RemoteCommand`] for exec and attach, a sequence of [`PortStream`]s for port-forward. The
//! protocols are KEP-4006's and its predecessors'.
//!
//! Every stream is a `tokio::io::DuplexStream` with a bounded buffer: who does not read stops being sent to.

mod messages;
mod negotiate;
mod port_forward;
mod remote_command;
mod spdy;
mod websocket;

pub use messages::{send_body, send_messages};
pub use negotiate::{NegotiationError, Protocol, Upgrade, wants_upgrade, wants_websocket};
pub use port_forward::{PortForward, PortStream};
pub use remote_command::{RemoteCommand, StreamOptions, TerminalSize};
pub use spdy::{Spdy, SpdyStream};

/// Bytes that may wait in each direction of a stream.
pub(crate) const STREAM_BUFFER: usize = 64 << 10;

/// An upgraded connection.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Io for T {}
