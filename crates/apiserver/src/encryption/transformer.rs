//! Which provider encrypts and decrypts which resource's values.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use apimachinery::gvk::GroupResource;
use bytes::Bytes;

use super::{
    ciphers::{Cipher, CipherError},
    configuration::{ConfigurationError, EncryptionConfiguration, ProviderConfiguration},
    kms::{self, Kms},
    metrics::{self, Direction, Metrics},
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
    metrics: Metrics,
}

impl TransformError {
    /// As metrics show it.
    fn code(&self) -> &'static str {
        match self {
            Self::Kms(error) => error.code(),
            _ => metrics::NOT_GRPC,
        }
    }
}

impl Transformers {
    pub(super) fn new(
        configuration: &EncryptionConfiguration,
        metrics: Metrics,
    ) -> Result<Self, ConfigurationError> {
        let mut rules = Vec::new();
        for entry in &configuration.resources {
            let mut providers = Vec::new();
            for provider in &entry.providers {
                providers.extend(Provider::of(provider, &metrics)?);
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
        Ok(Self { rules, metrics })
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
        let start = Instant::now();
        let outcome = first.encrypt(key, plain).await;
        self.note(key, Direction::ToStorage, first.sort(), &outcome, start);
        outcome
    }

    /// Says what came of a value.
    fn note(
        &self,
        key: &[u8],
        direction: Direction,
        prefix: &str,
        outcome: &Result<Bytes, TransformError>,
        start: Instant,
    ) {
        let resource = resource_of(key).map_or_else(String::new, |resource| resource.to_string());
        let status = match outcome {
            Ok(_) => metrics::OK,
            Err(error) => error.code(),
        };
        let elapsed = start.elapsed();
        self.metrics
            .transformed(&resource, direction, prefix, status, elapsed);
    }

    /// Whether all plugins are well.
    pub(super) async fn check_plugins(&self) -> Result<(), String> {
        let providers = self.rules.iter().flat_map(|rule| &rule.providers);
        for provider in providers {
            if let Kind::Kms(kms) = &provider.kind {
                kms.check().await?;
            }
        }
        Ok(())
    }

    /// Whether there are any plugins.
    pub(super) fn has_plugins(&self) -> bool {
        let mut providers = self.rules.iter().flat_map(|rule| &rule.providers);
        providers.any(|provider| matches!(provider.kind, Kind::Kms(_)))
    }

    pub(super) async fn decrypt(&self, key: &[u8], data: &Bytes) -> Result<Bytes, TransformError> {
        let Some(providers) = self.providers(key) else {
            return Ok(data.clone());
        };
        let start = Instant::now();
        let mut last = (TransformError::NoMatchingPrefix, "unknown");
        for provider in providers {
            let Some(body) = data.strip_prefix(provider.prefix.as_slice()) else {
                continue;
            };
            let outcome = match &provider.kind {
                Kind::Identity if data.starts_with(ENCRYPTED) => Err(TransformError::Encrypted),
                Kind::Identity => Ok(data.clone()),
                Kind::Cipher(cipher) => cipher
                    .decrypt(body, key)
                    .map(Bytes::from)
                    .map_err(Into::into),
                Kind::Kms(kms) => kms
                    .decrypt(body, key)
                    .await
                    .map(Bytes::from)
                    .map_err(Into::into),
            };
            match outcome {
                Ok(_) => {
                    let sort = provider.sort();
                    self.note(key, Direction::FromStorage, sort, &outcome, start);
                    return outcome;
                }
                // Two providers may frame alike: the next may know the key.
                Err(error) => last = (error, provider.sort()),
            }
        }
        let outcome = Err(last.0);
        self.note(key, Direction::FromStorage, last.1, &outcome, start);
        outcome
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
    /// Its prefix without the name of its key, as metrics show it.
    fn sort(&self) -> &str {
        match &self.kind {
            Kind::Identity => "identity",
            Kind::Cipher(_) | Kind::Kms(_) => {
                let prefix = std::str::from_utf8(&self.prefix).unwrap_or_default();
                let end = prefix.match_indices(':').nth(3);
                end.map_or(prefix, |(at, _)| &prefix[..=at])
            }
        }
    }

    async fn encrypt(&self, key: &[u8], plain: &Bytes) -> Result<Bytes, TransformError> {
        let body = match &self.kind {
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
        let mut out = Vec::with_capacity(self.prefix.len() + body.len());
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&body);
        Ok(out.into())
    }

    /// The keys of a provider, in their order.
    fn of(
        provider: &ProviderConfiguration,
        metrics: &Metrics,
    ) -> Result<Vec<Self>, ConfigurationError> {
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
                    name,
                    endpoint,
                    timeout.unwrap_or(Duration::from_secs(3)),
                    metrics.clone(),
                ))),
            }]),
        }
    }
}
