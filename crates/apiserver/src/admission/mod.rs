//! Admission: one file a plugin, one row in the order of the table. Mutating plugins first, then the strategy's validation,
//! then validating plugins.

mod admission_request;
mod always;
mod always_pull_images;
mod certificate_identity;
mod certificates;
mod chain;
mod compiled;
mod configuration;
mod default_class;
mod default_toleration_seconds;
mod deny_service_external_ips;
mod event_rate_limit;
mod extended_resource_toleration;
mod image_policy_webhook;
mod json_patch;
mod limit_pod_hard_anti_affinity_topology;
mod limit_ranger;
mod matching;
mod metrics;
mod namespace_auto_provision;
mod namespace_exists;
mod namespace_lifecycle;
mod node_declared_feature_validator;
mod node_restriction;
mod notes;
mod owner_references_permission_enforcement;
mod persistent_volume_claim_resize;
mod pod_containers;
mod pod_node_selector;
mod pod_resize_validator;
mod pod_security;
mod pod_toleration_restriction;
mod pod_topology_labels;
mod policy;
mod priority;
mod rbac_escalation;
mod reinvocation;
mod resource_quota;
mod resources;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod table;
mod taint_nodes_by_condition;
#[cfg(test)]
mod test_cluster;
mod tolerations;
mod webhook;

use apimachinery::{Object, gvk::GroupVersionKind, managed_fields, meta, status::Status};
use async_trait::async_trait;

pub use chain::{Chain, Link};
pub use configuration::{AdmissionConfiguration, ConfigurationError};
pub use metrics::AdmissionMetrics;
pub use notes::Notes;
pub use reinvocation::Reinvocation;
pub use resources::{Equivalent, Resources, UnknownFields};
pub use table::{Dependencies, PluginError, plugins};

use crate::{request_info::RequestInfo, user::UserInfo};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl Operation {
    /// `CREATE`, as rules and reviews have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
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
    /// What the client is to be warned of and the audit log to be told.
    pub notes: Notes,
    /// Whether plugins are asked a second time, and what those that are external did the first time.
    pub reinvocation: Reinvocation,
}

impl Admission<'_> {
    /// Whether it is about this resource, with no subresource.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.is_subresource(group, resource, "")
    }

    /// Whether it is about this subresource.
    pub fn is_subresource(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.request.group_version.group == group
            && self.request.resource == resource
            && self.request.subresource == subresource
    }

    /// What somebody outside made of the object takes its place. Owners that are in disorder stay what they were, with a warning, as upstream.
    fn replace_object(&mut self, mut changed: Object) {
        let Some(object) = self.object.as_deref_mut() else {
            return;
        };
        if let Err(reason) = managed_fields::check(meta::managed_fields(&changed)) {
            self.notes.warn(format!(
                ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {reason}"
            ));
            let owners = meta::managed_fields(object).to_vec();
            meta::set_managed_fields(&mut changed, owners);
        }
        *object = changed;
    }

    /// The object as it would be stored.
    pub fn new_object(&self) -> Option<&Object> {
        self.object.as_deref()
    }

    /// The name of what it is about; before it is generated, what it will be generated from.
    pub fn name(&self) -> &str {
        if !self.request.name.is_empty() {
            return &self.request.name;
        }
        let object = self.new_object();
        let name = object.map(meta::name).filter(|name| !name.is_empty());
        name.or_else(|| {
            object
                .map(meta::generate_name)
                .filter(|name| !name.is_empty())
        })
        .unwrap_or("Unknown")
    }

    /// The name as webhooks and policies see it: of a new object its own, which is empty as long as it has to be generated.
    pub fn object_name(&self) -> &str {
        if !self.request.name.is_empty() {
            return &self.request.name;
        }
        self.new_object().map(meta::name).unwrap_or_default()
    }

    /// The namespace; a Namespace stands in its own.
    pub fn namespace(&self) -> &str {
        if self.request.namespace.is_empty() && self.is("", "namespaces") {
            return self.object_name();
        }
        &self.request.namespace
    }

    /// The refusal of a plugin.
    pub fn forbidden(&self, reason: impl std::fmt::Display) -> Status {
        Status::forbidden(&self.request.gvr().group_resource(), self.name(), reason)
    }
}

/// A gate. A refusal is a ready-made `Status`; `apimachinery::status` words it.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// The plugin's upstream name, for flags, metrics and messages.
    fn name(&self) -> &'static str;
    /// Whether it has anything to say about `operation`.
    fn handles(&self, operation: Operation) -> bool;
    /// May change the object.
    async fn admit(
        &self,
        _admission: &mut Admission<'_>,
    ) -> Result<(), apimachinery::status::Status> {
        Ok(())
    }
    /// May refuse.
    async fn validate(
        &self,
        _admission: &Admission<'_>,
    ) -> Result<(), apimachinery::status::Status> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
