//! The kinds of `certificates`, one file each.

pub mod certificate_signing_request;
mod status;
