//! The kinds of `flowcontrol`, one file each.

pub mod flow_schema;
pub mod mandatory;
pub mod priority_level_configuration;
