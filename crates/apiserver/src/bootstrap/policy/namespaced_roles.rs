//! Roles in the system namespaces.
//!
//! Facts of upstream's bootstrap policy at v1.36, in order of name. `core` stands for the core API group.

use super::role::{Role, namespaced, on};

/// One row a role.
#[rustfmt::skip]
pub(super) const ROLES: &[Role] = &[
    namespaced("kube-public", "system:controller:bootstrap-signer", &[
        on("get list watch", "core", "configmaps"),
        on("update", "core", "configmaps").named("cluster-info"),
        on("create patch update", "core events.k8s.io", "events"),
    ]),
    namespaced("kube-system", "extension-apiserver-authentication-reader", &[
        on("get list watch", "core", "configmaps").named("extension-apiserver-authentication"),
    ]),
    namespaced("kube-system", "system::leader-locking-kube-controller-manager", &[
        on("create get list update watch", "coordination.k8s.io", "leases"),
        on("create get list update watch", "coordination.k8s.io", "leasecandidates"),
    ]),
    namespaced("kube-system", "system::leader-locking-kube-scheduler", &[
        on("create get list update watch", "coordination.k8s.io", "leases"),
        on("create get list update watch", "coordination.k8s.io", "leasecandidates"),
    ]),
    namespaced("kube-system", "system:controller:bootstrap-signer", &[
        on("get list watch", "core", "secrets"),
    ]),
    namespaced("kube-system", "system:controller:cloud-provider", &[
        on("create get list watch", "core", "configmaps"),
    ]),
    namespaced("kube-system", "system:controller:token-cleaner", &[
        on("delete get list watch", "core", "secrets"),
        on("create patch update", "core events.k8s.io", "events"),
    ]),
];
