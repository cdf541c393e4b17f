//! `pattern`: Go's regular expressions (RE2), run by our own engine of the same family.
//!
//! Both run in linear time. Their dialects differ in what stands in brackets, in `\Q…\E`, in braces that count nothing and in the
//! alphabets of `\d`, `\w`, `\s` and `\b`, which are ASCII in Go: [`translate`] says the same in the other dialect.
//! A pattern is compiled when a value first meets it; its size is bounded by the engine.

use std::sync::OnceLock;

use regex::Regex;

/// A pattern and, once it was used, its compiled form.
#[derive(Debug)]
pub struct Pattern {
    source: Box<str>,
    compiled: OnceLock<Result<Regex, String>>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// From its text, as it stands in the schema.
    pub fn new(source: &str) -> Self {
        Self {
            source: source.into(),
            compiled: OnceLock::new(),
        }
    }

    /// As it stands in the schema.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is found anywhere in the text.
    ///
    /// # Errors
    /// The pattern is none.
    pub fn is_match(&self, text: &str) -> Result<bool, &str> {
        self.regex().map(|regex| regex.is_match(text))
    }

    /// The compiled form.
    ///
    /// # Errors
    /// The pattern is none; says why as Go does.
    pub fn regex(&self) -> Result<&Regex, &str> {
        self.compiled
            .get_or_init(|| {
                Regex::new(&translate(&self.source)).map_err(|e| reason(&self.source, &e))
            })
            .as_ref()
            .map_err(String::as_str)
    }
}

/// Go's `error parsing regexp: …` as near as the other engine's diagnosis allows.
fn reason(source: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let (what, of) = if text.contains("unclosed group") {
        ("missing closing )", source)
    } else if text.contains("unopened group") {
        ("unexpected )", source)
    } else if text.contains("unclosed character class") {
        let at = source.rfind('[').unwrap_or_default();
        ("missing closing ]", &source[at..])
    } else if text.contains("repetition operator missing expression") {
        let operator = source.find(['*', '+', '?']).unwrap_or_default();
        let end = (operator + 1).min(source.len());
        (
            "missing argument to repetition operator",
            &source[operator..end],
        )
    } else if text.contains("invalid character class range") {
        ("invalid character class range", source)
    } else if text.contains("look-around") {
        let at = source.find("(?").unwrap_or_default();
        let end = (at + 3).min(source.len());
        ("invalid or unsupported Perl syntax", &source[at..end])
    } else if text.contains("unrecognized escape") || text.contains("backreference") {
        let at = source.find('\\').unwrap_or_default();
        let end = source[at..]
            .char_indices()
            .nth(2)
            .map_or(source.len(), |(i, _)| at + i);
        ("invalid escape sequence", &source[at..end])
    } else if text.contains("incomplete escape") {
        return "error parsing regexp: trailing backslash at end of expression: ``".to_owned();
    } else {
        ("invalid pattern", source)
    };
    format!("error parsing regexp: {what}: `{of}`")
}

/// Says a Go pattern in the dialect of the engine.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, &mut out, false),
            '[' => class(after, &mut out),
            '{' if !is_count(after) => {
                out.push_str("\\{");
                after
            }
            '}' if !out_ends_in_count(&out) => {
                out.push_str("\\}");
                after
            }
            c => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// What follows a backslash; returns what is left.
fn escape<'a>(rest: &'a str, out: &mut String, in_class: bool) -> &'a str {
    let Some(c) = rest.chars().next() else {
        out.push('\\');
        return rest;
    };
    let after = &rest[c.len_utf8()..];
    let ascii = match (c, in_class) {
        ('d', false) => "[0-9]",
        ('D', _) => "[^0-9]",
        ('w', false) => "[0-9A-Za-z_]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', false) => "[\\t\\n\\f\\r ]",
        ('S', _) => "[^\\t\\n\\f\\r ]",
        ('d', true) => "0-9",
        ('w', true) => "0-9A-Za-z_",
        ('s', true) => "\\t\\n\\f\\r ",
        ('b', false) => "(?-u:\\b)",
        ('B', false) => "(?-u:\\B)",
        ('a', _) => "\\x07",
        ('Q', false) => {
            let (literal, after) = after.split_once("\\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(literal));
            return after;
        }
        _ => "",
    };
    if !ascii.is_empty() {
        out.push_str(ascii);
        return after;
    }
    out.push('\\');
    out.push(c);
    // `\p{Greek}` and `\x{1F600}` carry braces that are no counts.
    if matches!(c, 'p' | 'P' | 'x')
        && after.starts_with('{')
        && let Some(end) = after.find('}')
    {
        out.push_str(&after[..=end]);
        return &after[end + 1..];
    }
    after
}

/// A character class, after its opening bracket; returns what is left. In Go, brackets and doubled operators in it are literal.
fn class<'a>(rest: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            ']' if !first => {
                out.push(']');
                return after;
            }
            ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
                after
            }
            '\\' => escape(after, out, true),
            '[' => match after.starts_with(':').then(|| after.find(":]")).flatten() {
                Some(end) => {
                    out.push('[');
                    out.push_str(&after[..end + 2]);
                    &after[end + 2..]
                }
                None => {
                    out.push_str("\\[");
                    after
                }
            },
            // A range that ends in a dash; doubled dashes are an operator elsewhere.
            '-' if !first && after.starts_with('-') => {
                out.push_str("-\\-");
                &after[1..]
            }
            '-' if first || after.starts_with(']') => {
                out.push_str("\\-");
                after
            }
            c => {
                out.push(c);
                after
            }
        };
        first = false;
    }
    rest
}

/// Whether `3}`, `3,}` or `3,5}` follows an opening brace.
fn is_count(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else {
        return false;
    };
    let (low, high) = inside.split_once(',').unwrap_or((inside, "0"));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Whether the closing brace that comes next ends a count that was let through.
fn out_ends_in_count(out: &str) -> bool {
    let start = out.trim_end_matches(|c: char| c.is_ascii_digit() || c == ',');
    start.ends_with('{') && !start.ends_with("\\{") && start.len() < out.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_dialect() {
        for (pattern, text, expected) in [
            (r"^[a-z]+$", "abc", true),
            (r"^[a-z]+$", "ABC", false),
            (r"^\d+$", "٣", false),
            (r"^\d{1,2}$", "12", true),
            (r"^[\d\w-]+$", "a-1_", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]]+$", "a", true),
            (r"^[a&&b]+$", "&", true),
            (r"^[+--]$", ",", true),
            (r"^{x}$", "{x}", true),
            (r"^a{,3}$", "a{,3}", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^\pL+$", "é", true),
            (r"^\p{Greek}+$", "λ", true),
            (r"^(?i)abc$", "ABC", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^[\s]+$", " \t", true),
            (r"^[\S]+$", "ab", true),
            (r"^.$", "\n", false),
        ] {
            let got = Pattern::new(pattern).is_match(text).map_err(str::to_owned);
            assert_eq!(got, Ok(expected), "{pattern} {text}");
        }
        let broken = Pattern::new("a(b");
        assert_eq!(
            broken.is_match("x").unwrap_err(),
            "error parsing regexp: missing closing ): `a(b`"
        );
        assert!(Pattern::new("(?=a)").is_match("").is_err());
    }
}
