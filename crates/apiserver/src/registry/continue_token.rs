//! Continue tokens: where the next page of a list begins, and of which revision it is. Opaque to clients; upstream's form, so that a
//! token outlives a change of server.

use apimachinery::status::Status;
use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig},
};
use etcd::Revision;
use serde::{Deserialize, Serialize};

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContinueToken {
    /// The revision of the list; `None` lets the rest be of now (what a client that got 410 may settle for).
    pub revision: Option<Revision>,
    /// The first key of the next page lies after this one.
    pub after: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
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
        let bytes = BASE64.decode(token).map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) => at,
                _ => token.len(),
            };
            bad(format!(
                "continue key is not valid: illegal base64 data at input byte {at}"
            ))
        })?;
        let encoded: Encoded = serde_json::from_slice(&bytes).map_err(|_| {
            let first = bytes.first().copied().map(char::from).unwrap_or_default();
            let shown = if first.is_ascii_graphic() { first.to_string() } else { format!("\\u{:04x}", u32::from(first)) };
            bad(format!("continue key is not valid: invalid character '{shown}' looking for beginning of value"))
        })?;
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
        let relative = encoded.start.trim_end_matches('\0');
        if relative.split('/').any(|part| part == "..") {
            return Err(bad(format!("continue key is not valid: {}", encoded.start)));
        }
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
        assert_eq!(
            message("!!"),
            "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"
        );
    }
}
