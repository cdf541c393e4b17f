//! JSON Web Tokens in compact form (RFC 7515, 7519), signed by the keys of [`super::key`].

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::key::{KeyError, PrivateKey, PublicKey};

/// Longer tokens are refused unread.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// A token taken apart. Nothing in it is to be believed before [`Jwt::verify`].
#[derive(Debug)]
pub struct Jwt<'a> {
    signed: &'a str,
    algorithm: String,
    key_id: String,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(serde::Deserialize)]
struct Header {
    #[serde(default)]
    alg: String,
    #[serde(default)]
    kid: String,
    /// Extensions that must be understood; none is.
    crit: Option<serde_json::Value>,
}

impl<'a> Jwt<'a> {
    /// Takes a token apart; `None` if it does not look like one.
    pub fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.crit.is_some() {
            return None;
        }
        Some(Self {
            signed,
            algorithm: header.alg,
            key_id: header.kid,
            claims: decode(claims)?,
            signature: decode(signature)?,
        })
    }

    /// The claims as they stand, unverified: good for nothing but choosing who should verify.
    pub fn unverified_claims<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.claims).ok()
    }

    /// The `alg` of the header.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The `kid` of the header; may be empty.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Whether `verify` finds the signature to be one of what it signs.
    pub fn is_signed(&self, verify: impl FnOnce(&[u8], &[u8]) -> bool) -> bool {
        verify(self.signed.as_bytes(), &self.signature)
    }

    /// The claims, if one of `keys` has signed them. A key id narrows the choice; the algorithm must be the key's own.
    pub fn verify<'k, T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = &'k PublicKey>,
    ) -> Option<T> {
        let message = self.signed.as_bytes();
        keys.into_iter()
            .filter(|key| self.key_id.is_empty() || key.id() == self.key_id)
            .filter(|key| key.algorithm().name() == self.algorithm)
            .any(|key| key.verifies(message, &self.signature))
            .then(|| self.unverified_claims())
            .flatten()
    }
}

/// Signs `claims`.
pub fn sign(claims: &impl Serialize, key: &PrivateKey) -> Result<String, KeyError> {
    let header =
        json!({"alg": key.public().algorithm().name(), "kid": key.public().id()}).to_string();
    let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Signing)?;
    let mut token = BASE64_URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
