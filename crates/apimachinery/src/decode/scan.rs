//! A JSON scanner with the error messages of Go's `encoding/json`, over text that is known to be UTF-8.
//!
//! Our own because messages quote the offending character and what was expected of it, because type errors quote numbers as
//! written, and because schema-driven decoding reads keys as slices of the input.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use crate::{json_string::plain_end, schema::TypeRef};

/// Nesting beyond this is refused, as Go does.
const MAX_DEPTH: usize = 10_000;
/// Trees are built no deeper than this; nothing real comes near it.
const MAX_TREE_DEPTH: usize = 256;

/// Why a text is no JSON, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError(pub(crate) String);

type Result<T> = std::result::Result<T, SyntaxError>;

/// What a value begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl Kind {
    /// As Go's type errors name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Null => "null",
        }
    }
}

pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes().get(self.at) {
            self.at += 1;
        }
    }

    fn error<T>(&self, context: &str) -> Result<T> {
        // Go closes a text that ends with a space, which is wrong within what has no spaces.
        let spaceless = context.ends_with("literal")
            || context.starts_with("in literal")
            || context.contains("escape");
        let end = (spaceless && context != "in string literal").then_some(&b' ');
        Err(SyntaxError(match self.bytes().get(self.at).or(end) {
            None => "unexpected end of JSON input".to_owned(),
            Some(byte) => format!("invalid character {} {context}", quote(*byte)),
        }))
    }

    /// What comes next, without taking it.
    pub(crate) fn peek(&mut self) -> Result<Kind> {
        self.skip_space();
        Ok(match self.bytes().get(self.at) {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => return self.error("looking for beginning of value"),
        })
    }

    /// After the only value.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            self.error("after top-level value")
        }
    }

    fn open(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return self.error("exceeded max depth");
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    /// Takes `{` and the first key; `None` for `{}`.
    pub(crate) fn first_key(&mut self) -> Result<Option<Cow<'a, str>>> {
        self.open()?;
        self.skip_space();
        if self.bytes().get(self.at) == Some(&b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(None);
        }
        self.key().map(Some)
    }

    /// After a value: the next key, or `None` at `}`.
    pub(crate) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>> {
        self.skip_space();
        match self.bytes().get(self.at) {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                self.key().map(Some)
            }
            Some(b'}') => {
                self.at += 1;
                self.depth -= 1;
                Ok(None)
            }
            _ => self.error("after object key:value pair"),
        }
    }

    fn key(&mut self) -> Result<Cow<'a, str>> {
        if self.bytes().get(self.at) != Some(&b'"') {
            return self.error("looking for beginning of object key string");
        }
        let key = self.string()?;
        self.skip_space();
        if self.bytes().get(self.at) != Some(&b':') {
            return self.error("after object key");
        }
        self.at += 1;
        Ok(key)
    }

    /// Takes `[`; whether there is an item.
    pub(crate) fn first_item(&mut self) -> Result<bool> {
        self.open()?;
        self.skip_space();
        if self.bytes().get(self.at) == Some(&b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After an item: whether there is another.
    pub(crate) fn next_item(&mut self) -> Result<bool> {
        self.skip_space();
        match self.bytes().get(self.at) {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b']') => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => self.error("after array element"),
        }
    }

    /// A string, borrowed if it has no escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        self.at = plain_end(self.bytes(), start);
        match self.bytes().get(self.at) {
            Some(b'"') => {
                let text = &self.text[start..self.at];
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped(start).map(Cow::Owned),
            _ => self.error("in string literal"),
        }
    }

    fn escaped(&mut self, start: usize) -> Result<String> {
        let bytes = self.bytes();
        let mut out = String::from(&self.text[start..self.at]);
        let mut plain = self.at;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    let c = match bytes.get(self.at) {
                        Some(b'"') => '"',
                        Some(b'\\') => '\\',
                        Some(b'/') => '/',
                        Some(b'b') => '\u{8}',
                        Some(b'f') => '\u{c}',
                        Some(b'n') => '\n',
                        Some(b'r') => '\r',
                        Some(b't') => '\t',
                        Some(b'u') => {
                            self.at += 1;
                            out.push(self.unicode()?);
                            plain = self.at;
                            continue;
                        }
                        _ => return self.error("in string escape code"),
                    };
                    out.push(c);
                    self.at += 1;
                    plain = self.at;
                }
                Some(0..0x20) | None => return self.error("in string literal"),
                Some(_) => self.at += 1,
            }
        }
    }

    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self
                .bytes()
                .get(self.at)
                .and_then(|b| char::from(*b).to_digit(16));
            let Some(digit) = digit else {
                return self.error("in \\u hexadecimal character escape");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// After `\u`. Half a surrogate pair becomes U+FFFD, as in Go.
    fn unicode(&mut self) -> Result<char> {
        let code = self.hex()?;
        if (0xD800..0xDC00).contains(&code) && self.bytes()[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or('\u{FFFD}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(code).unwrap_or('\u{FFFD}'))
    }

    /// A number as it is written.
    pub(crate) fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.bytes().get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes().get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.error("in numeric literal"),
        }
        if self.bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            if !matches!(self.bytes().get(self.at), Some(b'0'..=b'9')) {
                return self.error("after decimal point in numeric literal");
            }
            self.digits();
        }
        if let Some(b'e' | b'E') = self.bytes().get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes().get(self.at) {
                self.at += 1;
            }
            if !matches!(self.bytes().get(self.at), Some(b'0'..=b'9')) {
                return self.error("in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// `true`, `false` or `null`; the first letter.
    pub(crate) fn literal(&mut self) -> Result<u8> {
        let first = self.bytes()[self.at];
        let word: &str = match first {
            b't' => "true",
            b'f' => "false",
            _ => "null",
        };
        for (index, expected) in word.char_indices() {
            if self.bytes().get(self.at) != Some(&(expected as u8)) {
                debug_assert!(index > 0, "peek saw the first letter");
                return self.error(&format!("in literal {word} (expecting '{expected}')"));
            }
            self.at += 1;
        }
        Ok(first)
    }

    /// Takes a value and throws it away, however deep it is.
    pub(crate) fn skip(&mut self) -> Result<()> {
        // Whether each of the values around is an object.
        let mut around: Vec<bool> = Vec::new();
        loop {
            let opened = match self.peek()? {
                Kind::Object => self.first_key()?.is_some().then_some(true),
                Kind::Array => self.first_item()?.then_some(false),
                Kind::String => {
                    self.string()?;
                    None
                }
                Kind::Number => {
                    self.number()?;
                    None
                }
                Kind::Bool | Kind::Null => {
                    self.literal()?;
                    None
                }
            };
            if let Some(object) = opened {
                around.push(object);
                continue;
            }
            // The value is over, and with it maybe some of those around it.
            loop {
                let more = match around.last() {
                    None => return Ok(()),
                    Some(true) => self.next_key()?.is_some(),
                    Some(false) => self.next_item()?,
                };
                if more {
                    break;
                }
                around.pop();
            }
        }
    }

    /// A value of any shape. `duplicate` hears of keys that stand twice, with the path to them; the last one wins.
    pub(crate) fn value(
        &mut self,
        path: &mut Path<'_>,
        duplicate: &mut dyn FnMut(String),
    ) -> Result<Value> {
        let kind = self.peek()?;
        if self.depth >= MAX_TREE_DEPTH && matches!(kind, Kind::Object | Kind::Array) {
            return self.error("exceeded max depth");
        }
        Ok(match kind {
            Kind::Object => {
                let mut map = Map::new();
                let mut key = self.first_key()?;
                while let Some(name) = key {
                    if map.contains_key(&*name) {
                        duplicate(path.child(&name));
                    }
                    let value =
                        path.within(Segment::Key(&name), |path| self.value(path, duplicate))?;
                    map.insert(name.into_owned(), value);
                    key = self.next_key()?;
                }
                Value::Object(map)
            }
            Kind::Array => {
                let mut items = Vec::new();
                let mut more = self.first_item()?;
                while more {
                    let at = Segment::Index(items.len());
                    items.push(path.within(at, |path| self.value(path, duplicate))?);
                    more = self.next_item()?;
                }
                Value::Array(items)
            }
            Kind::String => Value::String(self.string()?.into_owned()),
            Kind::Number => number_value(self.number()?)?,
            Kind::Bool => Value::Bool(self.literal()? == b't'),
            Kind::Null => {
                self.literal()?;
                Value::Null
            }
        })
    }
}

/// Integers stay integers, as with upstream's decoder of unstructured objects; the rest are floats.
/// Below this, every whole float is the integer that it shows.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

pub(crate) fn number_value(text: &str) -> Result<Value> {
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(Value::from(integer));
    }
    let float = text.parse::<f64>().ok();
    // Go writes a whole float without fraction: `3.0` comes back as `3`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and within what a float holds exactly"
    )]
    if let Some(whole) = float.filter(|f| f.fract() == 0.0 && f.abs() < MAX_EXACT && *f != 0.0) {
        return Ok(Value::from(whole as i64));
    }
    let float = float.and_then(Number::from_f64);
    float.map(Value::Number).ok_or_else(|| {
        SyntaxError(format!(
            "json: cannot unmarshal number {text} into Go value of type float64"
        ))
    })
}

/// A value was to begin, and this byte begins none.
pub fn no_value(byte: u8) -> String {
    format!(
        "invalid character {} looking for beginning of value",
        quote(byte)
    )
}

/// A byte as Go quotes it in syntax errors.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0B => r"'\v'".to_owned(),
        0x0C => r"'\f'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0..0x20 | 0x7F => format!(r"'\x{byte:02x}'"),
        0x80..0xA0 | 0xAD => format!(r"'\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

/// A step into a value.
#[derive(Clone, Copy)]
pub(crate) enum Segment<'a> {
    /// A key of JSON of any shape, or of a map: Go's errors do not name it.
    Key(&'a str),
    /// A field of a struct.
    Field(&'a str, TypeRef<'a>),
    Index(usize),
}

/// Where the decoder stands. Steps are kept on the callers' stacks, so that following a path costs no allocation.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    up: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

impl Path<'_> {
    pub(crate) const ROOT: Path<'static> = Path {
        up: None,
        segment: Segment::Key(""),
    };

    /// Does something one step further in.
    pub(crate) fn within<T>(
        &self,
        segment: Segment<'_>,
        run: impl FnOnce(&mut Path<'_>) -> T,
    ) -> T {
        run(&mut Path {
            up: Some(self),
            segment,
        })
    }

    /// `spec.containers[0].name`: the path of a field of this one.
    pub(crate) fn child(&self, name: &str) -> String {
        let mut out = String::new();
        self.write(&mut out);
        push_key(&mut out, name);
        out
    }

    fn write(&self, out: &mut String) {
        let Some(up) = self.up else { return };
        up.write(out);
        match self.segment {
            Segment::Key(key) | Segment::Field(key, _) => push_key(out, key),
            Segment::Index(index) => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
        }
    }

    /// The fields alone, as Go's type errors have them: neither indices nor keys of maps, but the structs that are embedded on the way.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let mut steps = Vec::new();
        let mut at = self;
        while let Some(up) = at.up {
            if let Segment::Field(name, of) = at.segment {
                steps.push((name, of));
            }
            at = up;
        }
        let mut names = Vec::with_capacity(steps.len());
        for (name, of) in steps.into_iter().rev() {
            names.extend(of.embedding(name));
            names.push(name);
        }
        names
    }
}

fn push_key(out: &mut String, key: &str) {
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<Value, String> {
        let mut scanner = Scanner::new(text);
        let value = scanner
            .value(&mut Path::ROOT.clone(), &mut |_| {})
            .map_err(|e| e.0)?;
        scanner.end().map_err(|e| e.0)?;
        Ok(value)
    }

    #[test]
    fn errors_are_those_of_go() {
        for (text, error) in [
            ("", "unexpected end of JSON input"),
            (r#"{"a":1"#, "unexpected end of JSON input"),
            (r#"{"a"#, "unexpected end of JSON input"),
            (
                r#"{"a":nul"#,
                "invalid character ' ' in literal null (expecting 'l')",
            ),
            ("-", "invalid character ' ' in numeric literal"),
            (
                "1.",
                "invalid character ' ' after decimal point in numeric literal",
            ),
            (r#""\"#, "invalid character ' ' in string escape code"),
            (
                "{a",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (
                r#"{"a":1 "b"}"#,
                "invalid character '\"' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            (
                "nul}",
                "invalid character '}' in literal null (expecting 'l')",
            ),
            ("\"\n\"", r"invalid character '\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "\u{9e}",
                "invalid character 'Â' looking for beginning of value",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text:?}");
        }
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert_eq!(
            parse(&deep).unwrap_err(),
            "invalid character '[' exceeded max depth"
        );
    }

    #[test]
    fn strings_are_unescaped() {
        assert_eq!(
            parse(r#""a\n\u00e9\ud83d\ude00\ud800x\/""#).unwrap(),
            "a\né😀\u{FFFD}x/"
        );
    }
}
