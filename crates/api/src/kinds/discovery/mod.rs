//! The kinds of `discovery`, one file each.

pub mod endpoint_slice;
