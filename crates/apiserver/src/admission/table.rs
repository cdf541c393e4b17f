//! All plugins, in upstream's order, and which of them run when nobody says otherwise.

use std::sync::Arc;

use base::Clock;

use super::{
    Plugin,
    certificate_identity::CertificateIdentity,
    certificates::{CertificateApproval, CertificateSigning, CertificateSubjectRestriction},
    default_class::{DefaultIngressClass, DefaultStorageClass},
    default_toleration_seconds::DefaultTolerationSeconds,
    limit_ranger::LimitRanger,
    namespace_lifecycle::NamespaceLifecycle,
    node_restriction::NodeRestriction,
    persistent_volume_claim_resize::PersistentVolumeClaimResize,
    pod_security::PodSecurity,
    policy::{MutatingAdmissionPolicy, ValidatingAdmissionPolicy},
    priority::Priority,
    rbac_escalation::RbacEscalation,
    resource_quota::ResourceQuota,
    resources::Resources,
    runtime_class::RuntimeClass,
    service_account::ServiceAccount,
    storage_object_in_use_protection::StorageObjectInUseProtection,
    taint_nodes_by_condition::TaintNodesByCondition,
    webhook::{MutatingAdmissionWebhook, ValidatingAdmissionWebhook},
};
use crate::{
    authz::{Authorizer, rbac::RuleResolver},
    reader::{ObjectReader, ObjectWriter},
    webhook_client::WebhookClients,
};

/// What plugins stand on.
#[derive(Clone)]
pub struct Dependencies {
    /// Reads objects.
    pub reader: Arc<dyn ObjectReader>,
    /// Writes objects, as the server itself.
    pub writer: Arc<dyn ObjectWriter>,
    /// Decides what a user may do beyond the request itself.
    pub authorizer: Arc<dyn Authorizer>,
    /// Knows who holds which rules.
    pub rules: Arc<RuleResolver>,
    /// For the time.
    pub clock: Clock,
    /// The served resources, in all their versions.
    pub resources: Arc<dyn Resources>,
    /// Calls webhooks.
    pub webhooks: WebhookClients,
}

/// A row: name, whether it is on by default, how it is made.
struct Row {
    name: &'static str,
    on: bool,
    make: fn(&Dependencies) -> Arc<dyn Plugin>,
}

const fn row(name: &'static str, on: bool, make: fn(&Dependencies) -> Arc<dyn Plugin>) -> Row {
    Row { name, on, make }
}

/// The order is upstream's `AllOrderedPlugins`.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row("NamespaceLifecycle", true, |deps| Arc::new(NamespaceLifecycle::new(deps.reader.clone()))),
    row("LimitRanger", true, |deps| Arc::new(LimitRanger::new(deps.reader.clone()))),
    row("ServiceAccount", true, |deps| Arc::new(ServiceAccount::new(deps.reader.clone(), deps.clock.clone()))),
    row("NodeRestriction", false, |deps| Arc::new(NodeRestriction::new(deps.reader.clone(), deps.authorizer.clone()))),
    row("TaintNodesByCondition", true, |_| Arc::new(TaintNodesByCondition)),
    row("PodSecurity", true, |deps| Arc::new(PodSecurity::new(deps.reader.clone()))),
    row("Priority", true, |deps| Arc::new(Priority::new(&deps.reader))),
    row("DefaultTolerationSeconds", true, |_| Arc::new(DefaultTolerationSeconds)),
    row("DefaultStorageClass", true, |deps| Arc::new(DefaultStorageClass::new(deps.reader.clone()))),
    row("StorageObjectInUseProtection", true, |_| Arc::new(StorageObjectInUseProtection)),
    row("PersistentVolumeClaimResize", true, |deps| Arc::new(PersistentVolumeClaimResize::new(deps.reader.clone()))),
    row("RuntimeClass", true, |deps| Arc::new(RuntimeClass::new(deps.reader.clone()))),
    row("CertificateApproval", true, |deps| Arc::new(CertificateApproval::new(deps.authorizer.clone()))),
    row("CertificateSigning", true, |deps| Arc::new(CertificateSigning::new(deps.authorizer.clone()))),
    row("CertificateSubjectRestriction", true, |_| Arc::new(CertificateSubjectRestriction)),
    row("DefaultIngressClass", true, |deps| Arc::new(DefaultIngressClass::new(deps.reader.clone()))),
    // What is added above comes before these: they see what all others made of the object.
    row("MutatingAdmissionPolicy", true, |deps| Arc::new(MutatingAdmissionPolicy::new(deps))),
    row("MutatingAdmissionWebhook", true, |deps| Arc::new(MutatingAdmissionWebhook::new(deps))),
    row("ValidatingAdmissionPolicy", true, |deps| Arc::new(ValidatingAdmissionPolicy::new(deps))),
    row("ValidatingAdmissionWebhook", true, |deps| Arc::new(ValidatingAdmissionWebhook::new(deps))),
    row("ResourceQuota", true, |deps| Arc::new(ResourceQuota::new(deps))),
];

/// `--enable-admission-plugins` or `--disable-admission-plugins` names one that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("unknown admission plugin: {0}")]
pub struct UnknownPlugin(pub String);

/// The plugins of a server: those on by default, with those of `enable` and without those of `disable`.
///
/// Two that come last are no plugins upstream, where the storage of their resources does the same, and cannot be disabled: who asks for a
/// certificate, and the escalation check of RBAC.
pub fn plugins(
    enable: &[String],
    disable: &[String],
    dependencies: &Dependencies,
) -> Result<Vec<Arc<dyn Plugin>>, UnknownPlugin> {
    if let Some(unknown) = enable
        .iter()
        .chain(disable)
        .find(|name| !TABLE.iter().any(|row| row.name == **name))
    {
        return Err(UnknownPlugin(unknown.clone()));
    }
    let named = |list: &[String], row: &Row| list.iter().any(|name| name == row.name);
    let on = |row: &&Row| (row.on || named(enable, row)) && !named(disable, row);
    let mut plugins: Vec<_> = TABLE
        .iter()
        .filter(on)
        .map(|row| (row.make)(dependencies))
        .collect();
    plugins.push(Arc::new(CertificateIdentity {
        clock: dependencies.clock.clone(),
    }));
    plugins.push(Arc::new(RbacEscalation::new(
        dependencies.rules.clone(),
        dependencies.authorizer.clone(),
    )));
    Ok(plugins)
}
