//! The times of the API: `meta/v1.Time` (to the second), `MicroTime` (to the microsecond), `Duration`, read and printed as Go does.

use crate::quote;
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

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
    let parsing = || format!("parsing time {}", go_quote(text));
    match Reading::new(text).all(layout == RFC3339_MICRO) {
        Ok(read) => read.timestamp().ok_or(Stop::Range("day")),
        Err(stop) => Err(stop),
    }
    .map_err(|stop| match stop {
        Stop::Element(rest, element) => format!(
            "{} as {layout:?}: cannot parse {} as {element:?}",
            parsing(),
            go_quote(rest)
        ),
        Stop::Range(of) => format!("{}: {of} out of range", parsing()),
        Stop::Extra(rest) => format!("{}: extra text: {}", parsing(), go_quote(rest)),
    })
}

/// Where and why Go's parser stops.
enum Stop<'a> {
    /// The rest of the text, and the element of the layout that it wanted there.
    Element(&'a str, &'static str),
    Range(&'static str),
    Extra(&'a str),
}

/// A time while its text is walked as Go's parser walks it, element by element of the layout.
struct Reading<'a> {
    rest: &'a str,
    date: [i16; 3],
    clock: [i8; 3],
    nanos: i32,
    offset_seconds: i32,
}

impl<'a> Reading<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            date: [0; 3],
            clock: [0; 3],
            nanos: 0,
            offset_seconds: 0,
        }
    }

    fn all(mut self, micro: bool) -> Result<Self, Stop<'a>> {
        self.date[0] = self.number("2006", 4)?;
        self.separator("-")?;
        self.date[1] = self.number("01", 2)?;
        if !(1..=12).contains(&self.date[1]) {
            return Err(Stop::Range("month"));
        }
        self.separator("-")?;
        self.date[2] = self.number("02", 2)?;
        self.separator("T")?;
        let units = [
            ("15", "hour", 24),
            ("04", "minute", 60),
            ("05", "second", 60),
        ];
        for (at, (element, unit, limit)) in units.into_iter().enumerate() {
            if at > 0 {
                self.separator(":")?;
            }
            // Go takes an hour of one digit.
            let lone = element == "15" && !digits(self.rest.get(1..2).unwrap_or("x"));
            let value = self.number(element, if lone { 1 } else { 2 })?;
            if value >= limit {
                return Err(Stop::Range(unit));
            }
            self.clock[at] = i8::try_from(value).unwrap_or_default();
        }
        self.fraction(micro)?;
        self.zone()?;
        if self.rest.is_empty() {
            Ok(self)
        } else {
            Err(Stop::Extra(self.rest))
        }
    }

    fn separator(&mut self, text: &'static str) -> Result<(), Stop<'a>> {
        self.rest = match self.rest.strip_prefix(text) {
            Some(rest) => rest,
            None => return Err(Stop::Element(self.rest, text)),
        };
        Ok(())
    }

    fn number(&mut self, element: &'static str, length: usize) -> Result<i16, Stop<'a>> {
        let text = self.rest.get(..length).filter(|text| digits(text));
        let Some(text) = text else {
            return Err(Stop::Element(self.rest, element));
        };
        self.rest = &self.rest[length..];
        Ok(text.parse().unwrap_or_default())
    }

    /// Six digits where the layout has them; any number where it has none.
    fn fraction(&mut self, micro: bool) -> Result<(), Stop<'a>> {
        let after = self.rest.strip_prefix(['.', ',']);
        let length = match after {
            Some(after) if micro => after.get(..6).filter(|d| digits(d)).map_or(0, str::len),
            Some(after) => after.bytes().take_while(u8::is_ascii_digit).count(),
            None => 0,
        };
        match after {
            Some(after) if length > 0 => {
                let shown = &after[..length.min(9)];
                let value: i32 = shown.parse().unwrap_or_default();
                self.nanos = (shown.len()..9).fold(value, |value, _| value * 10);
                self.rest = &after[length..];
                Ok(())
            }
            _ if micro => Err(Stop::Element(self.rest, ".000000")),
            _ => Ok(()),
        }
    }

    fn zone(&mut self) -> Result<(), Stop<'a>> {
        const ELEMENT: &str = "Z07:00";
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(());
        }
        let wrong = Stop::Element(self.rest, ELEMENT);
        let Some(text) = self.rest.get(..6) else {
            return Err(wrong);
        };
        let (sign, hours, minutes) = (&text[..1], &text[1..3], &text[4..]);
        if !matches!(sign, "+" | "-") || &text[3..4] != ":" || !digits(hours) || !digits(minutes) {
            return Err(wrong);
        }
        let (hours, minutes): (i32, i32) = (
            hours.parse().unwrap_or_default(),
            minutes.parse().unwrap_or_default(),
        );
        if hours > 24 {
            return Err(Stop::Range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(Stop::Range("time zone offset minute"));
        }
        let seconds = hours * 3600 + minutes * 60;
        self.offset_seconds = if sign == "-" { -seconds } else { seconds };
        self.rest = &self.rest[6..];
        Ok(())
    }

    /// `None` for a day that its month does not have.
    fn timestamp(&self) -> Option<Timestamp> {
        let [year, month, day] = self.date;
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        let [hour, minute, second] = self.clock;
        let civil = DateTime::new(year, month, day, hour, minute, second, self.nanos).ok()?;
        let zone = Offset::from_seconds(self.offset_seconds).ok()?;
        zone.to_timestamp(civil).ok()
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// As Go's package `time` quotes: bytes beyond ASCII as `\xc3`.
fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..0x80 => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
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
        for (text, error) in [
            ("2024-05-06T05:08:09Zx", r#"extra text: "x""#),
            ("2024-13-06T05:08:09Z", "month out of range"),
            ("2024-02-30T05:08:09Z", "day out of range"),
            ("2024-02-03T24:08:09Z", "hour out of range"),
            ("2024-02-03T04:60:09Z", "minute out of range"),
            ("2024-02-03T04:50:60Z", "second out of range"),
            (
                "2024-02-03T04:50:00+25:00",
                "time zone offset hour out of range",
            ),
        ] {
            assert_eq!(
                parse(text).unwrap_err(),
                format!("parsing time \"{text}\": {error}")
            );
        }
        assert_eq!(
            parse("ü").unwrap_err(),
            r#"parsing time "\xc3\xbc" as "2006-01-02T15:04:05Z07:00": cannot parse "\xc3\xbc" as "2006""#
        );
        assert_eq!(
            format(parse("2024-02-03T4:50:00,5-01:30").unwrap()),
            "2024-02-03T06:20:00Z"
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
