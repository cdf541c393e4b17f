//! The kinds of `events`, one file each.

pub mod event;
