//! What a person sees while the cluster starts: one line a stage, with the time it took. On a terminal the stage under way is
//! shown turning; elsewhere each stage is one plain line when it ends.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// The stages of a start.
pub(crate) struct Progress {
    started: Instant,
    terminal: bool,
}

/// A stage under way.
pub(crate) struct Stage {
    name: &'static str,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins to count.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Begins a stage.
    pub(crate) fn stage(&self, name: &'static str) -> Stage {
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}") {
                bar.set_style(style);
            }
            bar.set_message(name);
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Stage {
            name,
            started: Instant::now(),
            bar,
        }
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Stage {
    /// Shows how far it is.
    pub(crate) fn update(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {detail}", self.name));
        }
    }

    /// The stage is done; `detail` says what came of it.
    pub(crate) fn done(self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let time = format_time(self.started.elapsed());
        eprintln!("  ✓ {:<22} {time:>8}  {detail}", self.name);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `840 µs`, `12 ms`, `1.25 s`.
pub(crate) fn format_time(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..1_000 => format!("{micros} µs"),
        micros @ 1_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}
