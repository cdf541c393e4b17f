//! YAML into JSON, so that all else is written for JSON alone, as upstream does.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error};

/// Turns a YAML document into JSON text. `strict` refuses keys that stand twice; otherwise the last one wins.
///
/// # Errors
/// `error converting YAML to JSON: yaml: …`, with the line.
pub fn to_json(body: &[u8], strict: bool) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        return Ok(b"null".to_vec());
    }
    let duplicates = if strict {
        DuplicateKeyPolicy::Error
    } else {
        DuplicateKeyPolicy::LastWins
    };
    let options = serde_saphyr::options! {
        duplicate_keys: duplicates,
        with_snippet: false,
        strict_booleans: true,
    };
    let value: Value = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| format!("error converting YAML to JSON: yaml: {}", wording(&error)))?;
    serde_json::to_vec(&value).map_err(|error| format!("error converting YAML to JSON: {error}"))
}

fn wording(error: &Error) -> String {
    let line = error.location().map(|at| at.line()).unwrap_or_default();
    match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.clone().unwrap_or_default();
            format!("unmarshal errors:\n  line {line}: key {key:?} already set in map")
        }
        other => {
            let message = other.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("line {line}: {message}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_told_with_their_line() {
        let text = b"a: 1\nb: {x: '1', x: '2'}\n";
        assert_eq!(
            to_json(text, true).unwrap_err(),
            "error converting YAML to JSON: yaml: unmarshal errors:\n  line 2: key \"x\" already set in map"
        );
        assert_eq!(to_json(text, false).unwrap(), br#"{"a":1,"b":{"x":"2"}}"#);
        assert_eq!(to_json(b"", true).unwrap(), b"null");
        assert_eq!(
            to_json(b"1: a\nt: 2024-01-01\nn: ~\nb: true\ns: yes please\n", true).unwrap(),
            br#"{"1":"a","b":true,"n":null,"s":"yes please","t":"2024-01-01"}"#
        );
        assert!(
            to_json(b"{{{", true)
                .unwrap_err()
                .starts_with("error converting YAML to JSON: yaml: line 1: ")
        );
    }
}
