//! Objects as YAML, in the very form of upstream's writer: block style, keys in natural order, lists at the indent of their key, strings
//! quoted only where another reader (also one of YAML 1.1) would take them for something else, long lines folded after 80 columns.

use std::cmp::Ordering;

use apimachinery::Object;
use serde_json::Value;

/// Lines are folded at the first space after this column.
const WIDTH: usize = 80;
/// Longer keys, and keys over several lines, are written as `? key`.
const MAX_SIMPLE_KEY: usize = 128;

/// The document of an object.
pub(super) fn encode(object: &Object) -> String {
    let mut writer = Writer::default();
    if object.is_empty() {
        writer.out.push_str("{}\n");
    } else {
        writer.mapping(object, 0, true);
    }
    writer.out
}

#[derive(Default)]
struct Writer {
    out: String,
}

/// How a string stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Writer {
    /// A mapping's lines. The first one is written where the cursor is when `inline` says so (after `- `).
    fn mapping(&mut self, object: &Object, indent: usize, mut inline: bool) {
        let mut entries: Vec<(&String, &Value)> = object.iter().collect();
        entries.sort_by(|a, b| natural(a.0, b.0));
        for (key, value) in entries {
            if !std::mem::take(&mut inline) {
                self.indent(indent);
            }
            let complex = key.chars().count() > MAX_SIMPLE_KEY || key.contains('\n');
            if complex {
                self.out.push_str("? ");
                self.scalar(key, indent + 2, false);
                self.out.push('\n');
                self.indent(indent);
            } else {
                self.scalar(key, indent, true);
            }
            self.out.push(':');
            self.value(value, indent);
        }
    }

    /// What follows a key's colon.
    fn value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(object) if !object.is_empty() => {
                self.out.push('\n');
                self.mapping(object, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                self.out.push('\n');
                self.sequence(items, indent, false);
            }
            other => {
                self.out.push(' ');
                self.leaf(other, indent + 2);
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, mut inline: bool) {
        for item in items {
            if !std::mem::take(&mut inline) {
                self.indent(indent);
            }
            self.out.push_str("- ");
            match item {
                Value::Object(object) if !object.is_empty() => {
                    self.mapping(object, indent + 2, true);
                }
                Value::Array(items) if !items.is_empty() => {
                    self.sequence(items, indent + 2, true);
                }
                other => self.leaf(other, indent + 2),
            }
        }
    }

    /// Something without entries, and the end of its line.
    fn leaf(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => self.out.push_str(&number.to_string()),
            Value::String(text) => self.scalar(text, indent, false),
            Value::Array(_) => self.out.push_str("[]"),
            Value::Object(_) => self.out.push_str("{}"),
        }
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    /// A string; its further lines stand at `indent`.
    fn scalar(&mut self, text: &str, indent: usize, key: bool) {
        match style(text, key) {
            Style::Plain => self.folded(text, indent, key),
            Style::Single => {
                self.out.push('\'');
                self.folded(&text.replace('\'', "''"), indent, key);
                self.out.push('\'');
            }
            Style::Double => self.double(text, indent, key),
            Style::Literal => self.literal(text, indent),
        }
    }

    /// Words, with line breaks in place of single spaces once the line is long enough.
    fn folded(&mut self, text: &str, indent: usize, key: bool) {
        let mut after_space = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let next_is_space = chars.peek().is_none_or(|next| *next == ' ');
            if c == ' ' && !key && !first && !after_space && !next_is_space && self.column() > WIDTH
            {
                self.out.push('\n');
                self.indent(indent);
            } else {
                self.out.push(c);
            }
            after_space = c == ' ';
            first = false;
        }
    }

    fn double(&mut self, text: &str, indent: usize, key: bool) {
        self.out.push('"');
        let length = text.chars().count();
        let mut after_space = false;
        let mut chars = text.chars().enumerate().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\n' => self.out.push_str("\\n"),
                '\t' => self.out.push_str("\\t"),
                '\r' => self.out.push_str("\\r"),
                '\0' => self.out.push_str("\\0"),
                '\x07' => self.out.push_str("\\a"),
                '\x08' => self.out.push_str("\\b"),
                '\x0b' => self.out.push_str("\\v"),
                '\x0c' => self.out.push_str("\\f"),
                '\x1b' => self.out.push_str("\\e"),
                '\u{85}' => self.out.push_str("\\N"),
                '\u{a0}' => self.out.push_str("\\_"),
                '\u{2028}' => self.out.push_str("\\L"),
                '\u{2029}' => self.out.push_str("\\P"),
                ' ' => {
                    let inside = at > 0 && at + 1 < length;
                    if inside && !key && !after_space && self.column() > WIDTH {
                        self.out.push('\n');
                        self.indent(indent);
                        if chars.peek().is_some_and(|(_, next)| *next == ' ') {
                            self.out.push('\\');
                        }
                    } else {
                        self.out.push(' ');
                    }
                    after_space = true;
                    continue;
                }
                c if is_printable(c) => self.out.push(c),
                c if u32::from(c) <= 0xff => self.out.push_str(&format!("\\x{:02X}", u32::from(c))),
                c if u32::from(c) <= 0xffff => {
                    self.out.push_str(&format!("\\u{:04X}", u32::from(c)))
                }
                c => self.out.push_str(&format!("\\U{:08X}", u32::from(c))),
            }
            after_space = false;
        }
        self.out.push('"');
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.out.push('|');
        if text.starts_with([' ', '\n']) {
            self.out.push('2');
        }
        if !text.ends_with('\n') {
            self.out.push('-');
        } else if text.ends_with("\n\n") || text == "\n" {
            self.out.push('+');
        }
        self.out.push('\n');
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            if !line.is_empty() {
                self.indent(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    fn indent(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// Characters since the last line break.
    fn column(&self) -> usize {
        let line = self.out.rfind('\n').map_or(0, |at| at + 1);
        self.out[line..].chars().count()
    }
}

fn style(text: &str, key: bool) -> Style {
    let form = Form::of(text);
    if text.contains('\n') {
        return if form.literal && !key {
            Style::Literal
        } else {
            Style::Double
        };
    }
    if is_something_else(text) {
        return Style::Double;
    }
    match form {
        Form { plain: true, .. } => Style::Plain,
        Form { single: true, .. } => Style::Single,
        _ => Style::Double,
    }
}

/// Which styles can hold a text.
struct Form {
    plain: bool,
    single: bool,
    literal: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let blank = |at: usize| {
            chars
                .get(at)
                .is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
        };
        let mut plain = !text.is_empty() && !text.starts_with("---") && !text.starts_with("...");
        let (mut special, mut space_break, mut break_space) = (false, false, false);
        for (at, c) in chars.iter().copied().enumerate() {
            let before = at.checked_sub(1).and_then(|at| chars.get(at)).copied();
            match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"'
                | '%' | '@' | '`'
                    if at == 0 =>
                {
                    plain = false;
                }
                '?' | ':' | '-' if at == 0 && blank(1) => plain = false,
                ':' if at > 0 && blank(at + 1) => plain = false,
                '#' if before.is_some_and(|c| matches!(c, ' ' | '\t' | '\n')) => plain = false,
                _ => {}
            }
            special |= c != '\n' && !is_printable(c);
            space_break |= c == '\n' && before == Some(' ');
            break_space |= c == ' ' && before == Some('\n');
        }
        let edge_space = text.starts_with(' ') || text.ends_with(' ');
        plain &= !edge_space && !special && !space_break && !break_space && !text.contains('\n');
        Self {
            plain,
            single: !special && !space_break && !break_space,
            literal: !special && !space_break && !text.ends_with(' '),
        }
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{feff}'
}

/// Whether a reader would take the bare text for a null, a boolean, a number, a time or a merge key.
fn is_something_else(text: &str) -> bool {
    matches!(
        text,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "<<"
            | "y"
            | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "true"
            | "True"
            | "TRUE"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
            | "false"
            | "False"
            | "FALSE"
            | ".nan"
            | ".NaN"
            | ".NAN"
            | ".inf"
            | ".Inf"
            | ".INF"
            | "+.inf"
            | "+.Inf"
            | "+.INF"
            | "-.inf"
            | "-.Inf"
            | "-.INF"
    ) || is_number(text)
        || is_time(text)
}

fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let all =
        |digits: &str, radix: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if let Some(rest) = unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"))
    {
        return all(rest, 16);
    }
    if let Some(rest) = unsigned.strip_prefix("0b") {
        return all(rest, 2);
    }
    if let Some(rest) = unsigned.strip_prefix("0o") {
        return all(rest, 8);
    }
    is_float(unsigned) || is_base60(text)
}

/// `1`, `1.`, `.5`, `1.5e-3`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |t: &str| t.chars().all(|c| c.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, part)) => {
            digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_ok
        && exponent.is_none_or(|e| {
            let e = e.strip_prefix(['+', '-']).unwrap_or(e);
            !e.is_empty() && digits(e)
        })
}

/// `190:20:30`, a number of YAML 1.1.
fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    let first_ok = first.starts_with(|c: char| c.is_ascii_digit())
        && first.chars().all(|c| c.is_ascii_digit() || c == '_');
    let mut count = 0;
    let rest_ok = parts.all(|part| {
        count += 1;
        let whole = part.split('.').next().unwrap_or_default();
        whole.parse::<u8>().is_ok_and(|n| n < 60)
            && part.chars().all(|c| c.is_ascii_digit() || c == '.')
    });
    first_ok && rest_ok && count > 0
}

/// `2001-12-14`, `2001-12-14T21:59:43Z`, with a space or fractions as well.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let year = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if year != 4 || bytes.get(4) != Some(&b'-') {
        return false;
    }
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let numbers: Vec<&str> = date.split('-').collect();
    let [_, month, day] = numbers.as_slice() else {
        return false;
    };
    let within =
        |t: &str, max: u8| t.len() <= 2 && t.parse::<u8>().is_ok_and(|n| (1..=max).contains(&n));
    let date_ok = within(month, 12) && within(day, 31);
    let time_ok = rest.is_empty() && !text.ends_with(['T', 't', ' '])
        || rest.contains(':')
            && rest
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | 'Z' | '+' | '-' | ' '));
    date_ok && time_ok
}

/// Letters after everything else, runs of digits by their value: upstream's order of keys.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at].cmp(&b[at]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero inside a number counts by the digits before it.
    let within_number = (a[at] == '0' || b[at] == '0')
        && a[..at]
            .iter()
            .rev()
            .take_while(|c| c.is_ascii_digit())
            .any(|c| *c != '0');
    let run = |chars: &[char]| {
        let digits = chars[at..].iter().take_while(|c| c.is_ascii_digit());
        digits.fold((u64::from(within_number), 0usize), |(value, length), c| {
            let digit = u64::from(c.to_digit(10).unwrap_or(0));
            (value.saturating_mul(10).saturating_add(digit), length + 1)
        })
    };
    run(&a).cmp(&run(&b)).then(a[at].cmp(&b[at]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn yaml(value: Value) -> String {
        encode(value.as_object().unwrap())
    }

    #[test]
    fn strings_are_quoted_only_where_they_must_be() {
        for (text, expected) in [
            ("v", "v"),
            ("y", "\"y\""),
            ("1", "\"1\""),
            ("1e3", "\"1e3\""),
            ("0x1f", "\"0x1f\""),
            ("1:20", "\"1:20\""),
            ("2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\""),
            ("null", "\"null\""),
            ("", "\"\""),
            ("a: b", "'a: b'"),
            ("it's", "it's"),
            ("'x", "'''x'"),
            ("- a", "'- a'"),
            ("-a", "-a"),
            ("*", "'*'"),
            (" a", "' a'"),
            ("a\tb", "\"a\\tb\""),
            ("http://x", "http://x"),
            ("10Mi", "10Mi"),
            (
                "configmaps \"nosuch\" not found",
                "configmaps \"nosuch\" not found",
            ),
        ] {
            assert_eq!(
                yaml(json!({ "k": text })),
                format!("k: {expected}\n"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn blocks() {
        let object = json!({
            "b": [{"x": 1, "a": []}, [true], "s"],
            "a": {"false": "1", "k": "line1\nline2\n", "l": "no end\nhere"},
            "a10": null, "a2": {}, ".": 1,
        });
        assert_eq!(
            yaml(object),
            ".: 1\na:\n  \"false\": \"1\"\n  k: |\n    line1\n    line2\n  l: |-\n    no end\n    here\na2: {}\na10: null\nb:\n- a: []\n  x: 1\n- - true\n- s\n"
        );
    }

    #[test]
    fn long_lines_are_folded_at_spaces() {
        let message = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        assert_eq!(
            yaml(json!({ "message": message })),
            "message: 'only the following media types are accepted: application/json;stream=watch,\n  application/vnd.kubernetes.protobuf;stream=watch'\n"
        );
    }
}
