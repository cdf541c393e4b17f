//! The kinds of `rbac`, one file each.

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;
