//! YAML into JSON, so that all else is written for JSON alone, as upstream does.
//!
//! Scalars are resolved as `sigs.k8s.io/yaml` resolves them, by YAML 1.1: `n`, `yes` and `off` are truth values, `010` is eight. Only the
//! first document of a stream counts; what follows is not read. Errors are worded as libyaml's port words them.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Number, Value};

/// How deep a document may nest.
const MAX_DEPTH: usize = 256;
/// How many nodes aliases may copy, all together.
const MAX_ALIASED: usize = 100_000;

/// How the error begins that JSON does not have a value: its encoder tells of it.
const UNSUPPORTED: &str = "json: unsupported value";

/// Turns a YAML document into JSON text. `strict` refuses keys that stand twice; otherwise the last one wins.
///
/// # Errors
/// `error converting YAML to JSON: yaml: …`, with the line.
pub fn to_json(body: &[u8], strict: bool) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(body);
    let (value, duplicates) = first_document(&text).map_err(|error| {
        let teller = if error.starts_with(UNSUPPORTED) {
            ""
        } else {
            "yaml: "
        };
        format!("error converting YAML to JSON: {teller}{error}")
    })?;
    if strict && !duplicates.is_empty() {
        return Err(format!(
            "error converting YAML to JSON: yaml: unmarshal errors:\n{}",
            duplicates.join("\n")
        ));
    }
    serde_json::to_vec(&value).map_err(|error| format!("error converting YAML to JSON: {error}"))
}

/// The first document, and the keys that stand twice in it.
fn first_document(text: &str) -> Result<(Value, Vec<String>), String> {
    if let Some(line) = tab_before_all(text) {
        let problem = "found character that cannot start any token";
        return Err(match line {
            0 => problem.to_owned(),
            line => format!("line {}: {problem}", line + 1),
        });
    }
    match compose(text) {
        // The parser looks ahead of what the first document needs; libyaml does not mind what it sees there.
        Err(error) if BEHIND.iter().any(|behind| error.ends_with(behind)) => {
            flow_collection(text).map_or(Err(error), compose)
        }
        composed => composed,
    }
}

/// What is wrong with what follows a list or a map in brackets alone.
const BEHIND: [&str; 2] = [
    "misplaced bracket",
    "comments must be separated from other tokens by whitespace",
];

/// The list or map in brackets that a text begins with, if there is more behind it.
fn flow_collection(text: &str) -> Option<&str> {
    let start = text.find(|c: char| !c.is_whitespace())?;
    let (mut depth, mut quote) = (0, None);
    let mut bytes = text.bytes().enumerate().skip(start);
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(b'"'), b'\\') => _ = bytes.next(),
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => {
                depth -= 1;
                if depth == 0 {
                    let (first, rest) = text.split_at(at + 1);
                    return (!rest.is_empty()).then_some(first);
                }
            }
            (None, _) if depth == 0 => return None,
            (None, _) => {}
        }
    }
    None
}

/// The line, from nought, on which a tab stands before anything else. It is no indentation.
fn tab_before_all(text: &str) -> Option<usize> {
    for (at, line) in text.split('\n').enumerate() {
        match line.trim_start_matches([' ', '\r']).as_bytes().first() {
            Some(b'\t') => return Some(at),
            None | Some(b'#') => {}
            Some(_) => return None,
        }
    }
    None
}

/// Escapes that JSON has and libyaml has not: a solidus, and the halves of a rune beyond the first 65,536.
const JSON_ESCAPES: [&str; 3] = [r"\/", r"\ud", r"\uD"];

/// What is wrong with the first of them in the text between double quotes.
fn json_escape(quoted: &str) -> Option<&'static str> {
    let mut rest = quoted;
    while let Some(at) = rest.find('\\') {
        let escape = &rest.as_bytes()[at + 1..];
        match escape {
            [b'/', ..] => return Some("found unknown escape character"),
            [
                b'u',
                b'd' | b'D',
                b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F',
                ..,
            ] => {
                return Some(NO_RUNE);
            }
            _ => {}
        }
        // The escaped character may be one of several bytes.
        let escaped = rest[at + 1..].chars().next().map_or(0, char::len_utf8);
        rest = &rest[at + 1 + escaped..];
    }
    None
}

const NO_RUNE: &str = "found invalid Unicode character escape code";

fn compose(text: &str) -> Result<(Value, Vec<String>), String> {
    // As libyaml has it.
    let options = granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        bom_inside_document_as_content: true,
        emit_comments: false,
    };
    let mut composer = Composer {
        text,
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        duplicates: Vec::new(),
        aliased: 0,
        has_json_escapes: JSON_ESCAPES.iter().any(|escape| text.contains(escape)),
    };
    loop {
        match composer.next()?.0 {
            Event::StreamEnd => return Ok((Value::Null, Vec::new())),
            Event::DocumentStart(..) => {
                let (event, line) = composer.next()?;
                let value = composer.node(event, line, 0)?;
                return Ok((value, composer.duplicates));
            }
            _ => {}
        }
    }
}

struct Composer<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    duplicates: Vec<String>,
    aliased: usize,
    /// Whether any escape of JSON's own may be in the text.
    has_json_escapes: bool,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), String> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let line = span.start.line();
                if self.has_json_escapes
                    && matches!(&event, Event::Scalar(_, ScalarStyle::DoubleQuoted, ..))
                    && let Some(problem) = span.slice(self.text).and_then(json_escape)
                {
                    return Err(match line {
                        0 | 1 => problem.to_owned(),
                        line => format!("line {line}: {problem}"),
                    });
                }
                Ok((event, line))
            }
            Some(Err(error)) => Err(wording(&error, self.text)),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("exceeded max depth of 10000".to_owned());
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref())?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, line) => items.push(self.node(event, line, depth + 1)?),
                    }
                }
                (Value::Array(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned().unwrap_or_default();
                self.aliased += size(&value);
                if self.aliased > MAX_ALIASED {
                    return Err("document contains excessive aliasing".to_owned());
                }
                return Ok(value);
            }
            _ => return Err(format!("line {line}: unknown problem parsing YAML content")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, line, depth + 1)?;
            let (event, value_line) = self.next()?;
            let value = self.node(event, value_line, depth + 1)?;
            if merges {
                merged.push(value);
                continue;
            }
            let key = name(&key)?;
            if map.contains_key(&key) {
                // The line is that of the value.
                self.duplicates.push(format!(
                    "  line {value_line}: key {key:?} already set in map"
                ));
            }
            map.insert(key, value);
        }
        // What stands in the map itself comes before what is merged in, and the first merged before the later.
        for source in merged {
            let sources = match source {
                Value::Array(sources) => sources,
                source => vec![source],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    return Err(
                        "map merge requires map or sequence of maps as the value".to_owned()
                    );
                };
                for (key, value) in source {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// A key, as JSON has it.
fn name(key: &Value) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(key.to_string()),
        Value::Null => Ok("null".to_owned()),
        Value::Array(_) | Value::Object(_) => {
            Err("invalid map key: only scalars can be keys in JSON".to_owned())
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let tag = tag.map(|tag| tag.suffix().to_owned());
    let value = match tag.as_deref() {
        Some("str") => return Ok(Value::from(text)),
        Some("binary") => {
            let bytes = BASE64.decode(text.replace(['\n', ' '], ""));
            let bytes = bytes.map_err(|_| "!!binary value contains invalid base64 data")?;
            return Ok(String::from_utf8_lossy(&bytes).into_owned().into());
        }
        None if style != ScalarStyle::Plain => return Ok(Value::from(text)),
        _ => match infinite(text) {
            Some(value) => return Err(format!("{UNSUPPORTED}: {value}")),
            None => plain(text),
        },
    };
    let fits = match tag.as_deref() {
        Some("int") => value.is_i64() || value.is_u64(),
        Some("float") => value.is_number(),
        Some("bool") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => true,
    };
    if fits {
        return Ok(value);
    }
    let own = match &value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        _ => "str",
    };
    let tag = tag.unwrap_or_default();
    Err(format!("cannot decode !!{own} `{text}` as a !!{tag}"))
}

/// Go's name of what is no number that JSON has.
fn infinite(text: &str) -> Option<&'static str> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some("+Inf"),
        "-.inf" | "-.Inf" | "-.INF" => Some("-Inf"),
        ".nan" | ".NaN" | ".NAN" => Some("NaN"),
        _ => None,
    }
}

/// A scalar that is not quoted.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let number = begins
        .then(|| integer(text).or_else(|| float(text)))
        .flatten();
    number.map_or_else(|| Value::from(text), Value::Number)
}

fn integer(text: &str) -> Option<Number> {
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(magnitude.into());
    }
    0_i64.checked_sub_unsigned(magnitude).map(Number::from)
}

/// Digits with a point or an exponent.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let good = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|e| {
            let e = e.strip_prefix(['+', '-']).unwrap_or(e);
            !e.is_empty() && digits(e)
        });
    let value: f64 = good.then(|| text.parse().ok()).flatten()?;
    // Go writes a float without a fraction as an integer.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "whole and small enough to be exact"
    )]
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Some((value as i64).into());
    }
    Number::from_f64(value)
}

/// As libyaml's port has it: the line, unless it is the first, and the problem without what was being parsed. What goes wrong among tokens is
/// told with the number of the line, what goes wrong in the grammar with the number of the line before.
fn wording(error: &ScanError, text: &str) -> String {
    let info = error.info();
    let problem = info.rsplit(", ").next().unwrap_or(&info);
    // Lines count from one; what is wrong in the first is told without.
    let line = error.marker().line();
    let (line, problem) = if info.starts_with("unclosed bracket") || info.contains("unexpected EOF")
    {
        // At the end, libyaml stands on the line after the last.
        return format!("line {}: {}", text.lines().count(), at_the_end(&info, text));
    } else if info == "unclosed quote" {
        let breaks = text.matches('\n').count();
        (breaks + 1, "found unexpected end of stream")
    } else if problem == "found unknown anchor" {
        let name = alias_at(text, error.marker().index());
        return format!("unknown anchor '{name}' referenced");
    } else if info.starts_with("unexpected character: `\\u{") {
        return "control characters are not allowed".to_owned();
    } else if info.starts_with("unexpected character")
        || info.contains(" tab")
        || info.starts_with("tab")
    {
        (line, "found character that cannot start any token")
    } else if info == "recursion limit exceeded" {
        return "exceeded max depth of 10000".to_owned();
    } else if info == "simple key expected ':'" {
        (line + 1, "could not find expected ':'")
    } else if problem.contains("surrogate") {
        (if line == 1 { 0 } else { line }, NO_RUNE)
    } else if problem == "expected ',' or ']'" {
        (line.saturating_sub(1), "did not find expected ',' or ']'")
    } else if info.starts_with("while parsing a") && problem.starts_with("did not find expected") {
        (line.saturating_sub(1), problem)
    } else {
        // The first line has no number among tokens.
        (if line == 1 { 0 } else { line }, problem)
    };
    let in_the_first = matches!(line, 0 | 1) && !text.trim_end().contains('\n');
    match line {
        0 => problem.to_owned(),
        _ if in_the_first => problem.to_owned(),
        line => format!("line {line}: {problem}"),
    }
}

/// What is missing where a document ends too early.
fn at_the_end(info: &str, text: &str) -> &'static str {
    if text.trim_end().ends_with(['[', '{', ',', ':']) {
        "did not find expected node content"
    } else if info.contains('{') || info.contains("mapping") {
        "did not find expected ',' or '}'"
    } else {
        "did not find expected ',' or ']'"
    }
}

/// The name of the alias that stands at a character.
fn alias_at(text: &str, index: usize) -> String {
    let rest = text.chars().skip(index).skip_while(|c| *c != '*').skip(1);
    rest.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        String::from_utf8(to_json(text.as_bytes(), false).unwrap()).unwrap()
    }

    #[test]
    fn duplicate_keys_are_told_with_their_line() {
        let text = b"a: 1\nb: {x: '1', x: '2'}\n";
        assert_eq!(
            to_json(text, true).unwrap_err(),
            "error converting YAML to JSON: yaml: unmarshal errors:\n  line 2: key \"x\" already set in map"
        );
        assert_eq!(to_json(text, false).unwrap(), br#"{"a":1,"b":{"x":"2"}}"#);
        assert!(
            to_json(b"a:\n  b: 1\na:\n  b: 1\n", true)
                .unwrap_err()
                .ends_with("  line 4: key \"a\" already set in map")
        );
    }

    #[test]
    fn scalars_are_resolved_as_in_yaml_1_1() {
        assert_eq!(json(""), "null");
        assert_eq!(json("# nothing\n"), "null");
        assert_eq!(
            json(
                "1: a\nt: 2024-01-01\nz: ~\nb: yes\ns: yes please\nq: 'n'\nf: 1.5\no: 010\nx: 0x1F\nm: -3\ni: 1_000\nv: 1.2.3\ne: 1e3\n"
            ),
            r#"{"1":"a","b":true,"e":1000,"f":1.5,"i":1000,"m":-3,"o":8,"q":"n","s":"yes please","t":"2024-01-01","v":"1.2.3","x":31,"z":null}"#
        );
        assert_eq!(json("n: 1\ny: 2\n"), r#"{"false":1,"true":2}"#);
        assert_eq!(
            json("a: !!str 1\nb: |\n  x\n  y\n"),
            "{\"a\":\"1\",\"b\":\"x\\ny\\n\"}"
        );
    }

    #[test]
    fn scalars_of_several_lines_are_read_as_by_libyaml() {
        // Continued no further in than what they belong to, as many a generator writes them.
        assert_eq!(
            json("a:\n  b: 'one\n  two\n\n  three'\n  c: \"four\n\tfive\"\n"),
            r#"{"a":{"b":"one two\nthree","c":"four five"}}"#
        );
        // The last line of the text, without an end.
        assert_eq!(json("a: |\n  x\n  y"), r#"{"a":"x\ny"}"#);
        assert_eq!(json("a: |\n  x\n  y\n"), r#"{"a":"x\ny\n"}"#);
    }

    #[test]
    fn comments_say_nothing() {
        let many = "# a line of a licence\n".repeat(500);
        assert_eq!(json(&format!("a:\n{many}- 1\n")), r#"{"a":[1]}"#);
        assert_eq!(
            json("a: 1 # one\n# two\nb: # three\n  c: 2\n"),
            r#"{"a":1,"b":{"c":2}}"#
        );
        assert_eq!(json("k: !!binary aGk=\n"), r#"{"k":"hi"}"#);
    }

    #[test]
    fn the_first_document_counts() {
        assert_eq!(json("a: 1\n---\nb: [\n"), r#"{"a":1}"#);
        assert_eq!(json("---\na: 1\n...\n"), r#"{"a":1}"#);
        for behind in ["]", "}", "# c", "\n]", " {}"] {
            let text = format!("{{\"a\": [1, '}}', \"\\\"]\"]}}{behind}");
            assert_eq!(json(&text), r#"{"a":[1,"}","\"]"]}"#, "{behind:?}");
        }
        assert_eq!(
            json(r#"{"a": "\\ud83d\\/", "b": '\/'}"#),
            r#"{"a":"\\ud83d\\/","b":"\\/"}"#
        );
    }

    #[test]
    fn anchors_and_merges() {
        assert_eq!(
            json("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc: *x\n"),
            r#"{"a":{"k":1,"l":2},"b":{"k":1,"l":3},"c":{"k":1,"l":2}}"#
        );
        let mut bomb = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n".to_owned();
        for pair in ["ab", "bc", "cd", "de", "ef", "fg"] {
            let (from, to) = pair.split_at(1);
            bomb += &format!(
                "{to}: &{to} [{}]\n",
                vec![format!("*{from}"); 10].join(", ")
            );
        }
        assert_eq!(
            to_json(bomb.as_bytes(), false).unwrap_err(),
            "error converting YAML to JSON: yaml: document contains excessive aliasing"
        );
    }

    #[test]
    fn errors_are_libyamls() {
        let error = |text: &str| {
            let error = to_json(text.as_bytes(), false).unwrap_err();
            error
                .trim_start_matches("error converting YAML to JSON: yaml: ")
                .to_owned()
        };
        assert_eq!(
            error("a: b: c\n\t- x"),
            "mapping values are not allowed in this context"
        );
        for (text, expected) in [
            ("{{{\n", "line 1: did not find expected node content"),
            ("key: [a", "line 1: did not find expected ',' or ']'"),
            (
                "a: 1\nb: {k: 'x'\n",
                "line 2: did not find expected ',' or '}'",
            ),
            (
                "a: 1\nb:\n   c: 1\n  d: 2\n",
                "line 3: did not find expected key",
            ),
            ("'unclosed", "found unexpected end of stream"),
            ("a: *b", "unknown anchor 'b' referenced"),
            ("a: @x", "found character that cannot start any token"),
            ("\tx: 1\n", "found character that cannot start any token"),
            ("\t", "found character that cannot start any token"),
            (
                "\n# c\n\t{}",
                "line 3: found character that cannot start any token",
            ),
            ("a: 1\nb", "line 3: could not find expected ':'"),
            ("a: 1\nb\nc: 2\n", "line 3: could not find expected ':'"),
            (r#"{"a": "\ud83d\ude00"}"#, NO_RUNE),
            (r#"{"a": "\ud83d"}"#, NO_RUNE),
            (
                "a: b\nc: \"\\ud83d\\ude00\"",
                "line 2: found invalid Unicode character escape code",
            ),
            (r#"{"a": "\/"}"#, "found unknown escape character"),
            ("a: \"\\z\"", "found unknown escape character"),
            ("a: !!int x", "cannot decode !!str `x` as a !!int"),
            ("\u{0}", "control characters are not allowed"),
        ] {
            assert_eq!(error(text), expected, "{text:?}");
        }
        assert!(to_json("[".repeat(5000).as_bytes(), false).is_err());
        assert_eq!(
            to_json(b"a: -.inf", false).unwrap_err(),
            "error converting YAML to JSON: json: unsupported value: -Inf"
        );
    }
}
