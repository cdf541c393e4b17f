//! Who may look: upstream's delegated authentication and authorization of a component that serves nothing but itself. Administrators
//! (`system:masters`) and the paths that are always allowed cost no question.

use std::sync::Arc;

use apimachinery::{Status, gvk::GroupResource};
use http::{Method, Response, request};

use crate::{
    answer::{Body, status},
    authentication::{Authentication, User},
    authorization::{Access, Authorization},
    listener::Peer,
};

/// Who may do anything; the API server would say nothing else of them.
const PRIVILEGED: &str = "system:masters";

/// Paths, exact or, with an asterisk at the end, all that begin so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPatterns(Vec<String>);

/// A path that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("only trailing * allowed in {0:?}")]
pub struct PathPatternError(String);

impl PathPatterns {
    /// With or without a slash before.
    pub fn new(paths: &[String]) -> Result<Self, PathPatternError> {
        let patterns = paths.iter().map(|path| {
            let path = path.strip_prefix('/').unwrap_or(path);
            match path.strip_suffix('*').unwrap_or(path).contains('*') {
                true => Err(PathPatternError(path.to_owned())),
                false => Ok(path.to_owned()),
            }
        });
        Ok(Self(patterns.collect::<Result<_, _>>()?))
    }

    /// Whether a path is among them.
    pub fn include(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        self.0
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == pattern,
            })
    }
}

/// Lets in, or not.
pub struct Guard {
    /// Knows who asks.
    pub authentication: Arc<Authentication>,
    /// Knows what they may; without it nothing but what is always allowed.
    pub authorization: Option<Authorization>,
    /// What everybody may see.
    pub always_allowed: PathPatterns,
}

impl Guard {
    /// The refusal, if it is one.
    pub(crate) async fn check(
        &self,
        head: &request::Parts,
        peer: &Peer,
    ) -> Result<(), Box<Response<Body>>> {
        let refuse = |refusal: Status| Err(Box::new(status(&refusal)));
        let Ok(user) = self.authentication.authenticate(&head.headers, peer).await else {
            return refuse(Status::unauthorized("Unauthorized"));
        };
        let path = head.uri.path();
        match self.may(&user, &head.method, path).await {
            Ok(()) => Ok(()),
            Err(refusal) => refuse(refusal),
        }
    }

    async fn may(&self, user: &User, method: &Method, path: &str) -> Result<(), Status> {
        if user.groups.iter().any(|group| group == PRIVILEGED) || self.always_allowed.include(path)
        {
            return Ok(());
        }
        let verb = method.as_str().to_ascii_lowercase();
        let mut message = format!("User {:?} cannot {verb} path {path:?}", user.name);
        if let Some(authorization) = &self.authorization {
            let access = Access::Path { verb: &verb, path };
            let decision = authorization.decide(user, access).await.map_err(|error| {
                tracing::warn!(%error, "cannot review access");
                Status::internal(error)
            })?;
            if decision.allowed {
                return Ok(());
            }
            if !decision.reason.is_empty() {
                message = format!("{message}: {}", decision.reason);
            }
        }
        Err(Status::forbidden(&GroupResource::new("", ""), "", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_prefixes_of_paths() {
        let paths = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|path| (*path).to_owned()).collect();
            PathPatterns::new(&list)
        };
        let some = paths(&["/healthz", "livez", "/readyz/*"]).unwrap();
        for (path, expected) in [
            ("/healthz", true),
            ("/healthz/ping", false),
            ("/livez", true),
            ("/readyz/ping", true),
            ("/readyz", false),
            ("/metrics", false),
        ] {
            assert_eq!(some.include(path), expected, "{path}");
        }
        let error = paths(&["/a*b"]).unwrap_err();
        assert_eq!(error.to_string(), "only trailing * allowed in \"a*b\"");
    }
}
