//! The scheduler's plugins: one file (or folder) a plugin, one row in [`TABLE`].

mod arguments;
mod default_binder;
mod default_preemption;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_declared_features;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod node_volume_limits;
mod pod_topology_spread;
mod priority_sort;
mod resource_score;
mod scheduling_gates;
mod selector;
mod taint_toleration;
mod volume_binding;
mod volume_restrictions;
mod volume_zone;

use std::sync::Arc;

use base::Clock;
use client::Client;

pub(crate) use arguments::Arguments;
pub use arguments::PluginError;

use crate::{
    framework::{Plugin, Row},
    listers::Listers,
    metrics::Metrics,
};

/// What plugins are made with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) client: Client,
    pub(crate) listers: Listers,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

/// A plugin that there is.
pub(crate) struct Entry {
    /// Upstream's name.
    pub(crate) name: &'static str,
    /// The weight of its score in the default profile; 0 if it has none.
    pub(crate) weight: i64,
    make: Make,
}

/// How a plugin is made.
type Make = fn(&Handle, &Arguments) -> Result<Arc<dyn Plugin>, PluginError>;

impl Entry {
    /// Makes the plugin.
    pub(crate) fn make(
        &self,
        handle: &Handle,
        arguments: &Arguments,
    ) -> Result<Arc<dyn Plugin>, PluginError> {
        (self.make)(handle, arguments)
    }
}

/// One row: name, weight, how it is made.
macro_rules! table {
    ($(($name:literal, $weight:literal, $make:expr)),+ $(,)?) => {
        &[$(Entry { name: $name, weight: $weight, make: |handle, arguments| {
            let make: fn(&Handle, &Arguments) -> Result<_, PluginError> = $make;
            Ok(Arc::new(make(handle, arguments)?))
        } }),+]
    };
}

/// All plugins, in the order in which the default profile has them.
#[rustfmt::skip]
pub(crate) const TABLE: &[Entry] = table![
    ("SchedulingGates", 0, |_, _| Ok(scheduling_gates::SchedulingGates)),
    ("PrioritySort", 0, |_, _| Ok(priority_sort::PrioritySort)),
    ("NodeUnschedulable", 0, |_, _| Ok(node_unschedulable::NodeUnschedulable)),
    ("NodeName", 0, |_, _| Ok(node_name::NodeName)),
    ("TaintToleration", 3, |_, _| Ok(taint_toleration::TaintToleration)),
    ("NodeAffinity", 2, |_, arguments| node_affinity::NodeAffinity::new(arguments)),
    ("NodePorts", 0, |_, _| Ok(node_ports::NodePorts)),
    ("NodeResourcesFit", 1, |_, arguments| node_resources_fit::NodeResourcesFit::new(arguments)),
    ("VolumeRestrictions", 0, |handle, _| Ok(volume_restrictions::VolumeRestrictions::new(handle.listers.clone()))),
    ("NodeVolumeLimits", 0, |handle, _| Ok(node_volume_limits::NodeVolumeLimits::new(handle.listers.clone()))),
    ("VolumeBinding", 0, |handle, arguments| volume_binding::VolumeBinding::new(handle, arguments)),
    ("VolumeZone", 0, |handle, _| Ok(volume_zone::VolumeZone::new(handle.listers.clone()))),
    ("PodTopologySpread", 2, |handle, arguments| pod_topology_spread::PodTopologySpread::new(handle.listers.clone(), arguments)),
    ("InterPodAffinity", 2, |handle, arguments| inter_pod_affinity::InterPodAffinity::new(handle.listers.clone(), arguments)),
    ("DefaultPreemption", 0, |handle, arguments| default_preemption::DefaultPreemption::new(handle.listers.clone(), arguments)),
    ("NodeResourcesBalancedAllocation", 1, |_, arguments| node_resources_balanced_allocation::NodeResourcesBalancedAllocation::new(arguments)),
    ("ImageLocality", 1, |_, _| Ok(image_locality::ImageLocality)),
    ("DefaultBinder", 0, |handle, _| Ok(default_binder::DefaultBinder::new(handle.client.clone()))),
    ("NodeDeclaredFeatures", 0, |_, _| Ok(node_declared_features::NodeDeclaredFeatures)),
];

/// The rows of the default profile, with the arguments that `arguments` has for a plugin.
pub(crate) fn rows(
    handle: &Handle,
    arguments: impl Fn(&str) -> Arguments,
) -> Result<Vec<Row>, PluginError> {
    TABLE
        .iter()
        .map(|entry| {
            let plugin = entry
                .make(handle, &arguments(entry.name))
                .map_err(|error| error.of(entry.name))?;
            Ok(Row {
                plugin,
                weight: entry.weight,
            })
        })
        .collect()
}
