//! The kinds of `scheduling`, one file each.

pub mod priority_class;
