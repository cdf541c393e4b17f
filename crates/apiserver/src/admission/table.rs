//! All plugins, in upstream's order, and which of them run when nobody says otherwise.

use std::sync::Arc;

use apimachinery::Object;
use base::Clock;

use super::{
    Plugin,
    always::{AlwaysAdmit, AlwaysDeny},
    always_pull_images::AlwaysPullImages,
    certificate_identity::CertificateIdentity,
    certificates::{CertificateApproval, CertificateSigning, CertificateSubjectRestriction},
    chain::{
        Link,
        Phases::{self, Admit, Both, Validate},
    },
    configuration::{AdmissionConfiguration, ConfigurationError},
    default_class::{DefaultIngressClass, DefaultStorageClass},
    default_toleration_seconds::DefaultTolerationSeconds,
    deny_service_external_ips::DenyServiceExternalIPs,
    event_rate_limit::EventRateLimit,
    extended_resource_toleration::ExtendedResourceToleration,
    image_policy_webhook::ImagePolicyWebhook,
    limit_pod_hard_anti_affinity_topology::LimitPodHardAntiAffinityTopology,
    limit_ranger::LimitRanger,
    metrics::AdmissionMetrics,
    namespace_auto_provision::NamespaceAutoProvision,
    namespace_exists::NamespaceExists,
    namespace_lifecycle::NamespaceLifecycle,
    node_declared_feature_validator::NodeDeclaredFeatureValidator,
    node_restriction::NodeRestriction,
    owner_references_permission_enforcement::OwnerReferencesPermissionEnforcement,
    persistent_volume_claim_resize::PersistentVolumeClaimResize,
    pod_node_selector::PodNodeSelector,
    pod_resize_validator::PodResizeValidator,
    pod_security::PodSecurity,
    pod_toleration_restriction::PodTolerationRestriction,
    pod_topology_labels::PodTopologyLabels,
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
    /// Counts.
    pub metrics: AdmissionMetrics,
}

/// A row: name, whether it is on by default, how it is made.
struct Row {
    name: &'static str,
    on: bool,
    /// Those in which it does anything: it is not asked in others.
    phases: Phases,
    make: Make,
}

/// Makes a plugin of what all stand on and of its own configuration; the error says what is wrong with that.
type MakeConfigured = fn(&Dependencies, Option<&Object>) -> Result<Arc<dyn Plugin>, String>;

/// How a plugin is made.
enum Make {
    /// From what all stand on.
    Plain(fn(&Dependencies) -> Arc<dyn Plugin>),
    /// From that and its own configuration, which may be wrong.
    Configured(MakeConfigured),
    /// Not at all: upstream's does nothing either unless a feature gate is on, which is off. Its name may be given nevertheless.
    Gated,
}

const fn row(
    name: &'static str,
    on: bool,
    phases: Phases,
    make: fn(&Dependencies) -> Arc<dyn Plugin>,
) -> Row {
    Row {
        name,
        on,
        phases,
        make: Make::Plain(make),
    }
}

const fn configured(name: &'static str, on: bool, phases: Phases, make: MakeConfigured) -> Row {
    Row {
        name,
        on,
        phases,
        make: Make::Configured(make),
    }
}

/// A plugin of upstream's that its feature gate, which is named for the reader, keeps from doing anything.
const fn gated(name: &'static str, _feature_gate: &'static str) -> Row {
    Row {
        name,
        on: true,
        phases: Both,
        make: Make::Gated,
    }
}

/// The order is upstream's `AllOrderedPlugins`, of 1.36.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row("AlwaysAdmit", false, Admit, |_| Arc::new(AlwaysAdmit)),
    row("NamespaceAutoProvision", false, Admit, |deps| Arc::new(NamespaceAutoProvision::new(deps.reader.clone(), deps.writer.clone()))),
    row("NamespaceLifecycle", true, Admit, |deps| Arc::new(NamespaceLifecycle::new(deps.reader.clone()))),
    row("NamespaceExists", false, Validate, |deps| Arc::new(NamespaceExists::new(deps.reader.clone()))),
    row("LimitPodHardAntiAffinityTopology", false, Validate, |_| Arc::new(LimitPodHardAntiAffinityTopology)),
    row("LimitRanger", true, Both, |deps| Arc::new(LimitRanger::new(deps.reader.clone()))),
    row("ServiceAccount", true, Both, |deps| Arc::new(ServiceAccount::new(deps.reader.clone(), deps.clock.clone()))),
    row("NodeRestriction", false, Admit, |deps| Arc::new(NodeRestriction::new(deps.reader.clone(), deps.authorizer.clone()))),
    row("TaintNodesByCondition", true, Admit, |_| Arc::new(TaintNodesByCondition)),
    row("AlwaysPullImages", false, Both, |_| Arc::new(AlwaysPullImages)),
    configured("ImagePolicyWebhook", false, Validate, |deps, given| Ok(Arc::new(ImagePolicyWebhook::new(deps, given)?))),
    configured("PodSecurity", true, Validate, |deps, given| Ok(Arc::new(PodSecurity::new(deps, given)?))),
    configured("PodNodeSelector", false, Both, |deps, given| Ok(Arc::new(PodNodeSelector::new(deps.reader.clone(), given)?))),
    row("Priority", true, Both, |deps| Arc::new(Priority::new(&deps.reader))),
    row("DefaultTolerationSeconds", true, Admit, |_| Arc::new(DefaultTolerationSeconds)),
    configured("PodTolerationRestriction", false, Both, |deps, given| Ok(Arc::new(PodTolerationRestriction::new(deps.reader.clone(), given)?))),
    configured("EventRateLimit", false, Validate, |deps, given| Ok(Arc::new(EventRateLimit::new(deps.clock.clone(), given)?))),
    row("ExtendedResourceToleration", false, Admit, |_| Arc::new(ExtendedResourceToleration)),
    row("DefaultStorageClass", true, Admit, |deps| Arc::new(DefaultStorageClass::new(deps.reader.clone()))),
    row("StorageObjectInUseProtection", true, Admit, |_| Arc::new(StorageObjectInUseProtection)),
    gated("PodGroupProtection", "GenericWorkload"),
    row("OwnerReferencesPermissionEnforcement", false, Validate, |deps| Arc::new(OwnerReferencesPermissionEnforcement::new(deps.authorizer.clone(), deps.resources.clone()))),
    row("PersistentVolumeClaimResize", true, Validate, |deps| Arc::new(PersistentVolumeClaimResize::new(deps.reader.clone()))),
    row("RuntimeClass", true, Both, |deps| Arc::new(RuntimeClass::new(deps.reader.clone()))),
    row("CertificateApproval", true, Validate, |deps| Arc::new(CertificateApproval::new(deps.authorizer.clone()))),
    row("CertificateSigning", true, Validate, |deps| Arc::new(CertificateSigning::new(deps.authorizer.clone()))),
    gated("ClusterTrustBundleAttest", "ClusterTrustBundle"),
    row("CertificateSubjectRestriction", true, Validate, |_| Arc::new(CertificateSubjectRestriction)),
    row("DefaultIngressClass", true, Admit, |deps| Arc::new(DefaultIngressClass::new(deps.reader.clone()))),
    row("DenyServiceExternalIPs", false, Validate, |_| Arc::new(DenyServiceExternalIPs)),
    row("PodTopologyLabels", true, Admit, |deps| Arc::new(PodTopologyLabels::new(deps.reader.clone()))),
    gated("PodGroupWorkloadExists", "GenericWorkload"),
    row("NodeDeclaredFeatureValidator", true, Validate, |deps| Arc::new(NodeDeclaredFeatureValidator::new(deps.reader.clone()))),
    gated("JobValidation", "WorkloadWithJob"),
    row("PodResizeValidator", true, Validate, |deps| Arc::new(PodResizeValidator::new(deps.reader.clone()))),
    // What is added above comes before these: they see what all others made of the object.
    row("MutatingAdmissionPolicy", true, Admit, |deps| Arc::new(MutatingAdmissionPolicy::new(deps))),
    configured("MutatingAdmissionWebhook", true, Admit, |deps, given| Ok(Arc::new(MutatingAdmissionWebhook::new(deps, given)?))),
    row("ValidatingAdmissionPolicy", true, Validate, |deps| Arc::new(ValidatingAdmissionPolicy::new(deps))),
    configured("ValidatingAdmissionWebhook", true, Validate, |deps, given| Ok(Arc::new(ValidatingAdmissionWebhook::new(deps, given)?))),
    configured("ResourceQuota", true, Validate, |deps, given| Ok(Arc::new(ResourceQuota::new(deps, given)?))),
    row("AlwaysDeny", false, Both, |_| Arc::new(AlwaysDeny)),
];

/// The plugins that were asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// `--enable-admission-plugins` or `--disable-admission-plugins` names one that does not exist.
    #[error("unknown admission plugin: {0}")]
    Unknown(String),
    /// `--admission-control-config-file` cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A plugin cannot work with what it is told there.
    #[error("couldn't init admission plugin {plugin:?}: {reason}")]
    Init {
        /// Which.
        plugin: &'static str,
        /// Why.
        reason: String,
    },
}

impl Row {
    fn link(
        &self,
        dependencies: &Dependencies,
        configuration: &AdmissionConfiguration,
    ) -> Result<Option<Link>, PluginError> {
        let plugin = match self.make {
            Make::Plain(make) => make(dependencies),
            Make::Configured(make) => {
                make(dependencies, configuration.of(self.name)).map_err(|reason| {
                    PluginError::Init {
                        plugin: self.name,
                        reason,
                    }
                })?
            }
            Make::Gated => return Ok(None),
        };
        let link = Link::new(plugin, self.phases, &dependencies.metrics);
        Ok(Some(link))
    }
}

/// The plugins of a server: those on by default, with those of `enable` and without those of `disable`, told what the configuration says.
///
/// Two that come last are no plugins upstream, where the storage of their resources does the same, and cannot be disabled: who asks for a
/// certificate, and the escalation check of RBAC.
pub fn plugins(
    enable: &[String],
    disable: &[String],
    configuration: &AdmissionConfiguration,
    dependencies: &Dependencies,
) -> Result<Vec<Link>, PluginError> {
    if let Some(unknown) = enable
        .iter()
        .chain(disable)
        .find(|name| !TABLE.iter().any(|row| row.name == **name))
    {
        return Err(PluginError::Unknown(unknown.clone()));
    }
    let named = |list: &[String], row: &Row| list.iter().any(|name| name == row.name);
    let on = |row: &&Row| (row.on || named(enable, row)) && !named(disable, row);
    let mut plugins = Vec::new();
    for row in TABLE.iter().filter(on) {
        plugins.extend(row.link(dependencies, configuration)?);
    }
    plugins.push(Link::uncounted(Arc::new(CertificateIdentity {
        clock: dependencies.clock.clone(),
    })));
    plugins.push(Link::uncounted(Arc::new(RbacEscalation::new(
        dependencies.rules.clone(),
        dependencies.authorizer.clone(),
    ))));
    Ok(plugins)
}
