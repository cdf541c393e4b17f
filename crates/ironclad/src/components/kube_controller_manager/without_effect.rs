//! Upstream's flags that change nothing here, and those that are refused.

use crate::components::flags::{
    Table,
    without_effect::{API_CLIENT, DELEGATION, SERVING, Shared},
};

/// The table.
#[derive(Debug)]
pub(super) struct NoEffect;

impl Table for NoEffect {
    const SHARED: &'static [Shared] = &[SERVING, DELEGATION, API_CLIENT];
    const SWITCHES: &'static [&'static str] = &[
        "allow-untagged-cloud",
        "configure-cloud-routes",
        "contention-profiling",
        "disable-attach-detach-reconcile-sync",
        "disable-force-detach-on-timeout",
        "enable-dynamic-provisioning",
        "enable-leader-migration",
        "profiling",
    ];
    const SETTINGS: &'static [&'static str] = &[
        "attach-detach-reconcile-sync-period",
        "cidr-allocator-type",
        "cluster-name",
        "concurrent-device-taint-eviction-syncs",
        "concurrent-resourceclaim-syncs",
        "concurrent-service-syncs",
        "controller-shutdown-timeout",
        "controller-start-interval",
        "endpoint-updates-batch-period",
        "endpointslice-updates-batch-period",
        "leader-migration-config",
        "max-endpoints-per-slice",
        "min-resync-period",
        "mirroring-endpointslice-updates-batch-period",
        "mirroring-max-endpoints-per-subset",
        "namespace-sync-period",
        "node-sync-period",
        "pv-recycler-increment-timeout-nfs",
        "pv-recycler-minimum-timeout-hostpath",
        "pv-recycler-minimum-timeout-nfs",
        "pv-recycler-pod-template-filepath-hostpath",
        "pv-recycler-pod-template-filepath-nfs",
        "pv-recycler-timeout-increment-hostpath",
        "route-reconciliation-period",
        "service-cluster-ip-range",
    ];
    const REFUSED: &'static [(&'static str, &'static str)] = &[
        ("cloud-config", NO_CLOUD),
        ("external-cloud-volume-plugin", NO_CLOUD),
        ("flex-volume-plugin-dir", "there are no flex volumes here"),
        (
            "enable-hostpath-provisioner",
            "volumes of host paths are not provisioned here",
        ),
        ("cluster-signing-kube-apiserver-client-cert-file", ONE_KEY),
        ("cluster-signing-kube-apiserver-client-key-file", ONE_KEY),
        ("cluster-signing-kubelet-client-cert-file", ONE_KEY),
        ("cluster-signing-kubelet-client-key-file", ONE_KEY),
        ("cluster-signing-kubelet-serving-cert-file", ONE_KEY),
        ("cluster-signing-kubelet-serving-key-file", ONE_KEY),
        ("cluster-signing-legacy-unknown-cert-file", ONE_KEY),
        ("cluster-signing-legacy-unknown-key-file", ONE_KEY),
    ];
}

const NO_CLOUD: &str = "no cloud provider is built in: run the provider's own controller manager";
const ONE_KEY: &str = "all signers share one key here: give --cluster-signing-cert-file and --cluster-signing-key-file";
