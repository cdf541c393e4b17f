//! Logs: to standard error or a file, one line an event, filtered by `IRONCLAD_LOG` (`info`, `debug`, `scheduler=debug,info`). How much is
//! logged can be changed while the process runs.

use std::{
    fs::File,
    io::IsTerminal as _,
    sync::{Arc, OnceLock},
};

use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

/// The environment variable that says what is logged.
pub const VARIABLE: &str = "IRONCLAD_LOG";

/// What is logged if nobody says anything else. The netlink library warns of each refusal by the kernel, also of "no such device" to who asks whether there is
/// one; those who ask tell what is wrong. The DNS library has two lines for each query.
const DEFAULT: &str = "info,hickory_server=warn,nlink=error";

/// Exchanges the filter.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Where logs go.
pub enum LogTarget {
    /// Standard error, in colour if it is a terminal.
    Stderr,
    /// A file, appended to.
    File(File),
}

/// Starts logging for the whole process; later calls do nothing. `info`, less what libraries say too often, holds unless the environment says otherwise.
pub fn init(target: LogTarget) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let (filter, handle) = reload::Layer::new(filter);
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
    // Somebody may have started it already: tests in one process do.
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Logs as much as klog does at this verbosity: up to 2 what `info` shows, up to 5 `debug`, from there on everything.
pub fn set_verbosity(level: i32) -> Result<(), String> {
    let filter = match level {
        ..=2 => DEFAULT,
        3..=5 => "debug",
        _ => "trace",
    };
    let handle = FILTER.get().ok_or("nothing is logged")?;
    handle
        .reload(EnvFilter::new(filter))
        .map_err(|error| error.to_string())
}
