//! The kinds of `node`, one file each.

pub mod runtime_class;
