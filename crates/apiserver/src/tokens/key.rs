//! Keys that sign and verify service account tokens: RSA (RS256) and elliptic curves (ES256, ES384, ES512), from PEM.
//!
//! Accepted, as upstream's `keyutil` accepts them: private keys in PKCS#1, SEC 1 and PKCS#8; public keys in SubjectPublicKeyInfo, PKCS#1
//! and certificates. A private key also gives its public half. The key id is upstream's: the base64url SHA-256 of the
//! SubjectPublicKeyInfo, so that tokens of either server verify at the other.

use std::sync::Arc;

use base::der;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    digest, rand,
    signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey},
};
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};

use super::p521;

/// `AlgorithmIdentifier` of rsaEncryption.
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// `AlgorithmIdentifier` of an id-ecPublicKey on prime256v1.
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];
/// `AlgorithmIdentifier` of an id-ecPublicKey on secp384r1.
const EC_P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x22,
];

/// `AlgorithmIdentifier` of an id-ecPublicKey on secp521r1.
const EC_P521: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x23,
];

/// A JWS algorithm (RFC 7518).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5, SHA-256.
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// ECDSA on P-384, SHA-384.
    Es384,
    /// ECDSA on P-521, SHA-512.
    Es512,
}

impl Algorithm {
    /// As it stands in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    fn identifier(self) -> &'static [u8] {
        match self {
            Self::Rs256 => RSA,
            Self::Es256 => EC_P256,
            Self::Es384 => EC_P384,
            Self::Es512 => EC_P521,
        }
    }

    fn of_point(point: &[u8]) -> Option<Self> {
        match point.len() {
            65 => Some(Self::Es256),
            97 => Some(Self::Es384),
            133 => Some(Self::Es512),
            _ => None,
        }
    }
}

/// Verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    algorithm: Algorithm,
    /// PKCS#1 `RSAPublicKey`, or an uncompressed point.
    key: Vec<u8>,
}

impl PublicKey {
    fn new(algorithm: Algorithm, key: Vec<u8>) -> Self {
        let info = der::subject_public_key_info(algorithm.identifier(), &key);
        let id = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &info));
        Self { id, algorithm, key }
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        let key = info.subject_public_key.data.to_vec();
        match info.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" => Ok(Self::new(Algorithm::Rs256, key)),
            "1.2.840.10045.2.1" => {
                let algorithm =
                    Algorithm::of_point(&key).ok_or(KeyError::Unsupported("elliptic curve"))?;
                Ok(Self::new(algorithm, key))
            }
            _ => Err(KeyError::Unsupported("public key algorithm")),
        }
    }

    /// The `kid` of tokens it verifies.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The algorithm it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::Es512 => return p521::verifies(&self.key, message, signature),
        };
        UnparsedPublicKey::new(algorithm, &self.key)
            .verify(message, signature)
            .is_ok()
    }

    /// As a JSON Web Key (RFC 7517), members in upstream's order.
    pub fn to_jwk(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (kid, alg) = (&self.id, self.algorithm.name());
        let curve = |name: &str| {
            let (x, y) = self.key[1..].split_at((self.key.len() - 1) / 2);
            json!({"use": "sig", "kty": "EC", "kid": kid, "crv": name, "alg": alg, "x": encode(x), "y": encode(y)})
        };
        match self.algorithm {
            Algorithm::Rs256 => {
                let (modulus, exponent) = rsa_parts(&self.key).unwrap_or_default();
                json!({"use": "sig", "kty": "RSA", "kid": kid, "alg": alg, "n": encode(modulus), "e": encode(exponent)})
            }
            Algorithm::Es256 => curve("P-256"),
            Algorithm::Es384 => curve("P-384"),
            Algorithm::Es512 => curve("P-521"),
        }
    }
}

fn rsa_parts(mut key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut body = der::expect(&mut key, der::SEQUENCE)?;
    let modulus = der::expect(&mut body, der::INTEGER)?;
    let exponent = der::expect(&mut body, der::INTEGER)?;
    Some((der::unsigned(modulus), der::unsigned(exponent)))
}

/// Signs tokens.
#[derive(Clone)]
pub struct PrivateKey {
    signer: Signer,
    public: PublicKey,
}

#[derive(Clone)]
enum Signer {
    Rsa(Arc<RsaKeyPair>),
    Ecdsa(Arc<EcdsaKeyPair>),
    P521(Arc<p521::Signer>),
}

impl PrivateKey {
    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = rand::SystemRandom::new();
        match &self.signer {
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &signature::RSA_PKCS1_SHA256,
                    &random,
                    message,
                    &mut signature,
                )
                .map_err(|_| KeyError::Signing)?;
                Ok(signature)
            }
            Signer::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| KeyError::Signing)?;
                Ok(signature.as_ref().to_vec())
            }
            Signer::P521(key) => key.sign(message).ok_or(KeyError::Signing),
        }
    }

    fn rsa(pair: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Self, KeyError> {
        let pair = pair.map_err(|error| KeyError::Rejected(error.to_string()))?;
        let public = PublicKey::new(Algorithm::Rs256, pair.public_key().as_ref().to_vec());
        Ok(Self {
            signer: Signer::Rsa(Arc::new(pair)),
            public,
        })
    }

    fn ecdsa(
        algorithm: Algorithm,
        pair: Result<EcdsaKeyPair, ring::error::KeyRejected>,
    ) -> Result<Self, KeyError> {
        let pair = pair.map_err(|error| KeyError::Rejected(error.to_string()))?;
        let public = PublicKey::new(algorithm, pair.public_key().as_ref().to_vec());
        Ok(Self {
            signer: Signer::Ecdsa(Arc::new(pair)),
            public,
        })
    }

    fn p521(scalar: &[u8]) -> Result<Self, KeyError> {
        let signer = p521::Signer::new(scalar)
            .ok_or_else(|| KeyError::Rejected("not a scalar of P-521".to_owned()))?;
        let public = PublicKey::new(Algorithm::Es512, signer.point());
        Ok(Self {
            signer: Signer::P521(Arc::new(signer)),
            public,
        })
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Some(key) = p521_in_pkcs8(der) {
            return Self::from_sec1(key);
        }
        let random = rand::SystemRandom::new();
        let attempts = [
            Self::ecdsa(
                Algorithm::Es256,
                EcdsaKeyPair::from_pkcs8(signing(Algorithm::Es256), der, &random),
            ),
            Self::ecdsa(
                Algorithm::Es384,
                EcdsaKeyPair::from_pkcs8(signing(Algorithm::Es384), der, &random),
            ),
        ];
        attempts
            .into_iter()
            .find_map(Result::ok)
            .map_or_else(|| Self::rsa(RsaKeyPair::from_pkcs8(der)), Ok)
    }

    fn from_sec1(mut der: &[u8]) -> Result<Self, KeyError> {
        let (private, point) =
            sec1_parts(&mut der).ok_or(KeyError::Unsupported("EC private key"))?;
        // The one curve whose point need not be there: it is worked out.
        if private.len() == p521::SCALAR {
            return Self::p521(private);
        }
        let point = point.ok_or(KeyError::Unsupported("EC private key"))?;
        let algorithm =
            Algorithm::of_point(point).ok_or(KeyError::Unsupported("elliptic curve"))?;
        let random = rand::SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            signing(algorithm),
            private,
            point,
            &random,
        );
        Self::ecdsa(algorithm, pair)
    }
}

fn signing(algorithm: Algorithm) -> &'static signature::EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        // Neither RSA nor P-521 is signed with by these.
        Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Es512 => {
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING
        }
    }
}

/// The `ECPrivateKey` in a `PrivateKeyInfo`, if it is one of P-521.
fn p521_in_pkcs8(mut der: &[u8]) -> Option<&[u8]> {
    let mut body = der::expect(&mut der, der::SEQUENCE)?;
    der::expect(&mut body, der::INTEGER)?;
    let algorithm = der::expect(&mut body, der::SEQUENCE)?;
    let key = der::expect(&mut body, der::OCTET_STRING)?;
    (der::write(der::SEQUENCE, algorithm) == EC_P521).then_some(key)
}

/// The scalar and the point of an `ECPrivateKey`.
fn sec1_parts<'a>(der: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let mut body = der::expect(der, der::SEQUENCE)?;
    der::expect(&mut body, der::INTEGER)?;
    let private = der::expect(&mut body, der::OCTET_STRING)?;
    while let Some((tag, mut contents)) = der::read(&mut body) {
        if tag == 0xa1 {
            let bits = der::expect(&mut contents, der::BIT_STRING)?;
            return Some((private, Some(bits.strip_prefix(&[0])?)));
        }
    }
    Some((private, None))
}

/// Why a key was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not PEM, or holds no key.
    #[error("no key found in PEM: {0}")]
    Pem(String),
    /// A sort of key that tokens cannot use.
    #[error("unsupported {0}")]
    Unsupported(&'static str),
    /// The key is malformed or too weak.
    #[error("key rejected: {0}")]
    Rejected(String),
    /// The signature could not be made.
    #[error("signing failed")]
    Signing,
}

/// The first private key in `pem`.
pub fn private_key(pem: &[u8]) -> Result<PrivateKey, KeyError> {
    for (kind, der) in sections(pem)? {
        match kind {
            SectionKind::RsaPrivateKey => return PrivateKey::rsa(RsaKeyPair::from_der(&der)),
            SectionKind::EcPrivateKey => return PrivateKey::from_sec1(&der),
            SectionKind::PrivateKey => return PrivateKey::from_pkcs8(&der),
            _ => {}
        }
    }
    Err(KeyError::Pem("no private key".to_owned()))
}

/// All keys in `pem`, private ones as their public halves.
pub fn public_keys(pem: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    let mut keys = Vec::new();
    for (kind, der) in sections(pem)? {
        keys.push(match kind {
            SectionKind::RsaPrivateKey => PrivateKey::rsa(RsaKeyPair::from_der(&der))?.public,
            SectionKind::EcPrivateKey => PrivateKey::from_sec1(&der)?.public,
            SectionKind::PrivateKey => PrivateKey::from_pkcs8(&der)?.public,
            SectionKind::PublicKey => {
                let (_, info) = SubjectPublicKeyInfo::from_der(&der)
                    .map_err(|error| KeyError::Rejected(error.to_string()))?;
                PublicKey::from_info(&info)?
            }
            SectionKind::Certificate => {
                let (_, certificate) = X509Certificate::from_der(&der)
                    .map_err(|error| KeyError::Rejected(error.to_string()))?;
                PublicKey::from_info(certificate.public_key())?
            }
            _ => continue,
        });
    }
    if keys.is_empty() {
        Err(KeyError::Pem("no key".to_owned()))
    } else {
        Ok(keys)
    }
}

fn sections(pem: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, KeyError> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| KeyError::Pem(error.to_string()))
}
