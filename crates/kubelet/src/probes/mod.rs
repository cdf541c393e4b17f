//! Startup, liveness and readiness probes.
//!
//! [`ProbeState`] decides (thresholds, delays; pure), a handler asks the container, and [`ProbeManager`] runs one light task for each
//! probe of each running container.

mod early;
mod grpc;
mod handler;
mod http;
mod manager;
mod metrics;
mod result;
mod state;
mod tcp;

pub use handler::resolve_port;
pub use http::{HttpAnswer, HttpTarget, http_get};
pub use manager::ProbeManager;
pub use result::{ProbeResult, ProbeResults, ProbeType};
pub use state::ProbeState;
