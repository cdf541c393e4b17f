//! What is said on a shim's socket: JSON messages over a socket that keeps their boundaries, some with descriptors.
//!
//! A connection carries one request and its answer; `Exec`, `Attach` and `Subscribe` keep it: an exec's ends with its exit code, an
//! attachment's lasts as long as the attachment, a subscriber's brings events. Data never passes through here: whoever execs, attaches or
//! forwards a port is given, or gives, the descriptors of the streams themselves.

use serde::{Deserialize, Serialize};

use super::spec::{ExitRecord, ResolvedUser, StartRequest};

/// The longest message. What may be longer (arguments, environment) travels in a file.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Asked of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Starts a container. Answer: `Started` once its program runs, or `Failed`.
    Start(Box<StartRequest>),
    /// Sends a signal to a container's first process, or with `all` to every process in its cgroup. Answer: `Done`, also if it has ended.
    Kill {
        /// Container.
        id: String,
        /// Signal number.
        signal: i32,
        /// To all its processes.
        all: bool,
    },
    /// Starts a process in a running container. Descriptors: a file with the [`super::spec::ProcessSpec`], then (without a terminal)
    /// stdin, stdout, stderr. Answers: `Started`, with a terminal's controlling side; at last `Exited`. Closing the connection kills it.
    Exec {
        /// Container.
        id: String,
    },
    /// Adds writers of a container's output. Descriptors: stdout, then stderr. Answer: `Done` with the input's descriptor, if there is
    /// one. They are dropped when the connection closes.
    Attach {
        /// Container.
        id: String,
        /// Whether input is wanted.
        stdin: bool,
        /// Whether the first descriptor is for stdout.
        stdout: bool,
        /// Whether the (next) descriptor is for stderr.
        stderr: bool,
    },
    /// Closes a container's input, if it was made to be closed. Answer: `Done`.
    CloseStdin {
        /// Container.
        id: String,
    },
    /// Opens the log file anew. Answer: `Done`.
    ReopenLog {
        /// Container.
        id: String,
    },
    /// Forgets a container that has ended. Answer: `Done`.
    Forget {
        /// Container.
        id: String,
    },
    /// Connects to a port on loopback. Answer: `Done` with the connection, which is not yet established.
    Connect {
        /// TCP port.
        port: u16,
        /// `::1` instead of `127.0.0.1`.
        ipv6: bool,
    },
    /// Answers `Snapshot`, then `Changed` for each change.
    Subscribe,
    /// Kills everything and exits. Answer: `Done`, just before.
    Shutdown,
}

/// Said by a shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// The process runs.
    Started {
        /// Its id in the shim's PID namespace.
        pid: i32,
        /// As whom it runs.
        user: ResolvedUser,
        /// Nanoseconds since the epoch.
        started_at: i64,
    },
    /// An exec has ended.
    Exited {
        /// 0–255; 128 + n for death by signal n.
        exit_code: i32,
    },
    /// It was not done.
    Failed {
        /// Why.
        message: String,
        /// What was named in the request is not there, or does not run.
        not_running: bool,
    },
    /// All containers as they are.
    Snapshot {
        /// One for each.
        containers: Vec<ContainerState>,
    },
    /// A container as it has become.
    Changed(ContainerState),
}

/// A container that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerState {
    /// Id.
    pub id: String,
    /// First process.
    pub pid: i32,
    /// As whom it runs.
    pub user: ResolvedUser,
    /// Nanoseconds since the epoch.
    pub started_at: i64,
    /// Set once it has ended.
    pub exit: Option<ExitRecord>,
}
