//! Who asks.

use std::collections::BTreeMap;

/// An authenticated identity, as `authentication.k8s.io/v1 UserInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// `system:serviceaccount:ns:name`, `system:node:n1`, `alice`, …
    pub name: String,
    /// Distinguishes users of the same name over time; may be empty.
    pub uid: String,
    /// `system:authenticated` among them, once authentication has succeeded.
    pub groups: Vec<String>,
    /// What the authenticator adds, such as the pod a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The user of requests that carry no credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of authenticated users.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
