//! Waiting for a condition, with a bound.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks again and again until `look` gives something; panics with its last complaint when `patience` is over.
pub fn eventually<T, E: Display>(patience: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(complaint) if started.elapsed() > patience => {
                panic!("not within {} s: {complaint}", patience.as_secs());
            }
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}
