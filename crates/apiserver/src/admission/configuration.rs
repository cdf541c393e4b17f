//! `--admission-control-config-file`: what plugins are told beyond flags, each in a format of its own.
//!
//! The file is an `AdmissionConfiguration` (`apiserver.config.k8s.io/v1`) that holds each plugin's configuration or names its file. As
//! upstream, a file that is no such thing may be the configuration of one of the two plugins that are older than it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use apimachinery::{Object, decode, lookup};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Plugins whose configuration may be the whole file, and the field by which it is known.
const OLDER: [(&str, &str); 2] = [
    ("ImagePolicyWebhook", "imagePolicy"),
    ("PodNodeSelector", "podNodeSelectorPluginConfig"),
];
const VERSIONS: &[&str] = &["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"];

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It, or a file that it names, cannot be read.
    #[error("unable to read admission control configuration from {path:?} [{source}]")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("admission control configuration {path:?}: {reason}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The configuration of each plugin that has one.
#[derive(Debug, Default)]
pub struct AdmissionConfiguration {
    plugins: BTreeMap<String, Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    plugins: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    path: String,
    configuration: Option<Object>,
}

impl AdmissionConfiguration {
    /// Reads the file, and those that it names.
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let tree = tree(path)?;
        let invalid = |reason: String| ConfigurationError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let version = (
            lookup::text(&tree, &["apiVersion"]),
            lookup::text(&tree, &["kind"]),
        );
        if !is_one_of(version, "AdmissionConfiguration", VERSIONS) {
            let older = OLDER.iter().filter(|(_, field)| tree.contains_key(*field));
            let plugins: BTreeMap<String, Object> = older
                .map(|(name, _)| ((*name).to_owned(), tree.clone()))
                .collect();
            if plugins.is_empty() {
                return Err(invalid(unknown_kind(version)));
            }
            return Ok(Self { plugins });
        }
        let file: File = serde_json::from_value(Value::Object(tree.clone()))
            .map_err(|error| invalid(format!("strict decoding error: {error}")))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut plugins = BTreeMap::new();
        for entry in file.plugins {
            let configuration = match (entry.configuration, entry.path.as_str()) {
                (Some(nested), _) => nested,
                (None, "") => continue,
                (None, path) => self::tree(&directory.join(path))?,
            };
            // Of several entries of one plugin the first counts.
            plugins.entry(entry.name).or_insert(configuration);
        }
        Ok(Self { plugins })
    }

    /// What a plugin is told, if anything.
    pub(super) fn of(&self, plugin: &str) -> Option<&Object> {
        self.plugins.get(plugin)
    }
}

fn tree(path: &Path) -> Result<Object, ConfigurationError> {
    let text = std::fs::read(path).map_err(|source| ConfigurationError::Read {
        path: path.to_owned(),
        source,
    })?;
    let object = decode::yaml_to_json(&text, true)
        .and_then(|json| serde_json::from_slice(&json).map_err(|error| error.to_string()));
    object.map_err(|reason| ConfigurationError::Invalid {
        path: path.to_owned(),
        reason,
    })
}

fn is_one_of((version, kind): (&str, &str), wanted: &str, versions: &[&str]) -> bool {
    kind == wanted && versions.contains(&version)
}

fn unknown_kind((version, kind): (&str, &str)) -> String {
    match (kind, version) {
        ("", _) => "Object 'Kind' is missing".to_owned(),
        (_, "") => "Object 'apiVersion' is missing".to_owned(),
        _ => format!("no kind {kind:?} is registered for version {version:?}"),
    }
}

/// A plugin's configuration of one of these versions of a kind, decoded; unknown fields are errors.
pub(super) fn decode_as<T: DeserializeOwned>(
    configuration: &Object,
    kind: &str,
    versions: &[&str],
) -> Result<T, String> {
    let version = (
        lookup::text(configuration, &["apiVersion"]),
        lookup::text(configuration, &["kind"]),
    );
    if !is_one_of(version, kind, versions) {
        return Err(unknown_kind(version));
    }
    let mut fields = configuration.clone();
    fields.remove("apiVersion");
    fields.remove("kind");
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_told_in_the_file_or_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admission.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            AdmissionConfiguration::read(&path)
        };
        let beside = directory.path().join("quota.yaml");
        std::fs::write(&beside, "kind: ResourceQuotaConfiguration\n").unwrap();
        let configuration = read(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: ResourceQuota\n  path: quota.yaml\n- name: PodSecurity\n  configuration: {kind: X}\n- name: Priority\n",
        )
        .unwrap();
        let kind = |plugin| configuration.of(plugin).map(|c| lookup::text(c, &["kind"]));
        assert_eq!(kind("ResourceQuota"), Some("ResourceQuotaConfiguration"));
        assert_eq!(kind("PodSecurity"), Some("X"));
        assert_eq!(kind("Priority"), None);
        let older = read("podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: a=b}").unwrap();
        assert!(older.of("PodNodeSelector").is_some());
        let wrong = [
            "",
            "[]",
            "kind: AdmissionConfiguration",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nnonsense: 1",
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: [{name: X, path: nosuch}]",
            "apiVersion: apiserver.config.k8s.io/v9\nkind: AdmissionConfiguration",
            "a: [",
        ];
        for text in wrong {
            assert!(read(text).is_err(), "{text:?} was accepted");
        }
    }
}
