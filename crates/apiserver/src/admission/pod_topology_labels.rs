//! PodTopologyLabels: a pod learns the zone and the region of its node by labels of its own, for the downward API and for selectors. They
//! come with the binding, which hands its labels on to the pod, or with the node's name if the pod is made with one.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, lookup, meta, status::Status};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin};
use crate::reader::ObjectReader;

const NODES: GroupResource = GroupResource::new("", "nodes");
const LABELS: &[&str] = &[
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

pub(super) struct PodTopologyLabels {
    reader: Arc<dyn ObjectReader>,
}

impl PodTopologyLabels {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

/// The node that a pod or a binding names, if it is about one.
fn node<'a>(admission: &Admission<'_>, object: &'a Object) -> Option<&'a str> {
    let name = if admission.is("", "pods") {
        lookup::text(object, &["spec", "nodeName"])
    } else if admission.is_subresource("", "pods", "binding")
        && lookup::text(object, &["target", "kind"]) == "Node"
    {
        lookup::text(object, &["target", "name"])
    } else {
        ""
    };
    (!name.is_empty()).then_some(name)
}

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let Some(name) = admission.new_object().and_then(|new| node(admission, new)) else {
            return Ok(());
        };
        if !self.reader.synced(&NODES) {
            return Err(admission.forbidden("not yet ready to handle request"));
        }
        // A node that is not there has no labels; whether it may be named is for others to say.
        let Some(node) = self.reader.get(&NODES, "", name) else {
            return Ok(());
        };
        let Some(object) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        for key in LABELS {
            if let Some(value) = meta::label(&node, key) {
                meta::set_label(object, key, Some(value));
            }
        }
        Ok(())
    }
}
