//! The kinds of `apiextensions`, one file each.

pub mod custom_resource_definition;
