//! Bootstrap tokens, `<id>.<secret>`, kept in secrets `kube-system/bootstrap-token-<id>`: how a machine that has nothing yet asks for
//! its first certificate. The user is `system:bootstrap:<id>` in `system:bootstrappers`.

use std::sync::Arc;

use apimachinery::gvk::GroupResource;
use async_trait::async_trait;
use base::Clock;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use ring::digest;

use super::{Authenticated, AuthenticationError, TokenAuthenticator};
use crate::{lookup, reader::ObjectReader, user::UserInfo};

const SECRETS: GroupResource = GroupResource::new("", "secrets");

/// Verifies bootstrap tokens.
pub struct BootstrapTokens {
    /// Where the secrets are.
    pub reader: Arc<dyn ObjectReader>,
    /// For expiry.
    pub clock: Clock,
}

#[async_trait]
impl TokenAuthenticator for BootstrapTokens {
    async fn authenticate_token(
        &self,
        token: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let Some((id, secret)) = split(token) else {
            return Ok(None);
        };
        Ok(self.check(id, secret).map(|user| Authenticated {
            user,
            ..Authenticated::default()
        }))
    }
}

impl BootstrapTokens {
    /// `None` whatever is wrong: as upstream, a token that does not fit is left to the other authenticators.
    fn check(&self, id: &str, secret: &str) -> Option<UserInfo> {
        let kept = self
            .reader
            .get(&SECRETS, "kube-system", &format!("bootstrap-token-{id}"))?;
        let field = |name: &str| {
            let bytes = BASE64_STANDARD
                .decode(lookup::text(&kept, &["data", name]))
                .ok()?;
            String::from_utf8(bytes).ok()
        };
        let deleted = lookup::value(&kept, &["metadata", "deletionTimestamp"]).is_some();
        if deleted || lookup::text(&kept, &["type"]) != "bootstrap.kubernetes.io/token" {
            return None;
        }
        if field("token-id")? != id || !same(&field("token-secret")?, secret) {
            return None;
        }
        if let Some(expiration) = field("expiration").filter(|text| !text.is_empty()) {
            // An expiry that cannot be read is one that has passed.
            let expires: Timestamp = expiration.parse().ok()?;
            if self.clock.now() > expires {
                return None;
            }
        }
        if field("usage-bootstrap-authentication")? != "true" {
            return None;
        }
        let mut groups = vec!["system:bootstrappers".to_owned()];
        for group in field("auth-extra-groups")
            .unwrap_or_default()
            .split(',')
            .filter(|group| !group.is_empty())
        {
            // One group out of bounds spoils the token.
            if !group.starts_with("system:bootstrappers:") {
                return None;
            }
            groups.push(group.to_owned());
        }
        Some(UserInfo {
            name: format!("system:bootstrap:{id}"),
            groups,
            ..UserInfo::default()
        })
    }
}

/// `[a-z0-9]{6}.[a-z0-9]{16}`.
fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let ours = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    (ours(id, 6) && ours(secret, 16)).then_some((id, secret))
}

/// Compares digests, so that the time taken says nothing of the secret.
fn same(a: &str, b: &str) -> bool {
    let fingerprint = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    fingerprint(a).as_ref() == fingerprint(b).as_ref()
}
