//! The ciphers, and how a value is laid out in each: what upstream's providers of these names write.

use aes::cipher::{
    BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _, block_padding::Pkcs7,
};
use aes_gcm::{
    AeadInPlace as _, AesGcm, KeyInit as _,
    aead::{Aead as _, Payload, consts::U12},
};
use crypto_secretbox::XSalsa20Poly1305;

/// Why a value is not decrypted, or a key is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CipherError {
    /// A key of another length.
    #[error("secret is not of the expected length, got {got}, expected one of {expected}")]
    KeyLength { got: usize, expected: &'static str },
    /// Fewer bytes than there must be.
    #[error("the stored data was shorter than the required size")]
    TooShort,
    /// Another key, other data, or another place.
    #[error("message authentication failed")]
    Authentication,
    /// CBC: another key, or other data.
    #[error("invalid padding on input")]
    Padding,
}

/// A key, and what it is used for.
pub(super) enum Cipher {
    /// `aescbc`: 16 bytes IV, then the value, padded. Does not authenticate.
    AesCbc(AesKey),
    /// `aesgcm`: 12 bytes nonce, then the value, then the tag. The key's path is authenticated.
    AesGcm(Box<GcmKey>),
    /// `secretbox`: 24 bytes nonce, then the tag, then the value.
    Secretbox(Box<XSalsa20Poly1305>),
}

/// A key by its length.
pub(super) enum AesKey {
    Aes128([u8; 16]),
    Aes192([u8; 24]),
    Aes256([u8; 32]),
}

/// AES-GCM by its length.
pub(super) enum GcmKey {
    Aes128(AesGcm<aes::Aes128, U12>),
    Aes192(AesGcm<aes::Aes192, U12>),
    Aes256(AesGcm<aes::Aes256, U12>),
}

const AES_LENGTHS: &str = "[16 24 32]";
const IV: usize = 16;
const GCM_NONCE: usize = 12;
const SECRETBOX_NONCE: usize = 24;

impl AesKey {
    fn new(key: &[u8]) -> Result<Self, CipherError> {
        let wrong = CipherError::KeyLength {
            got: key.len(),
            expected: AES_LENGTHS,
        };
        match key.len() {
            16 => key.try_into().map(Self::Aes128).map_err(|_| wrong),
            24 => key.try_into().map(Self::Aes192).map_err(|_| wrong),
            32 => key.try_into().map(Self::Aes256).map_err(|_| wrong),
            _ => Err(wrong),
        }
    }
}

impl Cipher {
    pub(super) fn aes_cbc(key: &[u8]) -> Result<Self, CipherError> {
        AesKey::new(key).map(Self::AesCbc)
    }

    pub(super) fn aes_gcm(key: &[u8]) -> Result<Self, CipherError> {
        let key = match AesKey::new(key)? {
            AesKey::Aes128(key) => GcmKey::Aes128(AesGcm::new(&key.into())),
            AesKey::Aes192(key) => GcmKey::Aes192(AesGcm::new(&key.into())),
            AesKey::Aes256(key) => GcmKey::Aes256(AesGcm::new(&key.into())),
        };
        Ok(Self::AesGcm(Box::new(key)))
    }

    pub(super) fn secretbox(key: &[u8]) -> Result<Self, CipherError> {
        let key = XSalsa20Poly1305::new_from_slice(key).map_err(|_| CipherError::KeyLength {
            got: key.len(),
            expected: "[32]",
        })?;
        Ok(Self::Secretbox(Box::new(key)))
    }

    /// The value encrypted, `random` being as many bytes as [`Cipher::random_bytes`] says. `place` is the key under which it will stand.
    pub(super) fn encrypt(
        &self,
        plain: &[u8],
        place: &[u8],
        random: &[u8],
    ) -> Result<Vec<u8>, CipherError> {
        let mut out = Vec::with_capacity(random.len() + plain.len() + 32);
        out.extend_from_slice(random);
        let body = match self {
            Self::AesCbc(key) => cbc_encrypt(key, random, plain)?,
            Self::AesGcm(key) => key.seal(random, plain, place)?,
            Self::Secretbox(key) => key
                .encrypt(random.into(), plain)
                .map_err(|_| CipherError::Authentication)?,
        };
        out.extend_from_slice(&body);
        Ok(out)
    }

    /// How many bytes of randomness each value needs.
    pub(super) fn random_bytes(&self) -> usize {
        match self {
            Self::AesCbc(_) => IV,
            Self::AesGcm(_) => GCM_NONCE,
            Self::Secretbox(_) => SECRETBOX_NONCE,
        }
    }

    pub(super) fn decrypt(&self, data: &[u8], place: &[u8]) -> Result<Vec<u8>, CipherError> {
        let (nonce, body) = data
            .split_at_checked(self.random_bytes())
            .ok_or(CipherError::TooShort)?;
        match self {
            Self::AesCbc(key) => cbc_decrypt(key, nonce, body),
            Self::AesGcm(key) => key.open(nonce, body, place),
            Self::Secretbox(key) => key
                .decrypt(nonce.into(), body)
                .map_err(|_| CipherError::Authentication),
        }
    }
}

impl GcmKey {
    fn seal(&self, nonce: &[u8], msg: &[u8], aad: &[u8]) -> Result<Vec<u8>, CipherError> {
        let payload = Payload { msg, aad };
        match self {
            Self::Aes128(key) => key.encrypt(nonce.into(), payload),
            Self::Aes192(key) => key.encrypt(nonce.into(), payload),
            Self::Aes256(key) => key.encrypt(nonce.into(), payload),
        }
        .map_err(|_| CipherError::Authentication)
    }

    fn open(&self, nonce: &[u8], data: &[u8], aad: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut out = data.to_vec();
        let nonce = nonce.into();
        match self {
            Self::Aes128(key) => key.decrypt_in_place(nonce, aad, &mut out),
            Self::Aes192(key) => key.decrypt_in_place(nonce, aad, &mut out),
            Self::Aes256(key) => key.decrypt_in_place(nonce, aad, &mut out),
        }
        .map_err(|_| CipherError::Authentication)?;
        Ok(out)
    }
}

fn cbc_encrypt(key: &AesKey, iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, CipherError> {
    let iv = iv.try_into().map_err(|_| CipherError::TooShort)?;
    let iv: [u8; IV] = iv;
    Ok(match key {
        AesKey::Aes128(key) => cbc::Encryptor::<aes::Aes128>::new(key.into(), &iv.into())
            .encrypt_padded_vec_mut::<Pkcs7>(plain),
        AesKey::Aes192(key) => cbc::Encryptor::<aes::Aes192>::new(key.into(), &iv.into())
            .encrypt_padded_vec_mut::<Pkcs7>(plain),
        AesKey::Aes256(key) => cbc::Encryptor::<aes::Aes256>::new(key.into(), &iv.into())
            .encrypt_padded_vec_mut::<Pkcs7>(plain),
    })
}

fn cbc_decrypt(key: &AesKey, iv: &[u8], data: &[u8]) -> Result<Vec<u8>, CipherError> {
    let iv: [u8; IV] = iv.try_into().map_err(|_| CipherError::TooShort)?;
    match key {
        AesKey::Aes128(key) => cbc::Decryptor::<aes::Aes128>::new(key.into(), &iv.into())
            .decrypt_padded_vec_mut::<Pkcs7>(data),
        AesKey::Aes192(key) => cbc::Decryptor::<aes::Aes192>::new(key.into(), &iv.into())
            .decrypt_padded_vec_mut::<Pkcs7>(data),
        AesKey::Aes256(key) => cbc::Decryptor::<aes::Aes256>::new(key.into(), &iv.into())
            .decrypt_padded_vec_mut::<Pkcs7>(data),
    }
    .map_err(|_| CipherError::Padding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn what_is_encrypted_is_decrypted_and_nothing_else() {
        let ciphers: [(&str, Cipher); 7] = [
            ("cbc 16", Cipher::aes_cbc(&[1; 16]).unwrap()),
            ("cbc 24", Cipher::aes_cbc(&[1; 24]).unwrap()),
            ("cbc 32", Cipher::aes_cbc(&[1; 32]).unwrap()),
            ("gcm 16", Cipher::aes_gcm(&[1; 16]).unwrap()),
            ("gcm 24", Cipher::aes_gcm(&[1; 24]).unwrap()),
            ("gcm 32", Cipher::aes_gcm(&[1; 32]).unwrap()),
            ("secretbox", Cipher::secretbox(&[1; 32]).unwrap()),
        ];
        for (name, cipher) in &ciphers {
            let random = vec![7; cipher.random_bytes()];
            for length in [0, 1, 15, 16, 17, 1000] {
                let plain = vec![3; length];
                let sealed = cipher
                    .encrypt(&plain, b"/registry/secrets/a", &random)
                    .unwrap();
                assert_eq!(
                    cipher.decrypt(&sealed, b"/registry/secrets/a").unwrap(),
                    plain,
                    "{name}"
                );
                for cut in 0..sealed.len().min(64) {
                    assert_ne!(
                        cipher.decrypt(&sealed[..cut], b"/registry/secrets/a"),
                        Ok(plain.clone()),
                        "{name}"
                    );
                }
                if !name.starts_with("cbc") {
                    let mut damaged = sealed.clone();
                    *damaged.last_mut().unwrap() ^= 1;
                    assert!(
                        cipher.decrypt(&damaged, b"/registry/secrets/a").is_err(),
                        "{name}"
                    );
                }
                if name.starts_with("gcm") {
                    assert!(
                        cipher.decrypt(&sealed, b"/registry/secrets/b").is_err(),
                        "moved"
                    );
                }
            }
        }
        assert!(Cipher::aes_cbc(&[1; 15]).is_err());
        assert!(Cipher::secretbox(&[1; 16]).is_err());
    }

    /// The vector of NaCl's own tests (`tests/secretbox.c`): the tag stands before the value.
    #[test]
    fn secretbox_is_nacls() {
        let key = bytes("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = bytes("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let sealed = Cipher::secretbox(&key).unwrap().encrypt(&bytes("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"), b"", &nonce).unwrap();
        assert_eq!(
            sealed[24..56],
            bytes("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce")
        );
    }

    /// NIST SP 800-38A F.2.5 (CBC-AES256), the first block.
    #[test]
    fn cbc_is_nists() {
        let key = bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let iv = bytes("000102030405060708090a0b0c0d0e0f");
        let plain = bytes("6bc1bee22e409f96e93d7e117393172a");
        let sealed = Cipher::aes_cbc(&key)
            .unwrap()
            .encrypt(&plain, b"", &iv)
            .unwrap();
        assert_eq!(sealed[16..32], bytes("f58c4c04d6e5f1ba779eabfb5f7bfbd6"));
    }
}
