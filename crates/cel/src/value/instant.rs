//! Points in time as upstream's timestamps are: years 1 to 9999, nanoseconds, and the offset in which they were written.
//!
//! The offset is for printing alone: two instants are equal if they are the same moment. Sums and differences with durations keep it.

use std::{cmp::Ordering, fmt};

use jiff::{
    SignedDuration, Timestamp,
    civil::{DateTime, date},
    tz::TimeZone,
};

/// Years 1 to 9999, as upstream's timestamps.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;
const NANOS: i128 = 1_000_000_000;

/// A moment.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// Since 1970.
    nanos: i128,
    offset_seconds: i32,
}

impl Instant {
    /// A moment in UTC; nothing if it is in no year that can be told.
    pub(crate) fn from_second(second: i64) -> Option<Self> {
        Self::new(i128::from(second) * NANOS, 0)
    }

    fn new(nanos: i128, offset_seconds: i32) -> Option<Self> {
        let second = i64::try_from(nanos.div_euclid(NANOS)).ok()?;
        (FIRST_SECOND..=LAST_SECOND)
            .contains(&second)
            .then_some(Self {
                nanos,
                offset_seconds,
            })
    }

    /// RFC 3339 as Go reads it: a comma may stand for the point, digits after the ninth are dropped.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() || text.len() < 20 {
            return None;
        }
        let (day, rest) = text.split_at(10);
        let clock = rest.strip_prefix('T')?;
        let (clock, zone) = clock.split_at(clock.find(['Z', '+', '-'])?);
        let offset_seconds = offset(zone)?;
        let (seconds, fraction) = match clock.split_once(['.', ',']) {
            Some((seconds, fraction)) => (seconds, fraction),
            None => (clock, "0"),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if fraction.is_empty() || !digits(fraction) {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(9)];
        let (year, month, day) = three(day, '-', [4, 2, 2])?;
        let (hour, minute, second) = three(seconds, ':', [2, 2, 2])?;
        let at = DateTime::new(
            i16::try_from(year).ok()?,
            i8::try_from(month).ok()?,
            i8::try_from(day).ok()?,
            i8::try_from(hour).ok()?,
            i8::try_from(minute).ok()?,
            i8::try_from(second).ok()?,
            format!("{fraction:0<9}").parse().ok()?,
        )
        .ok()?;
        let local = at.duration_since(epoch()).as_nanos();
        Self::new(local - i128::from(offset_seconds) * NANOS, offset_seconds)
    }

    /// Whole seconds since 1970, rounded down.
    pub(crate) fn second(self) -> i64 {
        i64::try_from(self.nanos.div_euclid(NANOS)).unwrap_or_default()
    }

    /// Later, or earlier; nothing if that is in no year that can be told.
    pub(crate) fn checked_add(self, nanos: i128) -> Option<Self> {
        Self::new(self.nanos + nanos, self.offset_seconds)
    }

    /// The time between two moments.
    pub(crate) fn nanos_since(self, earlier: Self) -> i128 {
        self.nanos - earlier.nanos
    }

    /// What clocks and calendars of a zone show.
    pub(crate) fn civil(self, zone: &TimeZone) -> DateTime {
        // The last hours of the year 9999 are beyond what `jiff` can look up.
        let known = Timestamp::from_second(self.second().min(Timestamp::MAX.as_second()))
            .unwrap_or(Timestamp::MIN);
        self.shifted(zone.to_offset(known).seconds())
    }

    fn shifted(self, offset_seconds: i32) -> DateTime {
        let nanos = self.nanos + i128::from(offset_seconds) * NANOS;
        let seconds = i64::try_from(nanos.div_euclid(NANOS)).unwrap_or_default();
        let rest = i32::try_from(nanos.rem_euclid(NANOS)).unwrap_or_default();
        epoch().saturating_add(SignedDuration::new(seconds, rest))
    }
}

fn epoch() -> DateTime {
    date(1970, 1, 1).at(0, 0, 0, 0)
}

/// Numbers of so many digits.
fn three(text: &str, separator: char, digits: [usize; 3]) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(separator);
    let mut next = |digits: usize| -> Option<u32> {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    };
    let numbers = (next(digits[0])?, next(digits[1])?, next(digits[2])?);
    parts.next().is_none().then_some(numbers)
}

/// `Z`, `+02:00`; Go takes 24 hours and 60 minutes too.
fn offset(zone: &str) -> Option<i32> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, clock) = zone.split_at_checked(1)?;
    let (hours, minutes) = clock.split_once(':')?;
    let number = |text: &str, most: i32| -> Option<i32> {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain
            .then(|| text.parse().ok())
            .flatten()
            .filter(|number| *number <= most)
    };
    let seconds = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

impl PartialEq for Instant {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// RFC 3339, with the offset in which the instant was written.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shifted(self.offset_seconds))?;
        let minutes = self.offset_seconds.abs() / 60;
        match self.offset_seconds {
            0 => f.write_str("Z"),
            offset => write!(
                f,
                "{}{:02}:{:02}",
                if offset < 0 { '-' } else { '+' },
                minutes / 60,
                minutes % 60
            ),
        }
    }
}
