//! The kinds of `resource`, one file each.

mod capacity;
mod claim_status;
mod device;
pub mod device_class;
mod device_names;
mod lists;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
mod selectors;
