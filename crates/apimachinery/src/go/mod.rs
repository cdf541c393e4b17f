//! What of Go stands in upstream's messages: values decoded without a schema as `%v`, `%#v`, `%T` and `encoding/json` print them, integers and truth values
//! as `strconv` reads and refuses them, fields by their names in structs.

mod fields;

use std::{
    num::{IntErrorKind, ParseIntError},
    str::FromStr,
};

use serde_json::Value;

use crate::quote;

pub use fields::field_name;

/// `%v`: `map[a:1 b:[x y]]`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) if number.is_i64() => number.to_string(),
        Value::Number(number) => float(number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{key}:{}", plain(value));
            let entries: Vec<String> = map.iter().map(entry).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// `%#v`: `map[string]interface {}{"a":1, "b":[]interface {}{"x", "y"}}`.
pub fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let entry =
                |(key, value): (&String, &Value)| format!("{}:{}", quote(key), syntax(value));
            let entries: Vec<String> = map.iter().map(entry).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
        Value::Bool(_) | Value::Number(_) => plain(value),
    }
}

/// `%T`: `map[string]interface {}`.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The name of the value's `reflect.Kind`.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        scalar => type_name(scalar),
    }
}

/// As `encoding/json` marshals it: angle brackets and ampersands of texts escaped.
pub fn json(value: &Value) -> String {
    escape_markup(value.to_string())
}

/// JSON in which what could be taken for markup, or in a script for the end of a line, is escaped. It stands in texts alone.
pub fn escape_markup(json: String) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

/// `%v` of a float: the shortest digits, with an exponent from a million on and below a ten-thousandth.
pub fn float(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return match float {
            f if f.is_nan() => "NaN".to_owned(),
            f if f > 0.0 => "+Inf".to_owned(),
            _ => "-Inf".to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    float.to_string()
}

/// `strconv.ParseInt` of base 10 and the bits of `T`, with its error.
///
/// # Errors
/// `strconv.ParseInt: parsing "x": invalid syntax`.
pub fn parse_int<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error| not_parsed("ParseInt", text, &error))
}

/// `strconv.ParseUint` of base 10 and the bits of `T`, with its error. No sign is taken, a plus neither.
///
/// # Errors
/// `strconv.ParseUint: parsing "x": invalid syntax`.
pub fn parse_uint<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    let digits = text.strip_prefix('+').map_or(text, |_| "");
    digits
        .parse()
        .map_err(|error| not_parsed("ParseUint", text, &error))
}

fn not_parsed(function: &str, text: &str, error: &ParseIntError) -> String {
    let reason = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {}: {reason}", quote(text))
}

/// A truth value as `strconv` reads it; `None` for what it refuses.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_in_all_forms() {
        let tree = json!({"b": [1, 1.5e9, "x\n"], "a": {"n": null, "<t>": true}});
        assert_eq!(
            plain(&tree),
            "map[a:map[<t>:true n:<nil>] b:[1 1.5e+09 x\n]]"
        );
        assert_eq!(
            syntax(&tree),
            r#"map[string]interface {}{"a":map[string]interface {}{"<t>":true, "n":interface {}(nil)}, "b":[]interface {}{1, 1.5e+09, "x\n"}}"#
        );
        assert_eq!(json(&tree["a"]), r#"{"\u003ct\u003e":true,"n":null}"#);
        assert_eq!(type_name(&tree), "map[string]interface {}");
        assert_eq!(kind(&tree), "map");
        // An integer that Go's int64 cannot hold is decoded as a float.
        assert_eq!(type_name(&json!(u64::MAX)), "float64");
        assert_eq!(plain(&json!(u64::MAX)), "1.8446744073709552e+19");
    }

    #[test]
    fn integers() {
        assert_eq!((parse_int("+7"), parse_int("-7")), (Ok(7), Ok(-7_i64)));
        assert_eq!(parse_uint::<u64>("07"), Ok(7));
        for (error, message) in [
            (parse_int(""), r#"ParseInt: parsing "": invalid syntax"#),
            (
                parse_int("1.5"),
                r#"ParseInt: parsing "1.5": invalid syntax"#,
            ),
            (
                parse_int("9223372036854775808"),
                r#"ParseInt: parsing "9223372036854775808": value out of range"#,
            ),
            (
                parse_uint::<u64>("+1").map(|_| 0),
                r#"ParseUint: parsing "+1": invalid syntax"#,
            ),
            (
                parse_uint::<u64>("-1").map(|_| 0),
                r#"ParseUint: parsing "-1": invalid syntax"#,
            ),
            (
                parse_uint::<u16>("70000").map(i64::from),
                r#"ParseUint: parsing "70000": value out of range"#,
            ),
        ] {
            assert_eq!(error, Err(format!("strconv.{message}")));
        }
    }

    #[test]
    fn floats() {
        for (number, printed) in [
            (0.5, "0.5"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(float(number), printed);
        }
    }
}
