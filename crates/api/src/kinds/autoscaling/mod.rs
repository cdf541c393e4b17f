//! The kinds of `autoscaling`, one file each.

mod conversion;
pub mod horizontal_pod_autoscaler_v1;
pub mod horizontal_pod_autoscaler_v2;
