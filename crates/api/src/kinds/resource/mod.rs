//! The kinds of `resource`, one file each.

pub mod device_class;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
mod selectors;
