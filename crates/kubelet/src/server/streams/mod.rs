//! exec, attach and port-forward: an upgraded connection joined to the runtime's streams; and `run`, which needs none.

mod port_forward;
mod remote_command;
mod run;
mod status;

use http::Response;
use httpstream::Upgrade;
use hyper_util::rt::TokioIo;

use super::body::{self, Body, Refusal};

pub(super) use port_forward::port_forward;
pub(super) use remote_command::{attach, exec};
pub(super) use run::run;

/// What an upgraded connection is.
type Upgraded = super::idle::IdleTimeout<TokioIo<hyper::upgrade::Upgraded>>;

/// The answer that agrees to an upgrade.
fn switching(upgrade: Upgrade) -> Response<Body> {
    upgrade.response.map(|()| body::empty())
}

/// Upstream answers every refused upgrade with 400 but for one that is none.
impl From<httpstream::NegotiationError> for Refusal {
    fn from(error: httpstream::NegotiationError) -> Self {
        Self::bad_request(error.to_string())
    }
}
