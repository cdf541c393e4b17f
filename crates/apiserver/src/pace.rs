//! How work lets others have their turn, by whose runtime it is done on.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// For a client of a connection, on the server's own runtime, where nothing blocks: goes on when all that is ready has had its turn and the kernel has been
    /// asked what else is.
    Served,
    /// For a caller in the process, on the caller's runtime, whose workers may be busy for long.
    InProcess,
}

impl Pace {
    pub(crate) async fn give_way(self) {
        match self {
            Self::Served => tokio::task::yield_now().await,
            Self::InProcess => base::requeue().await,
        }
    }
}
