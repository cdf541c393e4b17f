//! NodeDeclaredFeatureValidator: a running pod is changed only in ways that its node says it can carry out
//! (`node.status.declaredFeatures`, KEP-5328).

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, lookup, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::reader::ObjectReader;

const NODES: GroupResource = GroupResource::new("", "nodes");

/// A feature, and whether a change of a pod, from old to new, needs it.
type Feature = (&'static str, fn(&Object, &Object) -> bool);

/// In order of name.
const FEATURES: &[Feature] = &[
    (
        "InPlacePodLevelResourcesVerticalScaling",
        changes_pod_resources,
    ),
    (
        "InPlacePodVerticalScalingInitContainers",
        changes_init_containers,
    ),
];

fn changes_pod_resources(old: &Object, new: &Object) -> bool {
    let resources = |pod| lookup::value(pod, &["spec", "resources"]);
    resources(old) != resources(new)
}

/// Of those that run to their end before the pod starts; sidecars go on running.
fn changes_init_containers(old: &Object, new: &Object) -> bool {
    let containers = |pod| lookup::objects(pod, &["spec", "initContainers"]);
    let resources = |container| lookup::value(container, &["resources"]);
    containers(old)
        .zip(containers(new))
        .filter(|(old, _)| lookup::text(old, &["restartPolicy"]) != "Always")
        .any(|(old, new)| resources(old) != resources(new))
}

pub(super) struct NodeDeclaredFeatureValidator {
    reader: Arc<dyn ObjectReader>,
}

impl NodeDeclaredFeatureValidator {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Plugin for NodeDeclaredFeatureValidator {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatureValidator"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is("", "pods") && !admission.is_subresource("", "pods", "resize") {
            return Ok(());
        }
        let (Some(old), Some(new)) = (admission.old_object, admission.new_object()) else {
            return Ok(());
        };
        let name = lookup::text(new, &["spec", "nodeName"]);
        if name.is_empty() || old.get("spec") == new.get("spec") {
            return Ok(());
        }
        let needed = FEATURES.iter().filter(|(_, needs)| needs(old, new));
        let needed: Vec<&str> = needed.map(|(feature, _)| *feature).collect();
        if needed.is_empty() {
            return Ok(());
        }
        let node = node(&*self.reader, admission, name)?;
        let declared = lookup::strings(&node, &["status", "declaredFeatures"]);
        let missing: Vec<&str> = needed
            .into_iter()
            .filter(|feature| !declared.iter().any(|declared| declared == feature))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(admission.forbidden(format!(
            "pod update requires features {} which are not available on node {name:?}",
            missing.join(", ")
        )))
    }
}

/// A node that a pod is on; without it nobody can say what the pod may become.
pub(super) fn node(
    reader: &dyn ObjectReader,
    admission: &Admission<'_>,
    name: &str,
) -> Result<Arc<Object>, Status> {
    if !reader.synced(&NODES) {
        return Err(admission.forbidden("not yet ready to handle request"));
    }
    let found = reader.get(&NODES, "", name);
    found.ok_or_else(|| admission.forbidden(format!("node {name:?} not found")))
}
