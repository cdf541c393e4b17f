//! `system:anonymous`: who asks without credentials, where `--anonymous-auth` allows it.

use async_trait::async_trait;
use http::HeaderMap;

use super::{Authenticated, AuthenticationError, Authenticator, Peer};
use crate::user::{ANONYMOUS, UNAUTHENTICATED, UserInfo};

/// The last row of the union: everybody is somebody.
#[derive(Debug)]
pub struct Anonymous;

#[async_trait]
impl Authenticator for Anonymous {
    async fn authenticate(
        &self,
        _headers: &HeaderMap,
        _peer: &Peer,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let user = UserInfo {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..UserInfo::default()
        };
        Ok(Some(Authenticated {
            user,
            audiences: Vec::new(),
        }))
    }
}
