//! The checks of a server's health, in upstream's order and under its names. Behind each `poststarthook/…` stands the stage of our start that does what
//! upstream's hook of that name does.

use std::sync::Arc;

use crate::health::{Check, Done, Health, Ping, Scope};

/// What has to be done before a server is ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stages {
    /// The caches are filled.
    pub(crate) synced: Done,
    /// Flow control follows its objects.
    pub(crate) flow_control: Done,
    /// The server's own objects are there.
    pub(crate) bootstrap: Done,
}

/// Picks a stage.
type Stage = fn(&Stages) -> &Done;

const SYNCED: Stage = |stages| &stages.synced;
const FLOW_CONTROL: Stage = |stages| &stages.flow_control;
const BOOTSTRAP: Stage = |stages| &stages.bootstrap;

const TABLE: &[(&str, Scope, Stage)] = &[
    ("informer-sync", Scope::Ready, SYNCED),
    (
        "poststarthook/start-apiserver-admission-initializer",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/generic-apiserver-start-informers",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/priority-and-fairness-config-consumer",
        Scope::All,
        FLOW_CONTROL,
    ),
    (
        "poststarthook/priority-and-fairness-filter",
        Scope::All,
        FLOW_CONTROL,
    ),
    (
        "poststarthook/storage-object-count-tracker-hook",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/start-apiextensions-informers",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/start-apiextensions-controllers",
        Scope::All,
        SYNCED,
    ),
    ("poststarthook/crd-informer-synced", Scope::All, SYNCED),
    (
        "poststarthook/start-system-namespaces-controller",
        Scope::All,
        BOOTSTRAP,
    ),
    (
        "poststarthook/peer-endpoint-reconciler-controller",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/start-cluster-authentication-info-controller",
        Scope::All,
        BOOTSTRAP,
    ),
    (
        "poststarthook/start-kube-apiserver-identity-lease-controller",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
        Scope::All,
        SYNCED,
    ),
    ("poststarthook/storage-readiness", Scope::All, SYNCED),
    (
        "poststarthook/start-legacy-token-tracking-controller",
        Scope::All,
        BOOTSTRAP,
    ),
    (
        "poststarthook/start-service-ip-repair-controllers",
        Scope::All,
        SYNCED,
    ),
    ("poststarthook/rbac/bootstrap-roles", Scope::All, BOOTSTRAP),
    (
        "poststarthook/scheduling/bootstrap-system-priority-classes",
        Scope::All,
        BOOTSTRAP,
    ),
    (
        "poststarthook/priority-and-fairness-config-producer",
        Scope::All,
        BOOTSTRAP,
    ),
    ("poststarthook/bootstrap-controller", Scope::All, BOOTSTRAP),
    (
        "poststarthook/start-kubernetes-service-cidr-controller",
        Scope::All,
        BOOTSTRAP,
    ),
    (
        "poststarthook/start-kube-aggregator-informers",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/apiservice-status-local-available-controller",
        Scope::All,
        BOOTSTRAP,
    ),
    (
        "poststarthook/apiservice-status-remote-available-controller",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/apiservice-registration-controller",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/apiservice-wait-for-first-sync",
        Scope::All,
        BOOTSTRAP,
    ),
    (
        "poststarthook/apiservice-discovery-controller",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/kube-apiserver-autoregistration",
        Scope::All,
        BOOTSTRAP,
    ),
    ("autoregister-completion", Scope::All, BOOTSTRAP),
    (
        "poststarthook/apiservice-openapi-controller",
        Scope::All,
        SYNCED,
    ),
    (
        "poststarthook/apiservice-openapiv3-controller",
        Scope::All,
        SYNCED,
    ),
];

/// All checks, in their order.
pub(crate) fn checks(
    store: Arc<dyn Check>,
    plugins: Option<Arc<dyn Check>>,
    shutdown: Arc<dyn Check>,
) -> (Health, Stages) {
    let stages = Stages::default();
    let mut health = Health::new();
    health.add("ping", Scope::All, Arc::new(Ping));
    health.add("log", Scope::All, Arc::new(Ping));
    health.add("loopback-serving-certificate", Scope::Alive, Arc::new(Ping));
    health.add("etcd", Scope::All, Arc::clone(&store));
    if let Some(plugins) = plugins {
        health.add("kms-providers", Scope::NotLive, plugins);
    }
    health.add("etcd-readiness", Scope::Ready, store);
    for (name, scope, stage) in TABLE {
        health.add(name, *scope, Arc::new(stage(&stages).clone()));
    }
    health.add("shutdown", Scope::Ready, shutdown);
    (health, stages)
}
