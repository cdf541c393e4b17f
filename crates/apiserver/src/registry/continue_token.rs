//! Continue tokens: where the next page of a list begins, and of which revision it is. Opaque to clients; upstream's form, so that a
//! token outlives a change of server.

use apimachinery::{decode, status::Status};
use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use etcd::Revision;
use serde::Serialize;
use serde_json::Value;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContinueToken {
    /// The revision of the list; `None` lets the rest be of now (what a client that got 410 may settle for).
    pub revision: Option<Revision>,
    /// The first key of the next page lies after this one.
    pub after: Vec<u8>,
}

#[derive(Default, Serialize)]
struct Encoded {
    v: String,
    rv: i64,
    start: String,
}

impl Encoded {
    /// Reads JSON, with the errors of Go's decoder.
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(decode::no_value(bytes.first().copied().unwrap_or_default()));
        };
        let (tree, _) = decode::untyped(bytes).map_err(|error| error.to_string())?;
        let Value::Object(members) = tree else {
            if tree.is_null() {
                return Ok(Self::default());
            }
            return Err(format!(
                "json: cannot unmarshal {} into Go value of type storage.continueToken",
                decode::kind_name(text.as_bytes())
            ));
        };
        let mut encoded = Self::default();
        for (name, value) in members {
            let go_type = if name == "rv" { "int64" } else { "string" };
            match (name.as_str(), &value) {
                (_, Value::Null) => {}
                ("v", Value::String(version)) => encoded.v.clone_from(version),
                ("start", Value::String(start)) => encoded.start.clone_from(start),
                ("rv", Value::Number(number)) if number.is_i64() => {
                    encoded.rv = number.as_i64().unwrap_or_default();
                }
                ("v" | "rv" | "start", _) => {
                    let shown = value.to_string();
                    let kind = decode::kind_name(shown.as_bytes());
                    let number = if value.is_number() && name == "rv" {
                        format!(" {shown}")
                    } else {
                        String::new()
                    };
                    return Err(format!(
                        "json: cannot unmarshal {kind}{number} into Go struct field continueToken.{name} of type {go_type}"
                    ));
                }
                _ => {}
            }
        }
        Ok(encoded)
    }
}

const VERSION: &str = "meta.k8s.io/v1";

/// URL-safe, without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);

impl ContinueToken {
    /// The token as clients carry it. `namespace` is the list's: keys in tokens are relative to it.
    pub(super) fn encode(&self, namespace: &str) -> String {
        let key = String::from_utf8_lossy(&self.after);
        let relative = match namespace {
            "" => &key,
            _ => key.strip_prefix(&format!("{namespace}/")).unwrap_or(&key),
        };
        let encoded = Encoded {
            v: VERSION.to_owned(),
            rv: self.revision.map_or(-1, |r| r.0),
            start: format!("{relative}\0"),
        };
        BASE64.encode(serde_json::to_vec(&encoded).unwrap_or_default())
    }

    /// Reads a token.
    pub(super) fn decode(token: &str, namespace: &str) -> Result<Self, Status> {
        let bad = |reason: String| Status::bad_request(format!("invalid continue token: {reason}"));
        let bytes = BASE64.decode(token).map_err(|_| {
            let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let illegal = token.bytes().position(|byte| !is_digit(byte));
            let at = illegal.unwrap_or_else(|| token.len().saturating_sub(1));
            bad(format!(
                "continue key is not valid: illegal base64 data at input byte {at}"
            ))
        })?;
        let encoded = Encoded::read(&bytes)
            .map_err(|error| bad(format!("continue key is not valid: {error}")))?;
        if encoded.v != VERSION {
            return Err(bad(format!(
                "continue key is not valid: server does not recognize this encoded version {}",
                encoded.v
            )));
        }
        if encoded.rv == 0 {
            return Err(bad(
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
                    .to_owned(),
            ));
        }
        if encoded.start.is_empty() {
            return Err(bad(
                "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"
                    .to_owned(),
            ));
        }
        // Nothing that would lead out of the list.
        let key = encoded.start.strip_prefix('/').unwrap_or(&encoded.start);
        let mut parts = key.split('/');
        if !key.is_empty() && parts.any(|part| matches!(part, "" | "." | "..")) {
            return Err(bad(format!("continue key is not valid: {}", encoded.start)));
        }
        let relative = key.trim_end_matches('\0');
        let after = match namespace {
            "" => relative.to_owned(),
            _ => format!("{namespace}/{relative}"),
        };
        Ok(Self {
            revision: (encoded.rv > 0).then_some(Revision(encoded.rv)),
            after: after.into_bytes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let token = ContinueToken {
            revision: Some(Revision(7)),
            after: b"d/c0".to_vec(),
        };
        assert_eq!(
            ContinueToken::decode(&token.encode("d"), "d").unwrap(),
            token
        );
        let anywhere = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYzBcdTAwMDAifQ";
        let token = ContinueToken::decode(anywhere, "d").unwrap();
        assert_eq!(
            (token.revision, token.after.as_slice()),
            (None, &b"d/c0"[..])
        );
    }

    #[test]
    fn damaged_tokens_are_refused_as_upstream_words_it() {
        let message = |token: &str| ContinueToken::decode(token, "d").unwrap_err().message;
        assert_eq!(
            message("nonsense"),
            "invalid continue token: continue key is not valid: invalid character '\\u009e' looking for beginning of value"
        );
        for (token, reason) in [
            ("!!", "illegal base64 data at input byte 0"),
            ("abcde", "illegal base64 data at input byte 4"),
            ("Ww", "unexpected end of JSON input"),
            ("bnVsbA", "server does not recognize this encoded version "),
            (
                "W10",
                "json: cannot unmarshal array into Go value of type storage.continueToken",
            ),
            (
                "eyJydiI6MS41fQ",
                "json: cannot unmarshal number 1.5 into Go struct field continueToken.rv of type int64",
            ),
            (
                "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiIuLi94In0",
                "../x",
            ),
        ] {
            let expected = format!("invalid continue token: continue key is not valid: {reason}");
            assert_eq!(message(token), expected, "{token}");
        }
    }
}
