//! All controllers, in the order in which they start. A new one is one file (or folder) and one row.

use crate::{context::ControllerContext, deployment};

/// One controller.
pub(crate) struct Controller {
    /// Upstream's name, as `--controllers` takes it.
    pub(crate) name: &'static str,
    /// Whether `*` includes it.
    pub(crate) default_on: bool,
    /// Starts its tasks in the context's group and returns.
    pub(crate) start: fn(ControllerContext),
}

const fn on(name: &'static str, start: fn(ControllerContext)) -> Controller {
    Controller {
        name,
        default_on: true,
        start,
    }
}

/// The table.
pub(crate) const TABLE: &[Controller] = &[on(deployment::NAME, deployment::start)];
