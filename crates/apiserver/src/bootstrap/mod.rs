//! What a new server makes for itself, and mends at each start: system namespaces, RBAC policy, priority classes, flow control, the
//! `kubernetes` Service.

pub mod policy;
