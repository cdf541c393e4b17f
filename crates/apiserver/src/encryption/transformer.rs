//! Which provider encrypts and decrypts which resource's values.

use std::{sync::Arc, time::Duration};

use apimachinery::gvk::GroupResource;
use bytes::Bytes;

use super::{
    ciphers::{Cipher, CipherError},
    configuration::{ConfigurationError, EncryptionConfiguration, ProviderConfiguration},
    kms::{self, Kms},
    resource_of,
};

/// Why a value is not encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransformError {
    /// It is framed as no provider of its resource frames.
    #[error("no matching prefix found")]
    NoMatchingPrefix,
    /// It is encrypted, and its resource is not.
    #[error("identity transformer tried to read encrypted data")]
    Encrypted,
    /// The cipher refuses.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// There is no randomness.
    #[error("no randomness: {0}")]
    Random(String),
    /// The KMS plugin refuses, or does not answer.
    #[error(transparent)]
    Kms(#[from] kms::KmsError),
}

/// What all encrypted values begin with.
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// One provider's key: what its values begin with, and how they are made.
struct Provider {
    prefix: Vec<u8>,
    kind: Kind,
}

enum Kind {
    Identity,
    Cipher(Cipher),
    Kms(Arc<Kms>),
}

struct Rule {
    resources: Vec<Pattern>,
    providers: Vec<Provider>,
}

/// Resources by name: `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group), `*.*`.
enum Pattern {
    All,
    Group(String),
    Resource(GroupResource),
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        match (resource, group) {
            ("*", "*") => Self::All,
            ("*", group) => Self::Group(group.to_owned()),
            (resource, group) => Self::Resource(GroupResource {
                group: group.to_owned().into(),
                resource: resource.to_owned().into(),
            }),
        }
    }

    fn covers(&self, resource: &GroupResource) -> bool {
        match self {
            Self::All => true,
            Self::Group(group) => *group == resource.group,
            Self::Resource(wanted) => wanted == resource,
        }
    }
}

/// A configuration, ready for use.
pub(super) struct Transformers {
    rules: Vec<Rule>,
}

impl Transformers {
    pub(super) fn new(configuration: &EncryptionConfiguration) -> Result<Self, ConfigurationError> {
        let mut rules = Vec::new();
        for entry in &configuration.resources {
            let mut providers = Vec::new();
            for provider in &entry.providers {
                providers.extend(Provider::of(provider)?);
            }
            rules.push(Rule {
                resources: entry
                    .resources
                    .iter()
                    .map(|text| Pattern::parse(text))
                    .collect(),
                providers,
            });
        }
        Ok(Self { rules })
    }

    /// Whether values under this key are for us. What is not configured is not touched, whatever it holds.
    pub(super) fn concerns(&self, key: &[u8]) -> bool {
        self.providers(key).is_some()
    }

    fn providers(&self, key: &[u8]) -> Option<&[Provider]> {
        let resource = resource_of(key)?;
        let rule = self.rules.iter().find(|rule| {
            rule.resources
                .iter()
                .any(|pattern| pattern.covers(&resource))
        })?;
        Some(&rule.providers)
    }

    pub(super) async fn encrypt(&self, key: &[u8], plain: &Bytes) -> Result<Bytes, TransformError> {
        let Some(first) = self.providers(key).and_then(<[Provider]>::first) else {
            return Ok(plain.clone());
        };
        let body = match &first.kind {
            Kind::Identity => return Ok(plain.clone()),
            Kind::Cipher(cipher) => {
                let mut random = [0; 32];
                let random = &mut random[..cipher.random_bytes()];
                getrandom::fill(random)
                    .map_err(|error| TransformError::Random(error.to_string()))?;
                cipher.encrypt(plain, key, random)?
            }
            Kind::Kms(kms) => kms.encrypt(plain, key).await?,
        };
        let mut out = Vec::with_capacity(first.prefix.len() + body.len());
        out.extend_from_slice(&first.prefix);
        out.extend_from_slice(&body);
        Ok(out.into())
    }

    pub(super) async fn decrypt(&self, key: &[u8], data: &Bytes) -> Result<Bytes, TransformError> {
        let Some(providers) = self.providers(key) else {
            return Ok(data.clone());
        };
        let mut last = TransformError::NoMatchingPrefix;
        for provider in providers {
            let Some(body) = data.strip_prefix(provider.prefix.as_slice()) else {
                continue;
            };
            let outcome = match &provider.kind {
                Kind::Identity if data.starts_with(ENCRYPTED) => Err(TransformError::Encrypted),
                Kind::Identity => return Ok(data.clone()),
                Kind::Cipher(cipher) => cipher.decrypt(body, key).map_err(Into::into),
                Kind::Kms(kms) => kms.decrypt(body, key).await.map_err(Into::into),
            };
            match outcome {
                Ok(plain) => return Ok(plain.into()),
                // Two providers may frame alike: the next may know the key.
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether a value was not written by the first provider.
    pub(super) fn is_stale(&self, key: &[u8], data: &[u8]) -> bool {
        let Some(first) = self.providers(key).and_then(<[Provider]>::first) else {
            return false;
        };
        match &first.kind {
            Kind::Identity => data.starts_with(ENCRYPTED),
            Kind::Cipher(_) => !data.starts_with(&first.prefix),
            Kind::Kms(kms) => data
                .strip_prefix(first.prefix.as_slice())
                .is_none_or(|body| kms.is_stale(body)),
        }
    }
}

impl Provider {
    /// The keys of a provider, in their order.
    fn of(provider: &ProviderConfiguration) -> Result<Vec<Self>, ConfigurationError> {
        let ciphers = |name: &str,
                       keys: &[(String, Vec<u8>)],
                       make: fn(&[u8]) -> Result<Cipher, CipherError>| {
            keys.iter()
                .map(|(key_name, secret)| {
                    let cipher = make(secret).map_err(|error| ConfigurationError::Key {
                        name: key_name.clone(),
                        reason: error.to_string(),
                    })?;
                    Ok(Self {
                        prefix: format!("k8s:enc:{name}:v1:{key_name}:").into_bytes(),
                        kind: Kind::Cipher(cipher),
                    })
                })
                .collect()
        };
        match provider {
            ProviderConfiguration::Identity => Ok(vec![Self {
                prefix: Vec::new(),
                kind: Kind::Identity,
            }]),
            ProviderConfiguration::AesCbc(keys) => ciphers("aescbc", keys, Cipher::aes_cbc),
            ProviderConfiguration::AesGcm(keys) => ciphers("aesgcm", keys, Cipher::aes_gcm),
            ProviderConfiguration::Secretbox(keys) => ciphers("secretbox", keys, Cipher::secretbox),
            ProviderConfiguration::Kms {
                name,
                endpoint,
                timeout,
            } => Ok(vec![Self {
                prefix: format!("k8s:enc:kms:v2:{name}:").into_bytes(),
                kind: Kind::Kms(Arc::new(Kms::new(
                    endpoint,
                    timeout.unwrap_or(Duration::from_secs(3)),
                ))),
            }]),
        }
    }
}
