//! The times of the API: `meta/v1.Time` (to the second), `MicroTime` (to the microsecond), `Duration`, read and printed as Go does.

use crate::quote;
use jiff::{Timestamp, fmt::temporal::DateTimeParser, tz::TimeZone};

/// What a `Time` looks like to Go's parser; it stands in its errors.
const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
/// What a `MicroTime` looks like.
const RFC3339_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";
/// Go's zero time, which JSON shows as null.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// `2006-01-02T15:04:05Z`.
pub fn format(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// `2006-01-02T15:04:05.000000Z`.
pub fn format_micro(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

/// Reads RFC 3339 with or without a fraction.
///
/// # Errors
/// As Go words them: `parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"`.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    parse_as(text, RFC3339)
}

/// Like [`parse`], for `MicroTime`, whose errors name another layout. Six digits of fraction are asked for, any number is taken.
///
/// # Errors
/// As Go words them.
pub fn parse_micro(text: &str) -> Result<Timestamp, String> {
    parse_as(text, RFC3339_MICRO)
}

/// Whether this is how a `Time` prints, so that it can be kept as it is.
pub(crate) fn is_canonical(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() == 20
        && b[19] == b'Z'
        && b.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            19 => true,
            _ => byte.is_ascii_digit(),
        })
        && text != ZERO
        && text.parse::<Timestamp>().is_ok()
}

fn parse_as(text: &str, layout: &str) -> Result<Timestamp, String> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let rest = go_rest(text, layout);
    match rest {
        None => PARSER
            .parse_timestamp(text)
            .map_err(|_| format!("parsing time {}: day out of range", quote(text))),
        Some((rest, element)) => Err(format!(
            "parsing time {} as {layout:?}: cannot parse {} as {element:?}",
            quote(text),
            quote(rest)
        )),
    }
}

/// Walks the layout as Go's parser does: the rest of the text at which it stops, and the element that it wanted there.
fn go_rest<'a>(text: &'a str, layout: &str) -> Option<(&'a str, &'static str)> {
    const ELEMENTS: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
    ];
    let mut rest = text;
    for (element, digits) in ELEMENTS {
        if digits == 0 {
            match rest.strip_prefix(element) {
                Some(after) => rest = after,
                None => return Some((rest, element)),
            }
        } else {
            if rest.len() < digits || !rest.as_bytes()[..digits].iter().all(u8::is_ascii_digit) {
                return Some((rest, element));
            }
            rest = &rest[digits..];
        }
    }
    let fraction = rest.strip_prefix(['.', ',']).map_or(0, |after| {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 { 0 } else { digits + 1 }
    });
    if layout == RFC3339_MICRO && fraction == 0 {
        return Some((rest, ".000000"));
    }
    rest = &rest[fraction..];
    let zone = rest.as_bytes();
    let offset = matches!(zone, [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()));
    (rest != "Z" && !offset).then_some((rest, "Z07:00"))
}

/// Go's `time.Duration` in nanoseconds, as `1h2m3.5s`.
///
/// # Errors
/// As Go words them: `time: invalid duration "x"`.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: f64 = 0.0;
    let mut exact: i128 = 0;
    while !rest.is_empty() {
        let number = rest
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b'.')
            .count();
        if number == 0 || &rest[..number] == "." {
            return Err(invalid());
        }
        let (value, after) = rest.split_at(number);
        let unit_length = after
            .bytes()
            .take_while(|b| !b.is_ascii_digit() && *b != b'.')
            .count();
        let (unit, after) = after.split_at(unit_length);
        let nanos: i64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            _ => {
                return Err(format!(
                    "time: unknown unit {} in duration {}",
                    quote(unit),
                    quote(text)
                ));
            }
        };
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        exact = exact.saturating_add(whole.saturating_mul(i128::from(nanos)));
        if !fraction.is_empty() {
            let part: f64 = format!("0.{fraction}").parse().map_err(|_| invalid())?;
            total += part * nanos as f64;
        }
        rest = after;
    }
    let sum = exact.saturating_add(total as i128);
    let sum = if negative { -sum } else { sum };
    i64::try_from(sum).map_err(|_| invalid())
}

/// As Go prints a duration: `1h2m3.5s`, `0s`.
pub fn format_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let decimal = |value: u64, unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let mut text = format!("{}.{:0digits$}", value / unit, value % unit);
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        text + name
    };
    let text = match total {
        0..1_000 => format!("{total}ns"),
        1_000..1_000_000 => decimal(total, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(total, 1_000_000, "ms"),
        _ => {
            let minutes = total / 60_000_000_000;
            let seconds = decimal(total % 60_000_000_000, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lose_their_fraction_and_their_zone() {
        let time = parse("2024-05-06T07:08:09.123456789+02:00").unwrap();
        assert_eq!(format(time), "2024-05-06T05:08:09Z");
        assert_eq!(format_micro(time), "2024-05-06T05:08:09.123456Z");
        assert!(is_canonical("2024-05-06T05:08:09Z"));
        assert!(!is_canonical("2024-13-06T05:08:09Z"));
    }

    #[test]
    fn errors_are_those_of_go() {
        assert_eq!(
            parse("yesterday").unwrap_err(),
            r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#
        );
        assert_eq!(
            parse_micro("2024-05-06T05:08:09Z").unwrap_err(),
            r#"parsing time "2024-05-06T05:08:09Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#
        );
    }

    #[test]
    fn durations_print_as_in_go() {
        for text in [
            "0s",
            "1ns",
            "1.5µs",
            "2ms",
            "1.5s",
            "1m0s",
            "1h0m0s",
            "-2h3m4.5s",
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(format_duration(parse_duration("90m").unwrap()), "1h30m0s");
        assert_eq!(
            parse_duration("5").unwrap_err(),
            r#"time: missing unit in duration "5""#
        );
        assert_eq!(
            parse_duration("x").unwrap_err(),
            r#"time: invalid duration "x""#
        );
    }
}
