//! Rows of `kubectl get`: one function a kind, one table of them. The columns stand in [`crate::facts`].
//!
//! Every row has the cells of all columns, those of `-o wide` too; the client chooses. The objects are in the version kept
//! ([`crate::kind::Storage::hub`]), which for events is the core group's.

mod age;
mod core;
mod format;
mod metrics;
mod network;
mod pods;
mod policy;
mod workloads;

use std::sync::LazyLock;

use apimachinery::{Object, Projection, gvk::GroupVersionKind};
use jiff::Timestamp;
use serde_json::Value;

pub use self::age::human_duration;

/// The cells of an object's row at the time `now`, one for each column of the resource.
type Cells = fn(&Object, Timestamp) -> Vec<Value>;

/// Kinds and their printers; a kind that is not here shows its name and when it was made.
const PRINTERS: &[(&str, Cells)] = &[
    ("APIService", core::api_service),
    (
        "CertificateSigningRequest",
        core::certificate_signing_request,
    ),
    ("ComponentStatus", core::component_status),
    ("ConfigMap", core::config_map),
    ("Event", core::event),
    ("Lease", core::lease),
    ("Namespace", core::namespace),
    ("Node", core::node),
    ("PersistentVolume", core::persistent_volume),
    ("PersistentVolumeClaim", core::persistent_volume_claim),
    ("PriorityClass", core::priority_class),
    ("ResourceQuota", core::resource_quota),
    ("Secret", core::secret),
    ("ServiceAccount", core::name_and_age),
    ("DeviceClass", core::name_and_age),
    ("ResourceClaimTemplate", core::name_and_age),
    ("Pod", pods::cells),
    ("ControllerRevision", workloads::controller_revision),
    ("CronJob", workloads::cron_job),
    ("DaemonSet", workloads::daemon_set),
    ("Deployment", workloads::deployment),
    (
        "HorizontalPodAutoscaler",
        workloads::horizontal_pod_autoscaler,
    ),
    ("Job", workloads::job),
    ("PodDisruptionBudget", workloads::pod_disruption_budget),
    ("PodTemplate", workloads::pod_template),
    ("ReplicaSet", workloads::replica_set),
    ("ReplicationController", workloads::replication_controller),
    ("StatefulSet", workloads::stateful_set),
    ("Endpoints", network::endpoints),
    ("EndpointSlice", network::endpoint_slice),
    ("Ingress", network::ingress),
    ("IngressClass", network::ingress_class),
    ("IPAddress", network::ip_address),
    ("NetworkPolicy", network::network_policy),
    ("Service", network::service),
    ("ServiceCIDR", network::service_cidr),
    ("ClusterRoleBinding", policy::binding),
    ("RoleBinding", policy::binding),
    ("CSIDriver", policy::csi_driver),
    ("CSINode", policy::csi_node),
    ("StorageClass", policy::storage_class),
    ("VolumeAttachment", policy::volume_attachment),
    ("VolumeAttributesClass", policy::volume_attributes_class),
    ("RuntimeClass", policy::runtime_class),
    ("MutatingAdmissionPolicy", policy::admission_policy),
    (
        "MutatingAdmissionPolicyBinding",
        policy::admission_policy_binding,
    ),
    ("MutatingWebhookConfiguration", policy::webhooks),
    ("ValidatingAdmissionPolicy", policy::admission_policy),
    (
        "ValidatingAdmissionPolicyBinding",
        policy::admission_policy_binding,
    ),
    ("ValidatingWebhookConfiguration", policy::webhooks),
    ("FlowSchema", policy::flow_schema),
    (
        "PriorityLevelConfiguration",
        policy::priority_level_configuration,
    ),
    ("ResourceClaim", policy::resource_claim),
    ("ResourceSlice", policy::resource_slice),
];

/// What prints the rows of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    cells: Cells,
    conditions: fn(&Object) -> Vec<Value>,
    projection: &'static LazyLock<Projection>,
}

impl Printer {
    /// The printer of a kind.
    pub fn of(gvk: &GroupVersionKind) -> Self {
        static POD: LazyLock<Projection> =
            LazyLock::new(|| Projection::of_paths(pods::PATHS.iter().copied()));
        static OTHERS: LazyLock<Projection> =
            LazyLock::new(|| Projection::all_but(["metadata.managedFields"]));
        // Custom resources may bear the name of a built-in kind.
        let built_in = crate::kinds::by_kind(gvk).is_some();
        let cells = PRINTERS
            .iter()
            .find(|(kind, _)| built_in && *kind == gvk.kind)
            .map_or(policy::created_at as Cells, |(_, cells)| *cells);
        let is_pod = built_in && gvk.group.is_empty() && gvk.kind == "Pod";
        Self {
            cells,
            conditions: if is_pod {
                pods::row_conditions
            } else {
                |_| Vec::new()
            },
            projection: if is_pod { &POD } else { &OTHERS },
        }
    }

    /// The cells of a row, one for each column of the resource.
    pub fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        (self.cells)(object, now)
    }

    /// The conditions of a row (`TableRow.conditions`).
    pub fn conditions(&self, object: &Object) -> Vec<Value> {
        (self.conditions)(object)
    }

    /// What of an object is looked at: what need not be read for a row is left out.
    pub fn projection(&self) -> &'static Projection {
        self.projection
    }
}

/// How long ago an object was made, as tables show it.
pub fn age_of(object: &Object, now: Timestamp) -> String {
    age::age(object, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::{facts, kinds::TABLE};

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        for resource in TABLE {
            let Some(columns) = facts::columns(&resource.gvr) else {
                continue;
            };
            let cells = Printer::of(&resource.gvk).cells(&Object::new(), Timestamp::UNIX_EPOCH);
            let unnamed = usize::from(resource.gvr.resource == "ipaddresses");
            let expected = columns.len() + unnamed;
            assert_eq!(cells.len(), expected, "{}", resource.gvr.resource);
        }
    }

    #[test]
    fn a_claim_tells_its_volumes_size_once_it_has_one() {
        let claim = |object: Value| {
            let gvk = GroupVersionKind::new("", "v1", "PersistentVolumeClaim");
            let Value::Object(object) = object else {
                panic!("no object")
            };
            Printer::of(&gvk).cells(&object, Timestamp::UNIX_EPOCH)[3].clone()
        };
        let status = json!({"capacity": {"storage": "1Gi"}});
        assert_eq!(claim(json!({"status": status})), "");
        assert_eq!(
            claim(json!({"spec": {"volumeName": "v"}, "status": status})),
            "1Gi"
        );
        assert_eq!(claim(json!({"spec": {"volumeName": "v"}})), "0");
    }
}
