//! The kinds of `coordination`, one file each.

pub mod lease;
