//! All authenticators in their order: client certificate, bearer tokens, anonymous.
//!
//! As upstream: the first that recognises its credentials decides; a bad credential does not stop the ones after it of the same
//! request, but when none succeeds the request ends with 401, even where anonymous requests are allowed.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;

use super::{
    Authenticated, AuthenticationError, Authenticator, Peer, RequestHeaderConfig,
    TokenAuthenticator, bearer, request_header,
};
use crate::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};

/// What who put two spaces before the token is told.
const IGNORED_FOR_SPACE: &str = "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// The authenticators of a server.
pub struct Union {
    authenticators: Vec<Arc<dyn Authenticator>>,
    anonymous: Option<Arc<dyn Authenticator>>,
}

impl Union {
    /// Tried in order; `anonymous` answers for requests without credentials.
    pub fn new(
        authenticators: Vec<Arc<dyn Authenticator>>,
        anonymous: Option<Arc<dyn Authenticator>>,
    ) -> Self {
        Self {
            authenticators,
            anonymous,
        }
    }
}

#[async_trait]
impl Authenticator for Union {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        path: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let mut refusals = Vec::new();
        for authenticator in &self.authenticators {
            match authenticator.authenticate(headers, peer, path).await {
                Ok(Some(authenticated)) => {
                    return Ok(Some(with_authenticated_group(authenticated)));
                }
                Ok(None) => {}
                Err(error) => refusals.push(error.0),
            }
        }
        if !refusals.is_empty() {
            return Err(AuthenticationError(refusals.join("; ")));
        }
        let Some(anonymous) = &self.anonymous else {
            return Ok(None);
        };
        let mut found = anonymous.authenticate(headers, peer, path).await?;
        if let Some(found) = &mut found
            && bearer::has_extra_space(headers)
        {
            found.warnings.push(IGNORED_FOR_SPACE);
        }
        Ok(found)
    }

    fn strip(&self, headers: &mut HeaderMap) {
        headers.remove(http::header::AUTHORIZATION);
        request_header::strip(headers, &RequestHeaderConfig::default());
        for authenticator in &self.authenticators {
            authenticator.strip(headers);
        }
    }
}

/// Everyone who proved an identity is in `system:authenticated`, unless they already say which of the two they are.
pub(crate) fn with_authenticated_group(mut authenticated: Authenticated) -> Authenticated {
    let user = &mut authenticated.user;
    let settled = user
        .groups
        .iter()
        .any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED);
    if !settled && user.name != ANONYMOUS {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    authenticated
}

/// Bearer tokens: each token authenticator is asked in turn.
pub struct BearerTokens {
    authenticators: Vec<Arc<dyn TokenAuthenticator>>,
}

impl BearerTokens {
    /// Asked in order.
    pub fn new(authenticators: Vec<Arc<dyn TokenAuthenticator>>) -> Self {
        Self { authenticators }
    }
}

#[async_trait]
impl TokenAuthenticator for BearerTokens {
    async fn authenticate_token(
        &self,
        token: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let mut refusals = Vec::new();
        for authenticator in &self.authenticators {
            match authenticator.authenticate_token(token).await {
                Ok(Some(authenticated)) => return Ok(Some(authenticated)),
                Ok(None) => {}
                Err(error) => refusals.push(error.0),
            }
        }
        if refusals.is_empty() {
            Ok(None)
        } else {
            Err(AuthenticationError(refusals.join("; ")))
        }
    }
}

#[async_trait]
impl Authenticator for BearerTokens {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        _peer: &Peer,
        _path: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let Some(token) = bearer::token(headers) else {
            return Ok(None);
        };
        if bearer::lacks_protocol(headers) {
            return Err(AuthenticationError(
                "missing additional subprotocol".to_owned(),
            ));
        }
        match self.authenticate_token(&token).await? {
            Some(authenticated) => Ok(Some(authenticated)),
            // A token nobody knows is a bad credential, not an absent one.
            None => Err(AuthenticationError("invalid bearer token".to_owned())),
        }
    }

    fn strip(&self, headers: &mut HeaderMap) {
        bearer::strip(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authn::Anonymous, user::UserInfo};

    struct Known(&'static str);

    #[async_trait]
    impl TokenAuthenticator for Known {
        async fn authenticate_token(
            &self,
            token: &str,
        ) -> Result<Option<Authenticated>, AuthenticationError> {
            let user = UserInfo {
                name: self.0.to_owned(),
                ..UserInfo::default()
            };
            Ok((token == self.0).then_some(Authenticated {
                user,
                ..Authenticated::default()
            }))
        }
    }

    #[tokio::test]
    async fn bad_tokens_are_not_anonymous() {
        let tokens = BearerTokens::new(vec![Arc::new(Known("a")), Arc::new(Known("b"))]);
        let union = Union::new(vec![Arc::new(tokens)], Some(Arc::new(Anonymous::default())));
        let ask = async |header: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(http::header::AUTHORIZATION, header.parse().unwrap());
            }
            union
                .authenticate(&headers, &Peer::default(), "/api")
                .await
                .map(|found| found.unwrap().user)
        };
        let user = ask(Some("Bearer b")).await.unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups),
            ("b", vec![AUTHENTICATED.to_owned()])
        );
        assert_eq!(ask(None).await.unwrap().name, ANONYMOUS);
        assert!(ask(Some("Bearer c")).await.is_err());
        assert_eq!(
            ask(Some("Basic eDp5")).await.unwrap().groups,
            [UNAUTHENTICATED]
        );
    }
}
