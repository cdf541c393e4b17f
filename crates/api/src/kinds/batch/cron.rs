//! Cron schedules: five fields, or a descriptor such as `@hourly` or `@every 1h30m`.
//!
//! Only whether a schedule is good; when it fires is the controller's business. Complaints as upstream's parser words them.

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

/// What is wrong with a schedule.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.starts_with('@') {
        return descriptor(schedule);
    }
    let parts: Vec<&str> = schedule.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly {} fields, found {}: [{}]",
            FIELDS.len(),
            parts.len(),
            parts.join(" ")
        ));
    }
    for (part, field) in parts.iter().zip(&FIELDS) {
        for range in part.split(',') {
            check_range(range, field)?;
        }
    }
    Ok(())
}

fn descriptor(schedule: &str) -> Result<(), String> {
    const KNOWN: &[&str] = &[
        "@yearly",
        "@annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@midnight",
        "@hourly",
    ];
    if KNOWN.contains(&schedule) {
        return Ok(());
    }
    if let Some(duration) = schedule.strip_prefix("@every ") {
        return if is_duration(duration) {
            Ok(())
        } else {
            Err(format!(
                "failed to parse duration {schedule}: time: invalid duration {duration:?}"
            ))
        };
    }
    Err(format!("unrecognized descriptor: {schedule}"))
}

/// `1h30m`, as Go writes durations.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        if digits == 0 {
            return false;
        }
        rest = &rest[digits..];
        let Some(unit) = ["ns", "us", "µs", "ms", "s", "m", "h"]
            .iter()
            .find(|u| rest.starts_with(**u))
        else {
            return false;
        };
        rest = &rest[unit.len()..];
    }
    true
}

/// `*`, `5`, `1-5`, `*/2`, `1-5/2`, with names where the field has them.
fn check_range(range: &str, field: &Field) -> Result<(), String> {
    let (span, step) = match range.split_once('/') {
        Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {range}")),
        Some((span, step)) => (span, Some(step)),
        None => (range, None),
    };
    let (start, mut end) = if matches!(span, "*" | "?") {
        (field.min, field.max)
    } else {
        let (low, high) = span.split_once('-').unwrap_or((span, span));
        if high.contains('-') {
            return Err(format!("too many hyphens: {range}"));
        }
        (value(low, field)?, value(high, field)?)
    };
    if let Some(step) = step {
        let step = number(step)?;
        if step == 0 {
            return Err(format!(
                "step of range should be a positive number: {range}"
            ));
        }
        if !span.contains('-') && !matches!(span, "*" | "?") {
            end = field.max;
        }
    }
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
    Ok(())
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
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, complaint) in [
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("99 * * * *", "end of range (99) above maximum (59): 99"),
            ("@nope", "unrecognized descriptor: @nope"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ] {
            assert_eq!(check(bad), Err(complaint.to_owned()));
        }
    }
}
