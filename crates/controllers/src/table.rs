//! All controllers, in the order in which they start. A new one is one file (or folder) and one row.

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ReplicationController};

use crate::{
    bootstrap_signer, certificates, clusterrole_aggregation, context::ControllerContext, cronjob,
    daemonset, deployment, disruption, endpoint_slice, endpoint_slice_mirroring, endpoints,
    garbage_collector, job, legacy_token_cleaner, namespace, node_ipam, node_lifecycle,
    pod_garbage_collector, podautoscaler, replica_set, resource_quota, root_ca_cert_publisher,
    service_account, service_account_tokens, service_cidr, statefulset, taint_eviction,
    token_cleaner, ttl, ttl_after_finished, validating_admission_policy_status, volume,
};

/// One controller.
pub(crate) struct Controller {
    /// Upstream's name, as `--controllers` takes it.
    pub(crate) name: &'static str,
    /// The service account in `kube-system` as which it acts, where each controller has its own; the bootstrap policy grants it what it needs.
    /// The one that is empty acts as the controller manager itself: it makes what the others are identified by.
    pub(crate) service_account: &'static str,
    /// The name that its events carry as their source.
    pub(crate) event_source: &'static str,
    /// Whether `*` includes it.
    pub(crate) default_on: bool,
    /// Starts its tasks in the context's group and returns.
    pub(crate) start: fn(ControllerContext),
}

const fn on(
    name: &'static str,
    service_account: &'static str,
    event_source: &'static str,
    start: fn(ControllerContext),
) -> Controller {
    Controller {
        name,
        service_account,
        event_source,
        default_on: true,
        start,
    }
}

/// One that `*` does not include.
const fn off(
    name: &'static str,
    service_account: &'static str,
    event_source: &'static str,
    start: fn(ControllerContext),
) -> Controller {
    Controller {
        default_on: false,
        ..on(name, service_account, event_source, start)
    }
}

/// The table.
#[rustfmt::skip]
pub(crate) const TABLE: &[Controller] = &[
    on(node_ipam::NAME, "node-controller", "cidrAllocator", node_ipam::start),
    on(node_lifecycle::NAME, "node-controller", "node-controller", node_lifecycle::start),
    on(taint_eviction::NAME, "node-controller", "taint-eviction-controller", taint_eviction::start),
    on(ttl::NAME, "ttl-controller", "ttl-controller", ttl::start),
    on(namespace::NAME, "namespace-controller", "namespace-controller", namespace::start),
    on(service_account::NAME, "service-account-controller", "serviceaccount-controller", service_account::start),
    on(service_account_tokens::NAME, "", "serviceaccount-token-controller", service_account_tokens::start),
    on(legacy_token_cleaner::NAME, "legacy-service-account-token-cleaner", "legacy-service-account-token-cleaner", legacy_token_cleaner::start),
    on(root_ca_cert_publisher::NAME, "root-ca-cert-publisher", "root-ca-cert-publisher", root_ca_cert_publisher::start),
    off(bootstrap_signer::NAME, "bootstrap-signer", "bootstrap-signer", bootstrap_signer::start),
    off(token_cleaner::NAME, "token-cleaner", "token-cleaner", token_cleaner::start),
    on(certificates::APPROVER, "certificate-controller", "certificate-controller", certificates::start_approver),
    on(certificates::SIGNER, "certificate-controller", "certificate-controller", certificates::start_signer),
    on(certificates::CLEANER, "certificate-controller", "certificate-controller", certificates::start_cleaner),
    on(clusterrole_aggregation::NAME, "clusterrole-aggregation-controller", "clusterrole-aggregation-controller", clusterrole_aggregation::start),
    on(deployment::NAME, "deployment-controller", "deployment-controller", deployment::start),
    on(replica_set::REPLICA_SET, "replicaset-controller", "replicaset-controller", replica_set::start::<ReplicaSet>),
    on(replica_set::REPLICATION_CONTROLLER, "replication-controller", "replication-controller", replica_set::start::<ReplicationController>),
    on(daemonset::NAME, "daemon-set-controller", "daemonset-controller", daemonset::start),
    on(statefulset::NAME, "statefulset-controller", "statefulset-controller", statefulset::start),
    on(job::NAME, "job-controller", "job-controller", job::start),
    on(cronjob::NAME, "cronjob-controller", "cronjob-controller", cronjob::start),
    on(ttl_after_finished::NAME, "ttl-after-finished-controller", "ttl-after-finished-controller", ttl_after_finished::start),
    on(disruption::NAME, "disruption-controller", "controllermanager", disruption::start),
    on(podautoscaler::NAME, "horizontal-pod-autoscaler", "horizontal-pod-autoscaler", podautoscaler::start),
    on(endpoints::NAME, "endpoint-controller", "endpoint-controller", endpoints::start),
    on(endpoint_slice::NAME, "endpointslice-controller", "endpoint-slice-controller", endpoint_slice::start),
    on(endpoint_slice_mirroring::NAME, "endpointslicemirroring-controller", "endpoint-slice-mirroring-controller", endpoint_slice_mirroring::start),
    on(service_cidr::NAME, "service-cidrs-controller", "service-cidr-controller", service_cidr::start),
    on(resource_quota::NAME, "resourcequota-controller", "resourcequota-controller", resource_quota::start),
    on(volume::binder::NAME, "persistent-volume-binder", "persistentvolume-controller", volume::binder::start),
    on(volume::ephemeral::NAME, "ephemeral-volume-controller", "ephemeral_volume", volume::ephemeral::start),
    on(volume::pvc_protection::NAME, "pvc-protection-controller", "pvc-protection-controller", volume::pvc_protection::start),
    on(volume::pv_protection::NAME, "pv-protection-controller", "pv-protection-controller", volume::pv_protection::start),
    on(volume::vac_protection::NAME, "volumeattributesclass-protection-controller", "volumeattributesclass-protection-controller", volume::vac_protection::start),
    on(validating_admission_policy_status::NAME, "validatingadmissionpolicy-status-controller", "validatingadmissionpolicy-status-controller", validating_admission_policy_status::start),
    on(pod_garbage_collector::NAME, "pod-garbage-collector", "pod-garbage-collector", pod_garbage_collector::start),
    on(garbage_collector::NAME, "generic-garbage-collector", "garbage-collector-controller", garbage_collector::start),
];
