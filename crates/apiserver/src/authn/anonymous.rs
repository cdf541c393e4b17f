//! `system:anonymous`: who asks without credentials, where `--anonymous-auth` or the authentication configuration allows it.

use async_trait::async_trait;
use http::HeaderMap;

use super::{Authenticated, AuthenticationError, Authenticator, Peer};
use crate::user::{ANONYMOUS, UNAUTHENTICATED, UserInfo};

/// The last row of the union: everybody is somebody.
#[derive(Clone, Debug, Default)]
pub struct Anonymous {
    /// Only for these paths; for all if there are none.
    pub paths: Vec<String>,
}

#[async_trait]
impl Authenticator for Anonymous {
    async fn authenticate(
        &self,
        _headers: &HeaderMap,
        _peer: &Peer,
        path: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        if !self.paths.is_empty() && !self.paths.iter().any(|allowed| allowed == path) {
            return Ok(None);
        }
        let user = UserInfo {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..UserInfo::default()
        };
        Ok(Some(Authenticated {
            user,
            ..Authenticated::default()
        }))
    }
}
