//! The Container Runtime Interface v1: its messages, the traits a runtime implements, and the gRPC stubs of both sides.
//!
//! The kubelet is written against [`RuntimeService`], [`ImageService`] and [`Streaming`]. Our own runtime implements them in the same
//! process, so that no call is encoded; another runtime is reached through the generated gRPC clients in [`v1`].

mod error;
mod service;
mod streaming;

pub use error::{Code, CriError, Result};
pub use service::{ContainerEvents, ImageService, RuntimeService};
pub use streaming::{
    AsyncDuplex, BoxDuplex, BoxRead, BoxWrite, ExecSession, ExitFuture, Streaming, TerminalSize,
};

/// The messages of package `runtime.v1`, with the gRPC clients and servers of its two services.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/runtime.v1.proto, where the meaning stands"
)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}
