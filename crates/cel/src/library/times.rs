//! Durations and timestamps: reading, printing, their parts in any time zone.

use jiff::{
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{Result, arguments, failed, mismatch, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "getFullYear", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.year()));
    "getFullYear", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.year()));
    "getMonth", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.month()) - 1);
    "getMonth", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.month()) - 1);
    "getDayOfYear", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.day_of_year()) - 1);
    "getDayOfYear", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.day_of_year()) - 1);
    "getDayOfMonth", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.day()) - 1);
    "getDayOfMonth", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.day()) - 1);
    "getDate", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.day()));
    "getDate", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.day()));
    "getDayOfWeek", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.weekday().to_sunday_zero_offset()));
    "getDayOfWeek", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.weekday().to_sunday_zero_offset()));
    "getHours", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.hour()));
    "getHours", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.hour()));
    "getHours", "duration.() -> int", Cost::Unit, |args| whole(args, 3_600_000_000_000);
    "getMinutes", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.minute()));
    "getMinutes", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.minute()));
    "getMinutes", "duration.() -> int", Cost::Unit, |args| whole(args, 60_000_000_000);
    "getSeconds", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.second()));
    "getSeconds", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.second()));
    "getSeconds", "duration.() -> int", Cost::Unit, |args| whole(args, 1_000_000_000);
    "getMilliseconds", "timestamp.() -> int", Cost::Unit, |args| part(args, |t| i64::from(t.millisecond()));
    "getMilliseconds", "timestamp.(string) -> int", Cost::Unit, |args| part(args, |t| i64::from(t.millisecond()));
    "getMilliseconds", "duration.() -> int", Cost::Unit, |args| whole(args, 1_000_000);
}

/// Go's durations: `1h30m`, in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    apimachinery::time::parse_duration(text).ok()
}

/// In seconds, as upstream prints durations: `5400s`, `0.5s`. It divides them as floating point first.
pub(crate) fn show_duration(nanos: i64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    format!("{}s", seconds as f64 + rest as f64 / 1e9)
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
    let hours: i32 = hours.trim_start_matches('+').parse().ok()?;
    let minutes: i32 = minutes.parse().ok().filter(|m| (0..60).contains(m))?;
    let seconds = hours
        .checked_abs()?
        .checked_mul(3600)?
        .checked_add(minutes * 60)?;
    let offset = Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
    Some(TimeZone::fixed(offset))
}

fn part<'a>(args: &[Value<'a>], part: fn(DateTime) -> i64) -> Result<'a> {
    let (instant, zone) = match args {
        [Value::Timestamp(instant)] => (instant, TimeZone::UTC),
        [Value::Timestamp(instant), Value::String(name)] => match zone(name) {
            Some(zone) => (instant, zone),
            None => return failed(format!("unknown time zone {}", &**name)),
        },
        _ => return mismatch(),
    };
    Ok(Value::Int(part(instant.civil(&zone))))
}

fn whole<'a>(args: &[Value<'a>], unit: i64) -> Result<'a> {
    arguments!(args, [Value::Duration(nanos)]);
    Ok(Value::Int(nanos / unit))
}
