//! Names of fields that are no identifiers: how expressions write them.
//!
//! `my-field` is `my__dash__field`, `a.b` is `a__dot__b`, and what is a reserved word is set between underscores: `__namespace__`. A name that cannot be
//! written so has no field in expressions.

use std::{borrow::Cow, fmt::Write as _};

use crate::words::is_reserved;

/// The name in expressions of a field in JSON.
pub fn escape(name: &str) -> Option<Cow<'_, str>> {
    let first = name.chars().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    if is_reserved(name) {
        return Some(Cow::Owned(format!("__{name}__")));
    }
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.contains("__") {
        return Some(Cow::Borrowed(name));
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("__") {
            escaped.push_str("__underscores__");
            rest = after;
            continue;
        }
        // Writing to a string cannot fail.
        let _ = match c {
            '.' => escaped.write_str("__dot__"),
            '-' => escaped.write_str("__dash__"),
            '/' => escaped.write_str("__slash__"),
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => escaped.write_char(c),
            _ => return None,
        };
        rest = &rest[c.len_utf8()..];
    }
    Some(Cow::Owned(escaped))
}

/// The field in JSON behind a name in expressions.
pub fn unescape(name: &str) -> Option<Cow<'_, str>> {
    if !name.contains("__") {
        return Some(Cow::Borrowed(name));
    }
    if let Some(word) = name.strip_prefix("__").and_then(|n| n.strip_suffix("__"))
        && is_reserved(word)
    {
        return Some(Cow::Borrowed(word));
    }
    let mut unescaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("__") {
        unescaped.push_str(&rest[..at]);
        let (word, after) = rest[at + 2..].split_once("__")?;
        unescaped.push_str(match word {
            "underscores" => "__",
            "dot" => ".",
            "dash" => "-",
            "slash" => "/",
            _ => return None,
        });
        rest = after;
    }
    unescaped.push_str(rest);
    Some(Cow::Owned(unescaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (name, escaped) in [
            ("a", "a"),
            ("_a_1", "_a_1"),
            ("my-field", "my__dash__field"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("namespace", "__namespace__"),
            ("int", "int"),
            ("a__b", "a__underscores__b"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(escaped), "{name}");
            assert_eq!(unescape(escaped).as_deref(), Some(name), "{escaped}");
        }
        assert_eq!(escape("9a"), None);
        assert_eq!(escape("a$"), None);
        assert_eq!(escape(""), None);
        assert_eq!(unescape("a__nothing__b"), None);
    }
}
