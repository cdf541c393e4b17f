//! `EncryptionConfiguration` (`apiserver.config.k8s.io/v1`), read and checked.

use std::{collections::BTreeSet, path::Path, time::Duration};

use apimachinery::{decode, time::parse_duration};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file.
    #[error("error reading encryption provider configuration file {path:?}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What it holds.
    #[error("error decoding encryption provider configuration: {0}")]
    Decode(String),
    /// It says what cannot be.
    #[error("{field}: {message}")]
    Invalid {
        /// Where.
        field: String,
        /// Why.
        message: String,
    },
    /// A key that is none.
    #[error("key {name:?}: {reason}")]
    Key {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Which resources are encrypted, and by what.
#[derive(Clone, Debug)]
pub struct EncryptionConfiguration {
    pub(super) resources: Vec<ResourceConfiguration>,
}

/// Some resources, and their providers: the first encrypts, all decrypt.
#[derive(Clone, Debug)]
pub(super) struct ResourceConfiguration {
    pub(super) resources: Vec<String>,
    pub(super) providers: Vec<ProviderConfiguration>,
}

/// A provider. Keys are names and secrets, the first encrypts.
#[derive(Clone)]
pub(super) enum ProviderConfiguration {
    Identity,
    AesCbc(Vec<(String, Vec<u8>)>),
    AesGcm(Vec<(String, Vec<u8>)>),
    Secretbox(Vec<(String, Vec<u8>)>),
    Kms {
        name: String,
        endpoint: String,
        timeout: Option<Duration>,
    },
}

impl std::fmt::Debug for ProviderConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never a secret.
        f.write_str(match self {
            Self::Identity => "identity",
            Self::AesCbc(_) => "aescbc",
            Self::AesGcm(_) => "aesgcm",
            Self::Secretbox(_) => "secretbox",
            Self::Kms { .. } => "kms",
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    resources: Vec<ResourceFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceFile {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<ProviderFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderFile {
    aesgcm: Option<KeysFile>,
    aescbc: Option<KeysFile>,
    secretbox: Option<KeysFile>,
    identity: Option<IdentityFile>,
    kms: Option<KmsFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default)]
    keys: Vec<KeyFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct KmsFile {
    #[serde(default = "kms_v1")]
    api_version: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "a field of version 1, which is refused later")]
    cachesize: Option<i64>,
    #[serde(default)]
    endpoint: String,
    timeout: Option<String>,
}

fn kms_v1() -> String {
    "v1".to_owned()
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> ConfigurationError {
    ConfigurationError::Invalid {
        field: field.into(),
        message: message.into(),
    }
}

impl EncryptionConfiguration {
    /// `--encryption-provider-config`
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigurationError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&bytes)
    }

    /// Of YAML or JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigurationError> {
        let json = decode::yaml_to_json(bytes, true).map_err(ConfigurationError::Decode)?;
        let file: File = serde_json::from_slice(&json)
            .map_err(|error| ConfigurationError::Decode(error.to_string()))?;
        if file.kind != "EncryptionConfiguration"
            || file.api_version != "apiserver.config.k8s.io/v1"
        {
            let found = format!("{}, Kind={}", file.api_version, file.kind);
            return Err(ConfigurationError::Decode(format!(
                "got unexpected config type: {found}"
            )));
        }
        if file.resources.is_empty() {
            return Err(invalid(
                "resources",
                "Required value: at least one resources entry is required",
            ));
        }
        let mut kms_names = BTreeSet::new();
        let mut resources = Vec::new();
        for (index, entry) in file.resources.iter().enumerate() {
            let field = format!("resources[{index}]");
            check_resources(&entry.resources, &field)?;
            if entry.providers.is_empty() {
                let message = "Required value: provider is a mandatory field for a resources entry";
                return Err(invalid(format!("{field}.providers"), message));
            }
            let mut providers = Vec::new();
            for (index, provider) in entry.providers.iter().enumerate() {
                let field = format!("{field}.providers[{index}]");
                providers.push(provider.read(&field, &mut kms_names)?);
            }
            resources.push(ResourceConfiguration {
                resources: entry.resources.clone(),
                providers,
            });
        }
        Ok(Self { resources })
    }
}

/// Names of resources, as upstream checks them.
fn check_resources(resources: &[String], field: &str) -> Result<(), ConfigurationError> {
    let field = format!("{field}.resources");
    if resources.is_empty() {
        let message = "Required value: resources is a mandatory field for a resources entry";
        return Err(invalid(field, message));
    }
    let mut seen = BTreeSet::new();
    for (index, resource) in resources.iter().enumerate() {
        let refuse = |message: &str| {
            let value = format!("Invalid value: {resource:?}: {message}");
            Err(invalid(format!("{field}[{index}]"), value))
        };
        if resource.chars().any(|c| c.is_ascii_uppercase()) {
            return refuse("resource name should not contain capital letters");
        }
        if resource == "*" {
            return refuse(
                "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
            );
        }
        if !seen.insert(resource.as_str()) {
            return refuse("the same resource cannot be specified multiple times");
        }
        if resource.starts_with("*.extensions") || resource.ends_with(".extensions") {
            return refuse("'extensions' group has been removed and cannot be used for encryption");
        }
        if resource.ends_with(".events.k8s.io") {
            return refuse(
                "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
            );
        }
        if resource.starts_with("*.")
            && resource != "*."
            && resource != "*.*"
            && resource[2..].contains('*')
            || !resource.starts_with("*.") && resource.contains('*')
        {
            return refuse("encrypting the same resource across groups is not supported");
        }
    }
    let masked = resources.iter().any(|masking| {
        resources.iter().any(|resource| {
            let group = resource.split_once('.').map_or("", |(_, group)| group);
            masking != resource
                && (masking == "*.*" || masking.strip_prefix("*.").is_some_and(|of| of == group))
        })
    });
    if masked {
        let message = "Invalid value: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked";
        return Err(invalid(field, message));
    }
    Ok(())
}

impl ProviderFile {
    fn read(
        &self,
        field: &str,
        kms_names: &mut BTreeSet<String>,
    ) -> Result<ProviderConfiguration, ConfigurationError> {
        let set = [
            self.aesgcm.is_some(),
            self.aescbc.is_some(),
            self.secretbox.is_some(),
            self.identity.is_some(),
            self.kms.is_some(),
        ];
        match set.iter().filter(|set| **set).count() {
            1 => {}
            0 => {
                let message = "Required value: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity";
                return Err(invalid(field, message));
            }
            _ => {
                let message = "Invalid value: more than one provider specified in a single element, should split into different list elements";
                return Err(invalid(field, message));
            }
        }
        if let Some(keys) = &self.aesgcm {
            return Ok(ProviderConfiguration::AesGcm(keys.read(
                field,
                "aesgcm",
                &[16, 24, 32],
            )?));
        }
        if let Some(keys) = &self.aescbc {
            return Ok(ProviderConfiguration::AesCbc(keys.read(
                field,
                "aescbc",
                &[16, 24, 32],
            )?));
        }
        if let Some(keys) = &self.secretbox {
            return Ok(ProviderConfiguration::Secretbox(keys.read(
                field,
                "secretbox",
                &[32],
            )?));
        }
        match &self.kms {
            Some(kms) => kms.read(&format!("{field}.kms"), kms_names),
            None => Ok(ProviderConfiguration::Identity),
        }
    }
}

impl KeysFile {
    fn read(
        &self,
        field: &str,
        provider: &str,
        lengths: &[usize],
    ) -> Result<Vec<(String, Vec<u8>)>, ConfigurationError> {
        let field = format!("{field}.{provider}.keys");
        if self.keys.is_empty() {
            return Err(invalid(
                field,
                "Required value: keys is a mandatory field for a provider",
            ));
        }
        let mut keys = Vec::new();
        for (index, key) in self.keys.iter().enumerate() {
            let field = format!("{field}[{index}]");
            if key.name.is_empty() {
                return Err(invalid(
                    format!("{field}.name"),
                    "Required value: name is a mandatory field for a key",
                ));
            }
            if key.name.contains(':') {
                return Err(invalid(
                    format!("{field}.name"),
                    "Invalid value: a name must not contain ':'",
                ));
            }
            if key.secret.is_empty() {
                return Err(invalid(
                    format!("{field}.secret"),
                    "Required value: secret is a mandatory field for a key",
                ));
            }
            let secret = STANDARD.decode(&key.secret).map_err(|_| {
                invalid(
                    format!("{field}.secret"),
                    "Invalid value: \"REDACTED\": secrets must be base64 encoded",
                )
            })?;
            if !lengths.contains(&secret.len()) {
                let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
                let message = format!(
                    "Invalid value: \"REDACTED\": secret is not of the expected length, got {}, expected one of [{}]",
                    secret.len(),
                    lengths.join(" ")
                );
                return Err(invalid(format!("{field}.secret"), message));
            }
            keys.push((key.name.clone(), secret));
        }
        Ok(keys)
    }
}

impl KmsFile {
    fn read(
        &self,
        field: &str,
        names: &mut BTreeSet<String>,
    ) -> Result<ProviderConfiguration, ConfigurationError> {
        if self.api_version != "v2" {
            let message = match self.api_version.as_str() {
                "v1" => "Invalid value: \"v1\": KMS v1 is not supported, use KMS v2".to_owned(),
                other => format!(
                    "Invalid value: {other:?}: unsupported apiVersion {other} for KMS provider, only v1 and v2 are supported"
                ),
            };
            return Err(invalid(format!("{field}.apiVersion"), message));
        }
        if self.name.is_empty() {
            return Err(invalid(
                format!("{field}.name"),
                "Required value: name is a mandatory field for a provider",
            ));
        }
        if self.name.contains(':') {
            let message = format!(
                "Invalid value: {:?}: KMS provider name should not contain :",
                self.name
            );
            return Err(invalid(format!("{field}.name"), message));
        }
        if !names.insert(self.name.clone()) {
            let message = format!(
                "Invalid value: {:?}: duplicate KMS provider name {}, names must be unique",
                self.name, self.name
            );
            return Err(invalid(format!("{field}.name"), message));
        }
        if self.endpoint.is_empty() {
            return Err(invalid(
                format!("{field}.endpoint"),
                "Invalid value: \"\": endpoint is a mandatory field for a provider",
            ));
        }
        let Some(endpoint) = self.endpoint.strip_prefix("unix://") else {
            let message = format!(
                "Invalid value: {:?}: unsupported scheme for KMS provider, only unix is supported",
                self.endpoint
            );
            return Err(invalid(format!("{field}.endpoint"), message));
        };
        let timeout = match &self.timeout {
            None => None,
            Some(text) => {
                let nanos = parse_duration(text)
                    .ok()
                    .and_then(|n| u64::try_from(n).ok())
                    .filter(|n| *n > 0);
                let nanos = nanos.ok_or_else(|| {
                    invalid(
                        format!("{field}.timeout"),
                        format!("Invalid value: {text:?}: timeout should be a positive value"),
                    )
                })?;
                Some(Duration::from_nanos(nanos))
            }
        };
        Ok(ProviderConfiguration::Kms {
            name: self.name.clone(),
            endpoint: endpoint.to_owned(),
            timeout,
        })
    }
}
