//! Completion indexes: sets of them as text (`0,2-4`), as `status.completedIndexes` holds them.

use std::collections::BTreeSet;

/// A set of completion indexes.
pub(super) type Indexes = BTreeSet<i32>;

/// Parses `0,2-4`; what cannot be read, and what is not below `completions`, is left out.
pub(super) fn parse(text: &str, completions: i32) -> Indexes {
    let mut indexes = Indexes::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            indexes.extend(first.max(0)..=last.min(completions - 1));
        }
    }
    indexes
}

/// Prints a set; two neighbours are listed, three and more are a range.
pub(super) fn format(indexes: &Indexes) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = indexes.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if_eq(&(last + 1)) {
            last = next;
        }
        parts.push(match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8,10-12"] {
            assert_eq!(format(&parse(text, 20)), text);
        }
        assert_eq!(parse("1-3,x,5", 20), Indexes::from([1, 2, 3, 5]));
        assert_eq!(parse("1-2147483647", 4), Indexes::from([1, 2, 3]));
    }
}
