//! Front proxies: who shows a certificate of a proxy's authority says in headers for whom it asks (`--requestheader-*`).
//!
//! Nobody else's headers are believed, and nobody's are passed on: they are taken out of every request once it is authenticated. Follows
//! upstream's `headerrequest`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName};

use super::{
    Authenticated, AuthenticationError, Authenticator, Peer, impersonation::percent_decode,
    x509::ChainVerifier,
};
use crate::user::UserInfo;

/// Which headers say what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeaderConfig {
    /// `--requestheader-allowed-names`: common names of the proxies; empty for any that the authority has signed.
    pub allowed_names: Vec<String>,
    /// `--requestheader-username-headers`: the first that is there counts.
    pub username_headers: Vec<String>,
    /// `--requestheader-uid-headers`, likewise.
    pub uid_headers: Vec<String>,
    /// `--requestheader-group-headers`: all of all of them.
    pub group_headers: Vec<String>,
    /// `--requestheader-extra-headers-prefix`
    pub extra_header_prefixes: Vec<String>,
}

/// What goes out of every request, whether configured or not: backends that trust us trust these.
const STANDARD: [&str; 3] = ["x-remote-user", "x-remote-uid", "x-remote-group"];
const STANDARD_PREFIX: &str = "x-remote-extra-";

/// Takes the headers of front proxies out.
pub fn strip(headers: &mut HeaderMap, config: &RequestHeaderConfig) {
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        let named = |list: &[String]| list.iter().any(|one| one.eq_ignore_ascii_case(name));
        STANDARD.contains(&name)
            || name.starts_with(STANDARD_PREFIX)
            || named(&config.username_headers)
            || named(&config.uid_headers)
            || named(&config.group_headers)
            || config
                .extra_header_prefixes
                .iter()
                .any(|prefix| starts_with(name, prefix))
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Believes the headers of requests that come with a proxy's certificate.
pub struct RequestHeaders {
    config: RequestHeaderConfig,
    verifier: Arc<ChainVerifier>,
}

impl RequestHeaders {
    /// Believes who shows a certificate that `verifier` trusts.
    pub fn new(config: RequestHeaderConfig, verifier: Arc<ChainVerifier>) -> Self {
        Self { config, verifier }
    }

    fn user(&self, headers: &HeaderMap) -> Option<UserInfo> {
        let config = &self.config;
        Some(UserInfo {
            name: first(headers, &config.username_headers)?,
            uid: first(headers, &config.uid_headers).unwrap_or_default(),
            groups: config
                .group_headers
                .iter()
                .flat_map(|name| values(headers, name))
                .collect(),
            extra: extra(headers, &config.extra_header_prefixes),
        })
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(name.to_ascii_lowercase())
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

fn first(headers: &HeaderMap, names: &[String]) -> Option<String> {
    names.iter().find_map(|name| values(headers, name).next())
}

fn extra(headers: &HeaderMap, prefixes: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for prefix in prefixes {
        for (name, value) in headers {
            if starts_with(name.as_str(), prefix)
                && let Ok(value) = value.to_str()
            {
                let key = percent_decode(&name.as_str()[prefix.len()..]);
                extra.entry(key).or_default().push(value.to_owned());
            }
        }
    }
    extra
}

#[async_trait]
impl Authenticator for RequestHeaders {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        _path: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let Some(proxy) = self.verifier.verify(&peer.certificates)? else {
            return Ok(None);
        };
        let allowed = &self.config.allowed_names;
        let name = proxy.common_name.as_deref().unwrap_or_default();
        if !allowed.is_empty() && !allowed.iter().any(|one| one == name) {
            return Err(AuthenticationError(format!(
                "x509: subject with cn={name} is not in the allowed list"
            )));
        }
        Ok(self.user(headers).map(|user| Authenticated {
            user,
            ..Authenticated::default()
        }))
    }

    fn strip(&self, headers: &mut HeaderMap) {
        strip(headers, &self.config);
    }
}
