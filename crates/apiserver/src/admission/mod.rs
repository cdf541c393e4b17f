//! Admission: one file a plugin, one row in the order of the table. Mutating plugins first, then the strategy's validation,
//! then validating plugins.

use apimachinery::{Object, gvk::GroupVersionKind};
use async_trait::async_trait;

use crate::{request_info::RequestInfo, user::UserInfo};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed one.
    Update,
    /// A removal.
    Delete,
    /// exec, attach, portforward, proxy.
    Connect,
}

/// A request at the gates. Plugins read all of it; mutating ones change `object`.
#[derive(Debug)]
pub struct Admission<'a> {
    /// What is being done.
    pub operation: Operation,
    /// Resource, subresource, namespace, name.
    pub request: &'a RequestInfo,
    /// The kind of `object`.
    pub kind: &'a GroupVersionKind,
    /// Who.
    pub user: &'a UserInfo,
    /// The object as it would be stored, in the request's version; for Connect the options; for Delete absent.
    pub object: Option<&'a mut Object>,
    /// The object as it is, for Update and Delete.
    pub old_object: Option<&'a Object>,
    /// Nothing will be stored: no side effects.
    pub dry_run: bool,
    /// Options of the operation (CreateOptions, DeleteOptions, …), as JSON.
    pub options: &'a Object,
    /// Warnings for the client, to be added to.
    pub warnings: Vec<String>,
}

/// A gate. A refusal is a ready-made `Status`; `apimachinery::status` words it.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// The plugin's upstream name, for flags, metrics and messages.
    fn name(&self) -> &'static str;
    /// Whether it has anything to say about `operation`.
    fn handles(&self, operation: Operation) -> bool;
    /// May change the object.
    async fn admit(&self, _admission: &mut Admission<'_>) -> Result<(), apimachinery::status::Status> {
        Ok(())
    }
    /// May refuse.
    async fn validate(&self, _admission: &Admission<'_>) -> Result<(), apimachinery::status::Status> {
        Ok(())
    }
}
