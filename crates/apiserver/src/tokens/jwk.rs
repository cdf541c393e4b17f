//! JSON Web Keys (RFC 7517) of other issuers: verified with, never signed with. RSA and the elliptic curves P-256, P-384 and P-521.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use super::p521;

/// The algorithms that keys here verify (RFC 7518).
pub const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
];

/// More keys than this are not taken from one issuer.
const MAX_KEYS: usize = 128;

/// A key as it is published.
#[derive(Debug, Deserialize)]
struct Published {
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    alg: String,
    #[serde(default, rename = "use")]
    purpose: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

#[derive(Deserialize)]
struct PublishedSet {
    keys: Vec<serde_json::Value>,
}

/// A key that can verify.
#[derive(Clone, Debug)]
pub struct JsonWebKey {
    id: String,
    /// The only algorithm it is for; empty for any that fits.
    algorithm: String,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
}

/// The keys of a set (`{"keys": […]}`). Those of unknown sorts are left out: an issuer may publish more than we verify with.
pub fn parse_set(document: &[u8]) -> Result<Vec<JsonWebKey>, serde_json::Error> {
    let set: PublishedSet = serde_json::from_slice(document)?;
    let keys = set.keys.into_iter().take(MAX_KEYS);
    Ok(keys
        .filter_map(|key| serde_json::from_value(key).ok())
        .filter_map(JsonWebKey::of)
        .collect())
}

impl JsonWebKey {
    fn of(key: Published) -> Option<Self> {
        if !matches!(key.purpose.as_str(), "" | "sig") {
            return None;
        }
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let point = |size: usize| {
            let (x, y) = (decode(&key.x)?, decode(&key.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (key.kty.as_str(), key.crv.as_str()) {
            ("RSA", _) => Material::Rsa {
                modulus: strip_zeroes(decode(&key.n)?),
                exponent: strip_zeroes(decode(&key.e)?),
            },
            ("EC", "P-256") => Material::P256(point(32)?),
            ("EC", "P-384") => Material::P384(point(48)?),
            ("EC", "P-521") => Material::P521(point(p521::SCALAR)?),
            _ => return None,
        };
        Some(Self {
            id: key.kid,
            algorithm: key.alg,
            material,
        })
    }

    /// Whether tokens that name this key id may be its own.
    pub fn answers_to(&self, key_id: &str) -> bool {
        key_id.is_empty() || self.id == key_id
    }

    /// Whether `signature` is this key's over `message` by this algorithm.
    pub fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        if !self.algorithm.is_empty() && self.algorithm != algorithm {
            return false;
        }
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                let Some(parameters) = rsa(algorithm) else {
                    return false;
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(parameters, message, signature).is_ok()
            }
            Material::P256(point) => {
                algorithm == "ES256"
                    && UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                        .verify(message, signature)
                        .is_ok()
            }
            Material::P384(point) => {
                algorithm == "ES384"
                    && UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                        .verify(message, signature)
                        .is_ok()
            }
            Material::P521(point) => {
                algorithm == "ES512" && p521::verifies(point, message, signature)
            }
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Integers are published without sign octets, but not by everybody; ring refuses leading zeroes.
fn strip_zeroes(number: Vec<u8>) -> Vec<u8> {
    let zeroes = number.iter().take_while(|octet| **octet == 0).count();
    number[zeroes..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::private_key;
    use serde_json::json;

    #[test]
    fn published_keys_verify_what_their_holder_signs() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = private_key(pair.serialize_pem().as_bytes()).unwrap();
        let set = json!({"keys": [
            {"kty": "OKP", "crv": "X25519", "x": "AA"},
            {"kty": "EC", "use": "enc", "crv": "P-256", "x": "AA", "y": "AA"},
            key.public().to_jwk(),
            "nonsense",
        ]});
        let keys = parse_set(set.to_string().as_bytes()).unwrap();
        let [published] = keys.as_slice() else {
            panic!("{keys:?}")
        };
        assert!(published.answers_to(key.public().id()) && published.answers_to(""));
        assert!(!published.answers_to("other"));
        let signature = key.sign(b"message").unwrap();
        assert!(published.verifies("ES256", b"message", &signature));
        for algorithm in ["none", "HS256", "RS256", "ES384", ""] {
            assert!(!published.verifies(algorithm, b"message", &signature));
        }
        assert!(!published.verifies("ES256", b"massage", &signature));
        assert!(parse_set(b"[]").is_err());
    }
}
