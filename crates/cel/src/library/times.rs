//! Durations and timestamps: reading, printing, their parts in any time zone.

use jiff::{
    Timestamp, Zoned,
    tz::{Offset, TimeZone},
};

use super::{Result, arguments, failed, mismatch, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "getFullYear", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.year()));
    "getFullYear", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.year()));
    "getMonth", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.month()) - 1);
    "getMonth", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.month()) - 1);
    "getDayOfYear", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.day_of_year()) - 1);
    "getDayOfYear", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.day_of_year()) - 1);
    "getDayOfMonth", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.day()) - 1);
    "getDayOfMonth", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.day()) - 1);
    "getDate", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.day()));
    "getDate", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.day()));
    "getDayOfWeek", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.weekday().to_sunday_zero_offset()));
    "getDayOfWeek", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.weekday().to_sunday_zero_offset()));
    "getHours", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.hour()));
    "getHours", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.hour()));
    "getHours", "duration.() -> int", Cost::Unit, |args| whole(args, 3_600_000_000_000);
    "getMinutes", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.minute()));
    "getMinutes", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.minute()));
    "getMinutes", "duration.() -> int", Cost::Unit, |args| whole(args, 60_000_000_000);
    "getSeconds", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.second()));
    "getSeconds", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.second()));
    "getSeconds", "duration.() -> int", Cost::Unit, |args| whole(args, 1_000_000_000);
    "getMilliseconds", "timestamp.() -> int", Cost::Unit, |args| part(args, |z| i64::from(z.millisecond()));
    "getMilliseconds", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |z| i64::from(z.millisecond()));
    "getMilliseconds", "duration.() -> int", Cost::Unit, |args| whole(args, 1_000_000);
}

/// Years 1 to 9999, as upstream's timestamps.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

pub(super) fn is_in_range(instant: Timestamp) -> bool {
    (FIRST_SECOND..=LAST_SECOND).contains(&floor_seconds(instant))
}

/// Whole seconds since 1970, rounded down.
pub(super) fn floor_seconds(instant: Timestamp) -> i64 {
    i64::try_from(instant.as_nanosecond().div_euclid(1_000_000_000)).unwrap_or_default()
}

/// RFC 3339.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    // `jiff` reads more forms of ISO 8601 than RFC 3339 has.
    let bytes = text.as_bytes();
    let shape = bytes.len() >= 20
        && bytes[10] == b'T'
        && (text.ends_with('Z') || matches!(bytes[bytes.len() - 6], b'+' | b'-'));
    let instant = shape.then(|| text.parse().ok()).flatten()?;
    is_in_range(instant).then_some(instant)
}

/// Go's durations: `1h30m`, in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    apimachinery::time::parse_duration(text).ok()
}

/// In seconds, as upstream prints durations: `5400s`, `0.5s`.
pub(crate) fn show_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    let (seconds, rest) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// A zone by name (`Europe/Berlin`) or by offset (`+02:00`, `-8:30`).
fn zone(name: &str) -> Option<TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else {
        return match name {
            "" | "UTC" => Some(TimeZone::UTC),
            _ => TimeZone::get(name).ok(),
        };
    };
    let negative = hours.starts_with('-');
    let hours: i32 = hours
        .trim_start_matches('+')
        .parse::<i32>()
        .ok()
        .filter(|h| h.abs() <= 24)?;
    let minutes: i32 = minutes.parse().ok().filter(|m| (0..60).contains(m))?;
    let seconds = hours.abs() * 3600 + minutes * 60;
    let offset = Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
    Some(TimeZone::fixed(offset))
}

fn part<'a>(args: &[Value<'a>], part: fn(&Zoned) -> i64) -> Result<'a> {
    let (instant, zone) = match args {
        [Value::Timestamp(instant)] => (instant, TimeZone::UTC),
        [Value::Timestamp(instant), Value::String(name)] => match zone(name) {
            Some(zone) => (instant, zone),
            None => return failed(format!("unknown time zone {}", &**name)),
        },
        _ => return mismatch(),
    };
    Ok(Value::Int(part(&instant.to_zoned(zone))))
}

fn whole<'a>(args: &[Value<'a>], unit: i64) -> Result<'a> {
    arguments!(args, [Value::Duration(nanos)]);
    Ok(Value::Int(nanos / unit))
}
