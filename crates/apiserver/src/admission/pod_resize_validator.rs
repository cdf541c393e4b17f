//! PodResizeValidator: a running pod does not grow beyond what its node could ever give, nor where resizing does not exist.

use std::sync::Arc;

use api::quota;
use apimachinery::{
    Object, Quantity, lookup, meta,
    status::{Status, StatusCause},
};
use async_trait::async_trait;

use super::{Admission, Operation, Plugin, node_declared_feature_validator::node};
use crate::reader::ObjectReader;

pub(super) struct PodResizeValidator {
    reader: Arc<dyn ObjectReader>,
}

impl PodResizeValidator {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !admission.is_subresource("", "pods", "resize") {
            return Ok(());
        }
        let (Some(old), Some(new)) = (admission.old_object, admission.new_object()) else {
            return Ok(());
        };
        let name = lookup::text(new, &["spec", "nodeName"]);
        if name.is_empty() || old.get("spec") == new.get("spec") {
            return Ok(());
        }
        let node = node(&*self.reader, admission, name)?;
        let refuse = |reason: String, cause: &str| {
            Err(admission
                .forbidden(reason)
                .with_cause(StatusCause::new(cause, "", "")))
        };
        if let Some(system) = meta::label(&node, "kubernetes.io/os")
            && system != "linux"
        {
            return refuse(
                format!("pod resize is only supported on linux nodes, node {name:?} is {system:?}"),
                "UnsupportedPlatform",
            );
        }
        let exceeded = exceeded(new, &node);
        if exceeded.is_empty() {
            return Ok(());
        }
        refuse(
            format!(
                "node didn't have enough allocatable resources: {}",
                exceeded.join("; ")
            ),
            "NodeCapacity",
        )
    }
}

/// A quantity in the unit that a refusal names it in.
type Unit = fn(&Quantity) -> i64;

/// What the pod requests beyond what the node has in all: CPU in thousandths, memory in bytes.
fn exceeded(pod: &Object, node: &Object) -> Vec<String> {
    let requests = quota::pod_requests(pod);
    let allocatable = quota::resources(node, &["status", "allocatable"]);
    let units: [(&str, Unit); 2] = [("cpu", Quantity::milli_value), ("memory", Quantity::value)];
    units
        .into_iter()
        .filter_map(|(name, unit)| {
            let wanted = requests.get(name).copied().unwrap_or(Quantity::ZERO);
            let there = allocatable.get(name).copied().unwrap_or(Quantity::ZERO);
            (wanted > there).then(|| {
                let (wanted, there) = (unit(&wanted), unit(&there));
                format!("{name}, requested: {wanted}, allocatable: {there}")
            })
        })
        .collect()
}
