//! The kinds of `policy`, one file each.

pub mod pod_disruption_budget;
