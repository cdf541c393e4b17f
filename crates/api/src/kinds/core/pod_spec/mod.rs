//! `PodSpec` and `PodTemplateSpec`, which many kinds share: defaults, validation, quality of service.

pub mod defaults;
pub mod qos;
