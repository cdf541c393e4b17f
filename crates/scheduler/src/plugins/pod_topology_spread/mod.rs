//! PodTopologySpread: pods of a kind are spread over zones, nodes, or whatever else a node label tells apart.
//!
//! A `DoNotSchedule` constraint decides ([`filtering`]), a `ScheduleAnyway` constraint scores ([`scoring`]). A pod without constraints of its
//! own gets those of the profile (by default hosts and zones, scoring only), for the pods of its services and owners.

mod constraint;
mod filtering;
mod scoring;

use std::collections::BTreeMap;

use constraint::Constraint;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use serde::Deserialize;

use super::{Arguments, PluginError};
use crate::{
    framework::{ClusterEvent, EventKind, Filter, Plugin, PreFilter, PreScore, Score},
    listers::Listers,
    pod_info::PodInfo,
};

/// A node's own name for itself: every node is a domain of its own.
const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Upstream's `PodTopologySpreadArgs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: DefaultingType,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum DefaultingType {
    #[default]
    System,
    List,
}

pub(super) struct PodTopologySpread {
    listers: Listers,
    default_constraints: Vec<TopologySpreadConstraint>,
    system_defaulted: bool,
}

impl PodTopologySpread {
    pub(super) fn new(listers: Listers, arguments: &Arguments) -> Result<Self, PluginError> {
        let args: Args = arguments.parse()?;
        let system_defaulted = args.defaulting_type == DefaultingType::System;
        if system_defaulted && !args.default_constraints.is_empty() {
            return Err(PluginError::new(
                "defaultingType",
                "when .defaultingType is System, .defaultConstraints must be empty",
            ));
        }
        for (index, constraint) in args.default_constraints.iter().enumerate() {
            if constraint.label_selector.is_some() {
                return Err(PluginError::new(
                    format!("defaultConstraints[{index}].labelSelector"),
                    "constraint must not define a selector, as they deduced for each pod",
                ));
            }
        }
        Ok(Self {
            listers,
            default_constraints: if system_defaulted {
                system_defaults()
            } else {
                args.default_constraints
            },
            system_defaulted,
        })
    }

    /// The pod's constraints of one sort: its own, or, if it has none of any sort, the profile's.
    fn constraints(&self, pod: &PodInfo, when_unsatisfiable: &str) -> Vec<Constraint> {
        let is_wanted = |c: &&TopologySpreadConstraint| c.when_unsatisfiable == when_unsatisfiable;
        match pod.spec().topology_spread_constraints.as_deref() {
            Some(own) if !own.is_empty() => own
                .iter()
                .filter(is_wanted)
                .map(|c| Constraint::new(c, pod.labels()))
                .collect(),
            _ => {
                let defaults = self.default_constraints.iter().filter(is_wanted);
                let mut defaults: Vec<Constraint> =
                    defaults.map(|c| Constraint::new(c, pod.labels())).collect();
                if defaults.is_empty() {
                    return defaults;
                }
                let Some(selector) = constraint::default_selector(pod, &self.listers) else {
                    return Vec::new();
                };
                for constraint in &mut defaults {
                    constraint.selector = Some(selector.clone());
                }
                defaults
            }
        }
    }
}

/// Hosts and zones, without insisting.
fn system_defaults() -> Vec<TopologySpreadConstraint> {
    [(HOSTNAME, 3), (ZONE, 5)]
        .map(|(key, max_skew)| TopologySpreadConstraint {
            topology_key: key.to_owned(),
            max_skew,
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..TopologySpreadConstraint::default()
        })
        .to_vec()
}

/// How many pods match in a domain, by the domain's name.
type Counts = BTreeMap<String, i64>;

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::AssignedPodAdded,
            EventKind::AssignedPodRemoved,
            EventKind::AssignedPodLabels,
            EventKind::NodeAdded,
            EventKind::NodeRemoved,
            EventKind::NodeLabels,
            EventKind::NodeTaints,
            EventKind::PodLabels,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        let constraints = self.constraints(pod, "DoNotSchedule");
        let counts = |other: &PodInfo| {
            other.namespace == pod.namespace && constraints.iter().any(|c| c.selects(other))
        };
        match event {
            ClusterEvent::AssignedPodAdded(other) | ClusterEvent::AssignedPodRemoved(other) => {
                counts(other)
            }
            ClusterEvent::AssignedPodUpdated { old, new, .. } => counts(old) != counts(new),
            // A node without the labels is no domain, before and after; that it had them before is not known here.
            ClusterEvent::NodeAdded(_) => event
                .node()
                .is_none_or(|node| constraints.iter().all(|c| c.domain(&node).is_some())),
            _ => true,
        }
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
