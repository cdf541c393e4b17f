//! The kinds of `autoscaling`, one file each.

pub mod horizontal_pod_autoscaler_v1;
pub mod horizontal_pod_autoscaler_v2;
