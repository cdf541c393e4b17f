//! The kinds of `authentication`, one file each.

pub mod self_subject_review;
pub mod token_review;
