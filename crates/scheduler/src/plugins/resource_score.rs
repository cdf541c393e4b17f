//! What the two plugins that score nodes by their resources share: which resources count, and how much of them would be used.

use serde::Deserialize;

use super::PluginError;
use crate::{node_info::NodeInfo, resource::Resources};

/// A resource, and how much it counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ResourceSpec {
    pub(super) name: String,
    #[serde(default = "one")]
    pub(super) weight: i64,
}

fn one() -> i64 {
    1
}

/// CPU and memory, alike.
pub(super) fn default_resources() -> Vec<ResourceSpec> {
    ["cpu", "memory"]
        .map(|name| ResourceSpec {
            name: name.to_owned(),
            weight: 1,
        })
        .to_vec()
}

/// Upstream's checks of a list of resources.
pub(super) fn validate(resources: &[ResourceSpec], at: &str) -> Result<(), PluginError> {
    for (index, resource) in resources.iter().enumerate() {
        if !(1..=100).contains(&resource.weight) {
            return Err(PluginError::new(
                format!("{at}[{index}].weight"),
                "resource weight not in valid range [1, 100]",
            ));
        }
    }
    Ok(())
}

/// One resource of a node, as it is and as it would be with the pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) before: i64,
    pub(super) after: i64,
    /// Never 0.
    pub(super) allocatable: i64,
    pub(super) weight: i64,
}

/// The usage of those of the resources that the node has; extended ones count for pods that ask for them alone.
pub(super) fn usages<'a>(
    resources: &'a [ResourceSpec],
    wanted: &'a Resources,
    used: &'a Resources,
    node: &'a NodeInfo,
) -> impl Iterator<Item = Usage> + 'a {
    resources.iter().filter_map(|resource| {
        let name = resource.name.as_str();
        let is_scalar = !matches!(name, "cpu" | "memory" | "ephemeral-storage");
        let (amount, allocatable) = (wanted.get(name), node.allocatable.get(name));
        if allocatable == 0 || (is_scalar && amount == 0) {
            return None;
        }
        let before = used.get(name);
        Some(Usage {
            before,
            after: before.saturating_add(amount),
            allocatable,
            weight: resource.weight,
        })
    })
}
