//! The server's own questions to other servers: whether they are there, what they serve, how they describe it.

use std::{sync::Arc, time::Duration};

use base::TaskGroup;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};

use super::{ProxyIdentity, Remote, api_service::LocationError, proxy::set_identity};
use crate::{body::Body, reader::ObjectReader, user::UserInfo};

/// How other servers are reached.
#[derive(Clone)]
pub(crate) struct Reach {
    /// Finds their Services.
    pub(crate) reader: Arc<dyn ObjectReader>,
    pub(crate) identity: ProxyIdentity,
    /// Connections live here.
    pub(crate) tasks: TaskGroup,
}

/// A question.
pub(super) struct Question<'a> {
    pub(super) path: &'a str,
    pub(super) headers: HeaderMap,
    /// Who asks.
    pub(super) user: &'a UserInfo,
    /// For the head of the answer, and as long again for its body.
    pub(super) timeout: Duration,
    /// A longer body is an error.
    pub(super) max_bytes: usize,
}

/// What is said to it.
pub(super) struct Fetched {
    pub(super) url: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why nothing is.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// There is no way to the server.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// It did not answer, or not in time, or at too great length.
    #[error("failing or missing response from {url}: Get {url:?}: {reason}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// In Go's words where there are some.
        reason: String,
    },
}

impl Reach {
    /// Asks.
    pub(super) async fn get(
        &self,
        remote: &Remote,
        question: Question<'_>,
    ) -> Result<Fetched, FetchError> {
        let Question { path, timeout, .. } = question;
        let reader = self.reader.as_ref();
        let location = remote.location(reader, &self.identity, path.to_owned(), String::new())?;
        let url = location.url();
        let no_answer = |reason: String| FetchError::NoAnswer {
            url: url.clone(),
            reason,
        };
        let mut request = Request::get(path)
            .body(Body::Empty)
            .map_err(|error| no_answer(error.to_string()))?;
        *request.headers_mut() = question.headers;
        if let Ok(host) = location.authority().parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        set_identity(request.headers_mut(), question.user);
        let late = |_| no_answer("context deadline exceeded".to_owned());
        let answer = tokio::time::timeout(timeout, location.send(request, &self.tasks));
        let answer = answer.await.map_err(late)?;
        let (head, body) = answer
            .map_err(|error| no_answer(error.to_string()))?
            .into_parts();
        let body = Limited::new(body, question.max_bytes).collect();
        let body = tokio::time::timeout(timeout, body).await.map_err(late)?;
        let body = body.map_err(|error| no_answer(error.to_string()))?;
        Ok(Fetched {
            url,
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}
