//! ES512: ECDSA on P-521 with SHA-512 (RFC 7518), which the crypto provider does not have.

use p521::ecdsa::{
    Signature, SigningKey, VerifyingKey,
    signature::{
        RandomizedSigner as _, Verifier as _,
        rand_core::{CryptoRng, Error, RngCore, impls},
    },
};

/// Octets of a scalar, and of each coordinate.
pub(super) const SCALAR: usize = 66;

/// A private key.
#[derive(Clone)]
pub(super) struct Signer(SigningKey);

impl Signer {
    /// Of a scalar; `None` if it is none of the curve's.
    pub(super) fn new(scalar: &[u8]) -> Option<Self> {
        // Some writers leave leading zeroes out.
        let mut padded = [0; SCALAR];
        let start = SCALAR.checked_sub(scalar.len())?;
        padded[start..].copy_from_slice(scalar);
        SigningKey::from_slice(&padded).ok().map(Self)
    }

    /// The uncompressed point.
    pub(super) fn point(&self) -> Vec<u8> {
        let key = VerifyingKey::from(&self.0);
        key.to_encoded_point(false).as_bytes().to_vec()
    }

    /// `r` and `s`, one behind the other.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature: Signature = self.0.try_sign_with_rng(&mut System, message).ok()?;
        Some(signature.to_bytes().to_vec())
    }
}

/// Whether the holder of `point` has signed.
pub(super) fn verifies(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = VerifyingKey::from_sec1_bytes(point);
    let (Ok(key), Ok(signature)) = (key, Signature::from_slice(signature)) else {
        return false;
    };
    key.verify(message, &signature).is_ok()
}

/// The kernel's randomness, as this library wants it.
struct System;

impl RngCore for System {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives randomness once it has started");
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for System {}

#[cfg(test)]
mod tests {
    use base::der;
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde_json::json;

    use super::*;
    use crate::tokens::{Algorithm, Jwt, jwk, private_key, public_keys, sign};

    fn pem(kind: &str, der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
    }

    #[test]
    fn tokens_are_signed_by_keys_in_either_form() {
        let scalar = [&[0][..], &[5; SCALAR - 1]].concat();
        let scalar = der::write(der::OCTET_STRING, &scalar);
        let key = der::write(der::SEQUENCE, &[vec![2, 1, 1], scalar].concat());
        let algorithm = [
            0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
            0x81, 0x04, 0x00, 0x23,
        ];
        let wrapped = der::write(der::OCTET_STRING, &key);
        let pkcs8 = [&[2, 1, 0][..], &algorithm, &wrapped].concat();
        let pkcs8 = der::write(der::SEQUENCE, &pkcs8);
        for pem in [pem("EC PRIVATE KEY", &key), pem("PRIVATE KEY", &pkcs8)] {
            let key = private_key(pem.as_bytes()).unwrap();
            assert_eq!(key.public().algorithm(), Algorithm::Es512);
            let token = sign(&json!({"sub": "a"}), &key).unwrap();
            let jwt = Jwt::parse(&token).unwrap();
            assert_eq!(jwt.algorithm(), "ES512");
            let keys = public_keys(pem.as_bytes()).unwrap();
            assert!(jwt.verify::<serde_json::Value>(&keys).is_some());
            // Others verify it by what we publish.
            let set = json!({"keys": [key.public().to_jwk()]}).to_string();
            let published = jwk::parse_set(set.as_bytes()).unwrap();
            let verifies = |algorithm: &str| {
                jwt.is_signed(|message, signature| {
                    published[0].verifies(algorithm, message, signature)
                })
            };
            assert!(verifies("ES512") && !verifies("ES384"));
        }
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let signer = Signer::new(&[7; SCALAR - 1]).unwrap();
        let point = signer.point();
        assert_eq!(point.len(), 1 + 2 * SCALAR);
        let signature = signer.sign(b"message").unwrap();
        assert_eq!(signature.len(), 2 * SCALAR);
        assert!(verifies(&point, b"message", &signature));
        assert!(!verifies(&point, b"massage", &signature));
        assert!(!verifies(&point, b"message", &signature[1..]));
        assert!(!verifies(&point[1..], b"message", &signature));
        assert!(!verifies(&[], b"", &[]));
        for scalar in [&[0; SCALAR][..], &[0xff; SCALAR], &[1; SCALAR + 1], &[]] {
            assert!(Signer::new(scalar).is_none());
        }
    }
}
