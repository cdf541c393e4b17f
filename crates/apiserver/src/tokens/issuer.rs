//! Issues service account tokens.

use base::Clock;
use uuid::Uuid;

use super::{
    claims::{Bindings, Claims, LegacyClaims},
    jwt,
    key::{KeyError, PrivateKey},
};
use crate::authn::service_account;

/// The signing key and the name tokens are issued under.
pub struct Issuer {
    /// `--service-account-issuer`.
    pub issuer: String,
    /// `--service-account-signing-key-file`.
    pub key: PrivateKey,
    /// For issue and expiry times.
    pub clock: Clock,
}

impl Issuer {
    /// A token for `audiences`, valid for `seconds` from now, bound to what `bindings` names.
    pub fn issue(
        &self,
        bindings: Bindings,
        audiences: &[String],
        seconds: i64,
    ) -> Result<String, KeyError> {
        let now = self.clock.now().as_second();
        let claims = Claims {
            audiences: audiences.to_vec(),
            expires: Some(now.saturating_add(seconds)),
            issued_at: Some(now),
            issuer: self.issuer.clone(),
            id: Uuid::new_v4().to_string(),
            subject: service_account::username(&bindings.namespace, &bindings.service_account.name),
            kubernetes: bindings,
            not_before: Some(now),
        };
        jwt::sign(&claims, &self.key)
    }

    /// A token of the older form, to be kept in a secret.
    pub fn issue_legacy(&self, claims: &LegacyClaims) -> Result<String, KeyError> {
        jwt::sign(claims, &self.key)
    }
}
