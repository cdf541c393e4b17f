//! Resources that are questions, not objects: they are created, answered, and never stored.

use apimachinery::{Object, gvk::GroupResource, status::Status};
use async_trait::async_trait;

use crate::{request_info::RequestInfo, user::UserInfo};

/// A question, decoded and defaulted.
#[derive(Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// Resource, subresource, namespace, name.
    pub request: &'a RequestInfo,
    /// What is asked, in the request's version.
    pub object: Object,
}

/// Answers questions of one sort: `tokenreviews`, `serviceaccounts/token`, …
#[async_trait]
pub trait VirtualResource: Send + Sync {
    /// Which resource, in all its versions.
    fn resource(&self) -> GroupResource;
    /// Which subresource; empty for none.
    fn subresource(&self) -> &'static str {
        ""
    }
    /// What a question means that does not say it: part of what its asker is held to have said.
    fn default(&self, _question: &mut Object) {}
    /// The question with its answer, as the client gets it (201).
    async fn create(&self, question: Question<'_>) -> Result<Object, Status>;
}
