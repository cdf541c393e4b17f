//! LimitPodHardAntiAffinityTopology: a pod may insist on being away from others on its node, and no further than that: with another
//! topology one pod could keep all others out of a zone. Off by default.

use apimachinery::{gvk::GroupResource, lookup, meta, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};

const PODS: GroupResource = GroupResource::new("", "pods");
const HOSTNAME: &str = "kubernetes.io/hostname";

pub(super) struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(pod) = admission.new_object().filter(|_| admission.is("", "pods")) else {
            return Ok(());
        };
        let terms = [
            "spec",
            "affinity",
            "podAntiAffinity",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ];
        let other = lookup::objects(pod, &terms)
            .map(|term| lookup::text(term, &["topologyKey"]))
            .find(|key| *key != HOSTNAME);
        match other {
            None => Ok(()),
            Some(key) => Err(Status::forbidden(
                &PODS,
                meta::name(pod),
                format!(
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOSTNAME} is allowed"
                ),
            )),
        }
    }
}
