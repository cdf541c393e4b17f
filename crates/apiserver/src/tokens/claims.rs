//! What a service account token says, in its bound form (KEP-1205) and in the older form kept in secrets.

use serde::{Deserialize, Serialize};

/// The issuer of tokens kept in secrets.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Claims of a bound token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// For whom.
    #[serde(rename = "aud", default, deserialize_with = "one_or_many")]
    pub audiences: Vec<String>,
    /// Until when, in seconds since the epoch.
    #[serde(rename = "exp", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Since when.
    #[serde(rename = "iat", default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<i64>,
    /// By whom.
    #[serde(rename = "iss", default)]
    pub issuer: String,
    /// The token's own id.
    #[serde(rename = "jti", default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// To what it is bound.
    #[serde(rename = "kubernetes.io", default)]
    pub kubernetes: Bindings,
    /// Not before.
    #[serde(rename = "nbf", default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<i64>,
    /// `system:serviceaccount:<namespace>:<name>`.
    #[serde(rename = "sub", default)]
    pub subject: String,
}

/// The objects whose life bounds the token's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bindings {
    /// Of the service account.
    #[serde(default)]
    pub namespace: String,
    /// The node the pod runs on, or the one the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod that the token was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// Whose token it is.
    #[serde(rename = "serviceaccount", default)]
    pub service_account: Reference,
    /// From when its use should be warned about: the expiry that was asked for, where a longer one was given.
    #[serde(rename = "warnafter", default, skip_serializing_if = "Option::is_none")]
    pub warn_after: Option<i64>,
}

/// One object, one life of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// Claims of a token kept in a secret of type `kubernetes.io/service-account-token`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LegacyClaims {
    /// [`LEGACY_ISSUER`].
    #[serde(rename = "iss", default)]
    pub issuer: String,
    /// As in [`Claims`].
    #[serde(rename = "sub", default)]
    pub subject: String,
    /// Of the service account and the secret.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace", default)]
    pub namespace: String,
    /// The secret it is kept in.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name", default)]
    pub secret: String,
    /// The service account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name", default)]
    pub service_account: String,
    /// Its uid.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid", default)]
    pub service_account_uid: String,
}

/// `aud` may be one string (RFC 7519, 4.1.3).
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audiences {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<Audiences>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Audiences::One(one)) => vec![one],
        Some(Audiences::Many(many)) => many,
    })
}
