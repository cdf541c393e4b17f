//! Indexes of a Job as texts: `0,2-4`, rising, and below the number of completions.

use apimachinery::quote;

/// How many indexes a text names; none if it is empty.
pub(super) fn count(indexes: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last = None;
    for part in indexes.split(',').filter(|_| !indexes.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(not_rising(last, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first index that stands in both texts; intervals that cannot be read stand in neither.
pub(super) fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let read = |text: &str| -> Vec<(i64, i64)> {
        let parts = text.split(',');
        parts
            .filter_map(|part| interval(part, completions).ok())
            .collect()
    };
    let (completed, failed) = (read(completed), read(failed));
    let (mut c, mut f) = (0, 0);
    while let (Some((c_first, c_end)), Some((f_first, f_end))) = (completed.get(c), failed.get(f)) {
        if c_first <= f_end && f_first <= c_end {
            return Some(*c_first.max(f_first));
        }
        if c_first <= f_first {
            c += 1;
        } else {
            f += 1;
        }
    }
    None
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let ends: Vec<&str> = part.split('-').collect();
    if ends.len() > 2 {
        return Err(format!(
            "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
            quote(part)
        ));
    }
    let read = |end: &str| -> Result<i64, String> {
        let number: i64 = end
            .parse()
            .map_err(|_| format!("cannot convert string to integer for index: {}", quote(end)))?;
        if number >= completions {
            return Err(format!("too large index: {}", quote(end)));
        }
        Ok(number)
    };
    let first = read(ends[0])?;
    let Some(end) = ends.get(1) else {
        return Ok((first, first));
    };
    let end = read(end)?;
    if first >= end {
        return Err(not_rising(first, end));
    }
    Ok((first, end))
}

fn not_rising(previous: i64, current: i64) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_rise() {
        assert_eq!(count("", 3), Ok(0));
        assert_eq!(count("0,2-4", 5), Ok(4));
        for (bad, complaint) in [
            ("0,2-4", "too large index: \"4\""),
            ("1,1", "non-increasing order, previous: 1, current: 1"),
            ("a", "cannot convert string to integer for index: \"a\""),
        ] {
            assert_eq!(count(bad, 3), Err(complaint.to_owned()), "{bad}");
        }
        assert!(count("0-1-2", 3).is_err());
    }

    #[test]
    fn an_index_fails_or_completes() {
        assert_eq!(overlap("0-2", "2,4", 9), Some(2));
        assert_eq!(overlap("0-2", "3", 9), None);
        assert_eq!(overlap("", "", 9), None);
    }
}
