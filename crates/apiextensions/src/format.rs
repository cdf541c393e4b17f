//! `format`: those that the server knows, and what they demand of a string.
//!
//! Formats of numbers bound their range and are judged with the numbers. Unknown formats, and those that do not belong to the type, demand
//! nothing. Names are compared without dashes, as upstream registers them (`date-time` and `datetime` are one).
//! Follows kube-openapi's `strfmt` with the checks of the Go libraries it calls.

use std::net::Ipv6Addr;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::schema::JsonType;

/// A known format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `int32`, of integers.
    Int32,
    /// `int64`, of integers.
    Int64,
    /// `float`, of numbers.
    Float,
    /// `double`, of numbers.
    Double,
    /// Of strings.
    Text {
        /// The index of its row in the table.
        row: u8,
        /// Written without the dashes that its name has.
        bare: bool,
    },
}

/// A format's name, and whether a text is of it.
type TextFormat = (&'static str, fn(&str) -> bool);

/// The formats of strings.
const TEXT: &[TextFormat] = &[
    ("bsonobjectid", is_bson_object_id),
    ("uri", is_request_uri),
    ("email", is_email),
    ("hostname", is_hostname),
    ("ipv4", is_ipv4),
    ("ipv6", is_ipv6),
    ("cidr", |s| api::names::parse_cidr_sloppy(s).is_some()),
    ("mac", is_mac),
    ("uuid", |s| is_uuid(s, None)),
    ("uuid3", |s| is_uuid(s, Some('3'))),
    ("uuid4", |s| is_uuid(s, Some('4'))),
    ("uuid5", |s| is_uuid(s, Some('5'))),
    ("isbn", |s| is_isbn10(s) || is_isbn13(s)),
    ("isbn10", is_isbn10),
    ("isbn13", is_isbn13),
    ("creditcard", is_credit_card),
    ("ssn", is_ssn),
    ("hexcolor", is_hex_color),
    ("rgbcolor", is_rgb_color),
    ("byte", is_base64),
    ("password", |_| true),
    ("date", is_date),
    ("duration", is_duration),
    ("date-time", is_date_time),
    ("k8s-short-name", |s| s.len() <= 63 && is_label(s)),
    ("k8s-long-name", |s| {
        s.len() <= 253 && s.split('.').all(is_label)
    }),
];

impl Format {
    /// The format of this name, if the server knows it for the type.
    pub fn supported(name: &str, json_type: JsonType, int_or_string: bool) -> Option<Self> {
        if name.is_empty() || int_or_string {
            return None;
        }
        match (json_type, name) {
            (JsonType::Integer, "int32") => Some(Self::Int32),
            (JsonType::Integer, "int64") => Some(Self::Int64),
            (JsonType::Number, "float") => Some(Self::Float),
            (JsonType::Number, "double") => Some(Self::Double),
            (JsonType::String | JsonType::Unset, name) => {
                let bare = name.replace('-', "");
                let row = TEXT
                    .iter()
                    .position(|(known, _)| known.replace('-', "") == bare)?;
                Some(Self::Text {
                    row: u8::try_from(row).ok()?,
                    bare: name != TEXT[row].0,
                })
            }
            _ => None,
        }
    }

    /// Whether a string is of this format. Formats of numbers demand nothing of strings.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Text { row, .. } => TEXT[usize::from(row)].1(text),
            _ => true,
        }
    }

    /// As the schema has it.
    pub fn name(self) -> std::borrow::Cow<'static, str> {
        match self {
            Self::Text { bare: true, .. } => self.written().replace('-', "").into(),
            _ => self.written().into(),
        }
    }

    /// As it is registered: `date-time`, however the schema writes it.
    pub fn written(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::Text { row, .. } => TEXT[usize::from(row)].0,
        }
    }

    /// Whether it is one of strings.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text { .. })
    }
}

fn is_bson_object_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Go's `url.ParseRequestURI`: absolute, or an absolute path.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let Some((scheme, rest)) = scheme(text) else {
        return false;
    };
    if scheme.is_empty() && !rest.starts_with('/') {
        return false;
    }
    let (before_query, _) = rest.split_once('?').unwrap_or((rest, ""));
    if !before_query.starts_with('/') {
        // Opaque: `mailto:a`.
        return !scheme.is_empty();
    }
    let (authority, path) = match before_query.strip_prefix("//") {
        Some(after) if !scheme.is_empty() || !before_query.starts_with("///") => {
            let end = after.find('/').unwrap_or(after.len());
            after.split_at(end)
        }
        _ => ("", before_query),
    };
    is_authority(authority) && escapes_are_whole(path)
}

/// `http` and what follows; an empty scheme if there is none; nothing if it is malformed.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return None,
            b':' => return Some((&text[..at], &text[at + 1..])),
            _ => return Some(("", text)),
        }
    }
    Some(("", text))
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let user_ok = user
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b));
    let (name, port) = match host.strip_prefix('[') {
        Some(inside) => match inside.split_once(']') {
            Some((address, port)) => (address, port),
            None => return false,
        },
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let port_ok =
        port.is_empty() || (port.starts_with(':') && port[1..].bytes().all(|b| b.is_ascii_digit()));
    let name_ok = name
        .bytes()
        .all(|b| b >= 0x80 || b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]<>\"%".contains(&b));
    user_ok && port_ok && name_ok && escapes_are_whole(name) && escapes_are_whole(user)
}

fn escapes_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, b)| {
        *b != b'%'
            || bytes
                .get(at + 1..at + 3)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Go's `mail.ParseAddress` for what occurs: `a@b`, `Name <a@b>`, `"quoted name" <a@b>`.
fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    let address = match text.strip_suffix('>') {
        Some(rest) => match rest.rsplit_once('<') {
            Some((name, address)) => {
                let name = name.trim();
                let quoted = name.len() >= 2 && name.starts_with('"') && name.ends_with('"');
                if !quoted && name.contains(['<', '>', '@', ',', ';', ':', '"', '(', ')', '[', ']'])
                {
                    return false;
                }
                address
            }
            None => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let is_atom = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| {
                !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
            })
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let literal = domain.starts_with('[') && domain.ends_with(']');
    (quoted || local.split('.').all(is_atom)) && (literal || domain.split('.').all(is_atom))
}

/// Labels of letters, digits, symbols and inner dashes; the last of several is letters alone.
fn is_hostname(text: &str) -> bool {
    if text.is_empty() || text.len() > 255 {
        return false;
    }
    let is_letter = |c: char| {
        c.is_ascii_alphanumeric()
            || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
            || "$+<=>^`|~".contains(c)
    };
    let labels: Vec<&str> = text.split('.').collect();
    let (last, others) = labels.split_last().unwrap_or((&"", &[]));
    let is_label = |label: &str| {
        label.len() <= 63
            && label.starts_with(is_letter)
            && label.ends_with(is_letter)
            && label.chars().all(|c| c == '-' || is_letter(c))
    };
    if others.is_empty() {
        // Upstream's first alternative knows one dash, after the first character.
        return is_label(last) && last.chars().skip(2).all(is_letter);
    }
    others.iter().all(|label| is_label(label))
        && (2..=63).contains(&last.chars().count())
        && last.chars().all(char::is_alphabetic)
}

fn is_ipv4(text: &str) -> bool {
    text.contains('.') && api::names::parse_ip_sloppy(text).is_some()
}

fn is_ipv6(text: &str) -> bool {
    text.contains(':') && text.parse::<Ipv6Addr>().is_ok()
}

/// Go's `net.ParseMAC`: 6, 8 or 20 bytes, by colons, dashes or in groups of four by dots.
fn is_mac(text: &str) -> bool {
    for (separator, digits, lengths) in [
        (':', 2, [6, 8, 20]),
        ('-', 2, [6, 8, 20]),
        ('.', 4, [3, 4, 10]),
    ] {
        if text.contains(separator) {
            let groups: Vec<&str> = text.split(separator).collect();
            return lengths.contains(&groups.len())
                && groups
                    .iter()
                    .all(|g| g.len() == digits && g.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }
    false
}

/// With or without dashes, each dash by itself. Versions 4 and 5 also fix the variant.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    for (group, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if group > 0 && bytes.get(at) == Some(&b'-') {
            at += 1;
        }
        let Some(digits) = bytes.get(at..at + length) else {
            return false;
        };
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        let first = char::from(digits[0]).to_ascii_lowercase();
        match (group, version) {
            (2, Some(version)) if first != version => return false,
            (3, Some('4' | '5')) if !"89ab".contains(first) => return false,
            _ => {}
        }
        at += length;
    }
    at == bytes.len()
}

fn digits_of(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '-' | ' ' | '\t' | '\n'))
        .collect()
}

fn is_isbn10(text: &str) -> bool {
    let text = digits_of(text);
    let bytes = text.as_bytes();
    if bytes.len() != 10 || !bytes[..9].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let last = match bytes[9] {
        b'X' => 10,
        digit if digit.is_ascii_digit() => u32::from(digit - b'0'),
        _ => return false,
    };
    let sum: u32 = (1..)
        .zip(&bytes[..9])
        .map(|(i, b)| i * u32::from(b - b'0'))
        .sum();
    (sum + 10 * last).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let text = digits_of(text);
    let bytes = text.as_bytes();
    if bytes.len() != 13 || !bytes.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let weighed = bytes[..12].iter().enumerate().map(|(i, b)| {
        let weight = if i % 2 == 0 { 1 } else { 3 };
        weight * u32::from(b - b'0')
    });
    let sum: u32 = weighed.sum();
    u32::from(bytes[12] - b'0') == (10 - sum % 10) % 10
}

/// By the number ranges of the issuers and Luhn's sum.
fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| number.starts_with(p));
    let second_in =
        |range: std::ops::RangeInclusive<u32>| digits.get(1).is_some_and(|d| range.contains(d));
    let known = match digits.len() {
        13 => starts(&["4"]),
        14 => starts(&["36", "38"]) || (starts(&["30"]) && digits.get(2).is_some_and(|d| *d <= 5)),
        15 => starts(&["34", "37", "2131", "1800"]),
        16 => {
            starts(&["4", "6011", "65", "35"])
                || (starts(&["5"]) && second_in(1..=5))
                || (starts(&["22", "23", "24", "25", "26", "27"]))
        }
        19 => starts(&["62", "4"]),
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match i % 2 {
            0 => *d,
            _ => d * 2 / 10 + d * 2 % 10,
        })
        .sum();
    known && sum.is_multiple_of(10)
}

fn is_ssn(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let bytes = text.as_bytes();
    let separators_ok = bytes.iter().enumerate().all(|(i, b)| {
        b.is_ascii_digit() || (matches!(b, b'-' | b' ') && (i == 3 || i == 5 || i == 6))
    });
    text.len() == 11 && digits.len() == 9 && separators_ok
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_rgb_color(text: &str) -> bool {
    let Some(inside) = text
        .strip_prefix("rgb(")
        .and_then(|rest| rest.strip_suffix(')'))
    else {
        return false;
    };
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let canonical = |part: &&str| part.parse::<u8>().is_ok_and(|n| n.to_string() == **part);
    parts.len() == 3 && parts.iter().all(canonical)
}

/// Standard alphabet, padded, and not empty.
fn is_base64(text: &str) -> bool {
    !text.is_empty() && BASE64.decode(text).is_ok()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// RFC 3339 in either case, but any character before the fraction and no check of the offset: so it is upstream.
fn is_date_time(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut parts = text.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    let bytes = time.as_bytes();
    let two = |at: usize, most: u8| {
        bytes.get(at..at + 2).is_some_and(|d| {
            d.iter().all(u8::is_ascii_digit) && (d[0] - b'0') * 10 + d[1] - b'0' <= most
        })
    };
    let clock = two(0, 23) && two(3, 59) && two(6, 59);
    if !is_date(date) || !clock || bytes.get(2) != Some(&b':') || bytes.get(5) != Some(&b':') {
        return false;
    }
    let rest = &time[8..];
    let zone = rest
        .char_indices()
        .nth(1)
        .filter(|_| !is_zone(rest))
        .map_or(rest, |(at, _)| {
            rest[at..].trim_start_matches(|c: char| c.is_ascii_digit())
        });
    is_zone(zone)
}

fn is_zone(text: &str) -> bool {
    let bytes = text.as_bytes();
    text == "z"
        || (bytes.len() == 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit()))
}

/// Go's durations, and Scala's: any run of `3 days`, `2 wk`.
fn is_duration(text: &str) -> bool {
    if apimachinery::time::parse_duration(text).is_ok() {
        return true;
    }
    const UNITS: &[&[&str]] = &[
        &["ns", "nano"],
        &["us", "µs", "micro"],
        &["ms", "milli"],
        &["s", "sec"],
        &["m", "min"],
        &["h", "hr", "hour"],
        &["d", "day"],
        &["w", "wk", "week"],
    ];
    let mut found = false;
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[start..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let number = &rest[..end];
        rest = rest[end..].trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic() && c != 'µ')
            .unwrap_or(rest.len());
        let unit = rest[..end].to_lowercase();
        rest = &rest[end..];
        if unit.is_empty() {
            continue;
        }
        if number.parse::<i64>().is_err() {
            return false;
        }
        found |= UNITS.iter().any(|variants| {
            variants.contains(&&*unit) || variants.last().is_some_and(|last| unit.starts_with(last))
        });
    }
    found
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(inner)
        && bytes.last().is_some_and(inner)
        && bytes.iter().all(|b| inner(b) || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_strings() {
        for (format, good, bad) in [
            ("byte", "eA==", "!!"),
            ("ipv4", "192.0.2.1", "999.1.1.1"),
            ("ipv6", "::1", "1.2.3.4"),
            ("uri", "https://x", "not a uri"),
            ("uri", "/path?q=%20", "relative/path"),
            ("duration", "3s", "3x"),
            ("duration", "2 weeks", "weeks"),
            ("date", "2024-02-29", "2023-02-29"),
            ("date-time", "2024-02-29T01:02:03Z", "yesterday"),
            (
                "datetime",
                "2024-02-29t01:02:03.5+01:00",
                "2024-02-29T24:02:03Z",
            ),
            ("email", "A B <a.b@c.d>", "a b@c"),
            ("hostname", "a-b.example", "-a.example"),
            ("hostname", "localhost", "a..b"),
            ("cidr", "10.0.0.0/8", "10.0.0.0"),
            ("mac", "01:23:45:67:89:ab", "01:23:45:67:89"),
            ("uuid", "f47ac10b-58cc-4372-A567-0e02b2c3d479", "f47ac10b"),
            (
                "uuid4",
                "f47ac10b-58cc-4372-a567-0e02b2c3d479",
                "f47ac10b-58cc-3372-a567-0e02b2c3d479",
            ),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("isbn10", "0321751043", "0321751044"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "123-45-6789", "123-45-678"),
            ("hexcolor", "#FFFFFF", "#FFFFF"),
            ("rgbcolor", "rgb(255, 255,2)", "rgb(256,0,0)"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
            ("k8s-short-name", "a-1", "A"),
            ("k8s-long-name", "a.b-1", "a..b"),
        ] {
            let format = Format::supported(format, JsonType::String, false).unwrap();
            assert!(format.accepts(good), "{good}");
            assert!(!format.accepts(bad), "{bad}");
        }
        assert_eq!(Format::supported("nope", JsonType::String, false), None);
        assert_eq!(Format::supported("int32", JsonType::String, false), None);
        assert_eq!(
            Format::supported("int32", JsonType::Integer, false),
            Some(Format::Int32)
        );
    }
}
