//! Credentials for registries, from the pod's pull secrets (`kubernetes.io/dockerconfigjson` and `dockercfg`).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

/// Credentials by registry, with an optional path. `*.example.com` matches one label.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    entries: Vec<(String, AuthConfig)>,
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

impl Keyring {
    /// Of these secrets, in their order. What cannot be read is left out, as upstream does.
    pub fn of(secrets: &[Secret]) -> Self {
        let mut keyring = Self::default();
        for secret in secrets {
            let data = |key: &str| {
                secret
                    .data
                    .as_ref()
                    .and_then(|data| data.get(key))
                    .map(|bytes| bytes.0.as_slice())
            };
            if let Some(json) = data(".dockerconfigjson") {
                if let Ok(config) = serde_json::from_slice::<DockerConfig>(json) {
                    keyring.add(config.auths);
                }
            } else if let Some(json) = data(".dockercfg")
                && let Ok(auths) = serde_json::from_slice(json)
            {
                keyring.add(auths);
            }
        }
        keyring
    }

    fn add(&mut self, auths: BTreeMap<String, DockerAuth>) {
        for (registry, auth) in auths {
            let decoded = STANDARD
                .decode(&auth.auth)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let (username, password) =
                match decoded.as_deref().and_then(|text| text.split_once(':')) {
                    Some((username, password)) => (username.to_owned(), password.to_owned()),
                    None => (auth.username, auth.password),
                };
            let key = registry
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            let key = key
                .trim_end_matches('/')
                .trim_end_matches("/v1")
                .trim_end_matches("/v2")
                .to_owned();
            let config = AuthConfig {
                username,
                password,
                server_address: registry,
                identity_token: auth.identitytoken,
                registry_token: auth.registrytoken,
                ..AuthConfig::default()
            };
            self.entries.push((key, config));
        }
        // The longer path is the better match.
        self.entries
            .sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    }

    /// What to try for an image, best first. Without a match: once, anonymously.
    pub fn lookup(&self, image: &str) -> Vec<Option<AuthConfig>> {
        let full = match image.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => image.to_owned(),
            Some(_) => format!("index.docker.io/{image}"),
            None => format!("index.docker.io/library/{image}"),
        };
        let matching = self.entries.iter().filter(|(key, _)| matches(key, &full));
        let found: Vec<_> = matching.map(|(_, auth)| Some(auth.clone())).collect();
        if found.is_empty() { vec![None] } else { found }
    }
}

fn matches(key: &str, image: &str) -> bool {
    let key = if key == "docker.io" {
        "index.docker.io"
    } else {
        key
    };
    let (key_host, key_path) = key.split_once('/').unwrap_or((key, ""));
    let (host, path) = image.split_once('/').unwrap_or((image, ""));
    let (key_labels, labels): (Vec<_>, Vec<_>) =
        (key_host.split('.').collect(), host.split('.').collect());
    let host_matches = key_labels.len() == labels.len()
        && key_labels
            .iter()
            .zip(&labels)
            .all(|(pattern, label)| *pattern == "*" || pattern == label);
    host_matches
        && (key_path.is_empty() || path == key_path || path.starts_with(&format!("{key_path}/")))
}
