//! Every built-in resource, one file a kind, and [`TABLE`], the one list of them.
//!
//! The order is discovery's: it decides which group answers for a short name that two groups share.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod storage;

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::Resource;

/// Every built-in resource in every version served.
pub static TABLE: &[&Resource] = &[
    &core::binding::RESOURCE,
    &core::component_status::RESOURCE,
    &core::config_map::RESOURCE,
    &core::endpoints::RESOURCE,
    &core::event::RESOURCE,
    &core::limit_range::RESOURCE,
    &core::namespace::RESOURCE,
    &core::node::RESOURCE,
    &core::persistent_volume_claim::RESOURCE,
    &core::persistent_volume::RESOURCE,
    &core::pod::RESOURCE,
    &core::pod_template::RESOURCE,
    &core::replication_controller::RESOURCE,
    &core::resource_quota::RESOURCE,
    &core::secret::RESOURCE,
    &core::service_account::RESOURCE,
    &core::service::RESOURCE,
    &apiregistration::api_service::RESOURCE,
    &apps::controller_revision::RESOURCE,
    &apps::daemon_set::RESOURCE,
    &apps::deployment::RESOURCE,
    &apps::replica_set::RESOURCE,
    &apps::stateful_set::RESOURCE,
    &events::event::RESOURCE,
    &authentication::self_subject_review::RESOURCE,
    &authentication::token_review::RESOURCE,
    &authorization::local_subject_access_review::RESOURCE,
    &authorization::self_subject_access_review::RESOURCE,
    &authorization::self_subject_rules_review::RESOURCE,
    &authorization::subject_access_review::RESOURCE,
    &autoscaling::horizontal_pod_autoscaler_v2::RESOURCE,
    &autoscaling::horizontal_pod_autoscaler_v1::RESOURCE,
    &batch::cron_job::RESOURCE,
    &batch::job::RESOURCE,
    &certificates::certificate_signing_request::RESOURCE,
    &networking::ingress_class::RESOURCE,
    &networking::ingress::RESOURCE,
    &networking::ip_address::RESOURCE,
    &networking::network_policy::RESOURCE,
    &networking::service_cidr::RESOURCE,
    &policy::pod_disruption_budget::RESOURCE,
    &rbac::cluster_role_binding::RESOURCE,
    &rbac::cluster_role::RESOURCE,
    &rbac::role_binding::RESOURCE,
    &rbac::role::RESOURCE,
    &storage::csi_driver::RESOURCE,
    &storage::csi_node::RESOURCE,
    &storage::csi_storage_capacity::RESOURCE,
    &storage::storage_class::RESOURCE,
    &storage::volume_attachment::RESOURCE,
    &storage::volume_attributes_class::RESOURCE,
    &admissionregistration::mutating_admission_policy::RESOURCE,
    &admissionregistration::mutating_admission_policy_binding::RESOURCE,
    &admissionregistration::mutating_webhook_configuration::RESOURCE,
    &admissionregistration::validating_admission_policy::RESOURCE,
    &admissionregistration::validating_admission_policy_binding::RESOURCE,
    &admissionregistration::validating_webhook_configuration::RESOURCE,
    &apiextensions::custom_resource_definition::RESOURCE,
    &scheduling::priority_class::RESOURCE,
    &coordination::lease::RESOURCE,
    &node::runtime_class::RESOURCE,
    &discovery::endpoint_slice::RESOURCE,
    &resource::device_class::RESOURCE,
    &resource::resource_claim::RESOURCE,
    &resource::resource_claim_template::RESOURCE,
    &resource::resource_slice::RESOURCE,
    &flowcontrol::flow_schema::RESOURCE,
    &flowcontrol::priority_level_configuration::RESOURCE,
];

/// The row of a resource.
pub fn by_resource(gvr: &GroupVersionResource) -> Option<&'static Resource> {
    TABLE.iter().copied().find(|row| row.gvr == *gvr)
}

/// The row of a kind.
pub fn by_kind(gvk: &GroupVersionKind) -> Option<&'static Resource> {
    TABLE.iter().copied().find(|row| row.gvk == *gvk)
}
