//! The kinds of `resource`, one file each.

mod claim_status;
pub mod device_class;
mod device_names;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
mod selectors;
