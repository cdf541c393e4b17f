//! Times as people read them in tables (`k8s.io/apimachinery/pkg/util/duration`).

use apimachinery::Object;
use jiff::Timestamp;

use crate::fields::Fields;

/// A length of time in about two digits: `5s`, `2m3s`, `45m`, `3h5m`, `2d1h`, `40d`, `3y2d`.
pub fn human_duration(seconds: i64) -> String {
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => pair(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 8 * 365 => pair(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// Seconds between two RFC 3339 times, rounded down.
pub(super) fn seconds_between(from: &str, to: &str) -> Option<i64> {
    Some(elapsed(from.parse().ok()?, to.parse().ok()?))
}

fn elapsed(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second() - i64::from(to.subsec_nanosecond() < from.subsec_nanosecond())
}

/// How long ago an RFC 3339 time was; `<unknown>` when there is none.
pub(super) fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human_duration(elapsed(time, now)),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// How old an object is.
pub(super) fn age(object: &Object, now: Timestamp) -> String {
    since(
        object
            .object("metadata")
            .map_or("", |m| m.text("creationTimestamp")),
        now,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        const DAY: i64 = 86_400;
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (123, "2m3s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 300, "3h5m"),
            (8 * 3600 + 300, "8h"),
            (2 * DAY + 3600, "2d1h"),
            (8 * DAY + 3600, "8d"),
            (730 * DAY, "2y"),
            (731 * DAY, "2y1d"),
            (9 * 365 * DAY, "9y"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
        assert_eq!(since("", Timestamp::UNIX_EPOCH), "<unknown>");
    }
}
