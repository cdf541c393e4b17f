//! The scheduler's plugins: one file a plugin, one row in [`default_profile`].

mod default_binder;
mod image_locality;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod priority_sort;
mod scheduling_gates;
mod selector;
mod taint_toleration;

use client::Client;

use crate::framework::{Plugin, Profile};

/// The default profile: plugins in upstream's order, with the weights of their scores.
pub(crate) fn default_profile(client: Client) -> Profile {
    let mut plugins = plugins_without_io();
    plugins.push((Box::new(default_binder::DefaultBinder::new(client)), 0));
    Profile::new(plugins)
}

fn plugins_without_io() -> Vec<(Box<dyn Plugin>, i64)> {
    vec![
        (Box::new(scheduling_gates::SchedulingGates), 0),
        (Box::new(priority_sort::PrioritySort), 0),
        (Box::new(node_unschedulable::NodeUnschedulable), 0),
        (Box::new(node_name::NodeName), 0),
        (Box::new(taint_toleration::TaintToleration), 3),
        (Box::new(node_affinity::NodeAffinity), 2),
        (Box::new(node_ports::NodePorts), 0),
        (Box::new(node_resources_fit::NodeResourcesFit), 1),
        (
            Box::new(node_resources_balanced_allocation::NodeResourcesBalancedAllocation),
            1,
        ),
        (Box::new(image_locality::ImageLocality), 1),
    ]
}

/// All of it that needs no API server.
#[cfg(test)]
pub(crate) fn profile_for_tests() -> Profile {
    Profile::new(plugins_without_io())
}
