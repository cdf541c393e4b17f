//! Logs: to standard error or a file, one line an event, filtered by `IRONCLAD_LOG` (`info`, `debug`, `scheduler=debug,info`).

use std::{fs::File, io::IsTerminal as _, sync::Arc};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The environment variable that says what is logged.
pub const VARIABLE: &str = "IRONCLAD_LOG";

/// Where logs go.
pub enum LogTarget {
    /// Standard error, in colour if it is a terminal.
    Stderr,
    /// A file, appended to.
    File(File),
}

/// Starts logging for the whole process; later calls do nothing. `default_filter` holds unless the environment says otherwise.
pub fn init(target: LogTarget, default_filter: &str) {
    let filter =
        EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_filter));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match target {
        LogTarget::Stderr => {
            let colour = std::io::stderr().is_terminal();
            registry
                .with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour))
                .try_init()
        }
        LogTarget::File(file) => registry
            .with(fmt::layer().with_writer(Arc::new(file)).with_ansi(false))
            .try_init(),
    };
    // Somebody has started it already: tests in one process do.
    drop(started);
}
