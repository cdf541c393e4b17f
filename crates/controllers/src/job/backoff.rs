//! How long a Job waits before it replaces a failed pod.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::census::{Census, finished_at};

/// Delay after the first failure of a row; it doubles with each one, up to [`MAX`].
const FIRST: i64 = 10;
const MAX: i64 = 600;

/// What is left of the wait after so many failures in a row, the last at `last`.
pub(super) fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let exponent = failures.checked_sub(1)?.min(10);
    let delay = (FIRST << exponent).min(MAX);
    let until = last
        .checked_add(SignedDuration::from_secs(delay))
        .unwrap_or(Timestamp::MAX);
    (until > now).then(|| until.duration_since(now).unsigned_abs())
}

/// What is left of the wait after the failures since the last success.
pub(super) fn remaining_of_job(census: &Census<'_>, now: Timestamp) -> Option<Duration> {
    let succeeded = census.succeeded.iter().filter_map(|pod| finished_at(pod));
    let last_success = succeeded.max();
    let failures: Vec<Timestamp> = census
        .failed
        .iter()
        .filter_map(|pod| finished_at(pod))
        .filter(|time| last_success.is_none_or(|success| *time > success))
        .collect();
    let last = *failures.iter().max()?;
    remaining(u32::try_from(failures.len()).unwrap_or(u32::MAX), last, now)
}
