//! The controllers of storage: claims get volumes, and neither goes while it is in use.

pub(crate) mod binder;
pub(crate) mod ephemeral;
mod pod_claims;
mod protection;
pub(crate) mod pv_protection;
pub(crate) mod pvc_protection;
pub(crate) mod vac_protection;
