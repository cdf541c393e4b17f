//! Who holds the bootstrap roles.
//!
//! Facts of upstream's bootstrap policy at v1.36. Controllers are not listed: each is bound to its own role.

use super::binding::{Binding, cluster, group, namespaced, service_account, user};

/// One row a binding.
#[rustfmt::skip]
pub(super) const BINDINGS: &[Binding] = &[
    cluster("cluster-admin", "cluster-admin", &[group("system:masters")]),
    cluster("system:basic-user", "system:basic-user", &[group("system:authenticated")]),
    cluster("system:discovery", "system:discovery", &[group("system:authenticated")]),
    cluster("system:kube-controller-manager", "system:kube-controller-manager", &[user("system:kube-controller-manager")]),
    cluster("system:kube-dns", "system:kube-dns", &[service_account("kube-dns")]),
    cluster("system:kube-scheduler", "system:kube-scheduler", &[user("system:kube-scheduler")]),
    cluster("system:monitoring", "system:monitoring", &[group("system:monitoring")]),
    cluster("system:node", "system:node", &[]),
    cluster("system:node-proxier", "system:node-proxier", &[user("system:kube-proxy")]),
    cluster("system:public-info-viewer", "system:public-info-viewer", &[group("system:authenticated"), group("system:unauthenticated")]),
    cluster("system:service-account-issuer-discovery", "system:service-account-issuer-discovery", &[group("system:serviceaccounts")]),
    cluster("system:volume-scheduler", "system:volume-scheduler", &[user("system:kube-scheduler")]),
    namespaced("kube-public", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer", &[service_account("bootstrap-signer")]),
    namespaced("kube-system", "system::extension-apiserver-authentication-reader", "extension-apiserver-authentication-reader", &[user("system:kube-controller-manager"), user("system:kube-scheduler")]),
    namespaced("kube-system", "system::leader-locking-kube-controller-manager", "system::leader-locking-kube-controller-manager", &[user("system:kube-controller-manager"), service_account("kube-controller-manager"), service_account("leader-election-controller")]),
    namespaced("kube-system", "system::leader-locking-kube-scheduler", "system::leader-locking-kube-scheduler", &[user("system:kube-scheduler"), service_account("kube-scheduler")]),
    namespaced("kube-system", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer", &[service_account("bootstrap-signer")]),
    namespaced("kube-system", "system:controller:cloud-provider", "system:controller:cloud-provider", &[service_account("cloud-provider")]),
    namespaced("kube-system", "system:controller:token-cleaner", "system:controller:token-cleaner", &[service_account("token-cleaner")]),
];
