//! The kinds of `apiregistration`, one file each.

pub mod api_service;
