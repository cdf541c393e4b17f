//! Field selectors: `metadata.name=a,status.phase!=Running`.
//!
//! Values may hold `\,`, `\=` and `\\`. Which fields a resource knows is its own matter; here is the syntax and the match.

use std::fmt;

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// `metadata.name`.
    pub field: String,
    /// What it is compared with.
    pub value: String,
    /// Whether it must be equal, or must not.
    pub equal: bool,
}

/// All of its requirements must hold; without any, it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// What it demands.
    pub requirements: Vec<Requirement>,
}

impl Selector {
    /// Parses the text of a request. The terms are put in order, and one that compares no field with no value demands nothing, as upstream.
    ///
    /// # Errors
    /// As upstream words them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        let mut terms = terms(text);
        terms.sort_unstable();
        for term in terms {
            if term.is_empty() {
                continue;
            }
            let Some((field, value, equal)) = split(term) else {
                return Err(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ));
            };
            let value = unescape(value)?;
            if field.is_empty() && value.is_empty() {
                continue;
            }
            requirements.push(Requirement {
                field: field.to_owned(),
                value,
                equal,
            });
        }
        Ok(Self { requirements })
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object's fields match; an absent field is the empty text.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|r| (get(&r.field).unwrap_or_default() == r.value) == r.equal)
    }

    /// The value that a field must have, if it must have one: to narrow a list to one name.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements
            .iter()
            .find(|r| r.equal && r.field == field)
            .map(|r| &*r.value)
    }
}

/// Splits at commas that are not escaped.
fn terms(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

/// Splits at the first operator.
fn split(term: &str) -> Option<(&str, &str, bool)> {
    for (at, _) in term.char_indices() {
        let rest = &term[at..];
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..at], value, equal));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    if !value.contains(['\\', ',', '=']) {
        return Ok(value.to_owned());
    }
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                next => {
                    let next = next.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: \\{next}"
                    ));
                }
            },
            ',' | '=' => {
                // Go prints the number of a rune.
                return Err(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                ));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, r) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let operator = if r.equal { "=" } else { "!=" };
            let value = r
                .value
                .replace('\\', "\\\\")
                .replace(',', "\\,")
                .replace('=', "\\=");
            write!(f, "{comma}{}{operator}{value}", r.field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_parse_match_and_print() {
        let selector = Selector::parse(r"metadata.name=a\,b,status.phase!=Running,x==").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert_eq!(
            selector.to_string(),
            r"metadata.name=a\,b,status.phase!=Running,x="
        );
        assert!(selector.matches(|f| (f == "metadata.name").then_some("a,b")));
        assert!(!selector.matches(|f| Some(if f == "x" { "" } else { "Running" })));
        assert_eq!(
            Selector::parse(r"a=b\1").unwrap_err(),
            r"invalid field selector: invalid escape sequence: \1"
        );
        assert_eq!(
            Selector::parse("a=b=c").unwrap_err(),
            "invalid field selector: unescaped character in value: 61"
        );
        assert_eq!(
            Selector::parse("a").unwrap_err(),
            "invalid selector: 'a'; can't understand 'a'"
        );
    }

    #[test]
    fn terms_are_read_in_order_and_empty_ones_demand_nothing() {
        for (text, printed) in [("z=1,a=1", "a=1,z=1"), ("==", ""), ("!=,a=1,=", "a=1")] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), printed);
        }
        assert_eq!(
            Selector::parse("z,a").unwrap_err(),
            "invalid selector: 'z,a'; can't understand 'a'"
        );
    }
}
