//! Upstream's flags that change nothing here, and those that are refused.

use crate::components::flags::{
    Table,
    without_effect::{SERVING, Shared},
};

/// The table.
#[derive(Debug)]
pub(super) struct NoEffect;

impl Table for NoEffect {
    const SHARED: &'static [Shared] = &[SERVING];
    const SWITCHES: &'static [&'static str] = &[
        "aggregator-reject-forwarding-redirect",
        "contention-profiling",
        "emulation-forward-compatible",
        "enable-aggregator-routing",
        "enable-garbage-collector",
        "enable-logs-handler",
        "profiling",
        "runtime-config-emulation-forward-compatible",
        "send-retry-after-while-not-ready-once",
        "service-account-lookup",
        "watch-cache",
    ];
    const SETTINGS: &'static [&'static str] = &[
        "apiserver-count",
        "audit-log-version",
        "audit-webhook-batch-initial-backoff",
        "audit-webhook-version",
        "coordinated-leadership-lease-duration",
        "coordinated-leadership-renew-deadline",
        "coordinated-leadership-retry-period",
        "debug-socket-path",
        "default-watch-cache-size",
        "delete-collection-workers",
        "endpoint-reconciler-type",
        "etcd-count-metric-poll-period",
        "etcd-db-metric-poll-interval",
        "etcd-healthcheck-timeout",
        "etcd-readycheck-timeout",
        "external-hostname",
        "kubelet-timeout",
        "kubernetes-service-node-port",
        "lease-reuse-duration-seconds",
        "livez-grace-period",
        "max-connection-bytes-per-sec",
        "peer-advertise-ip",
        "peer-advertise-port",
        "peer-ca-file",
        "runtime-config",
        "storage-backend",
        "storage-initialization-timeout",
        "storage-media-type",
        "strict-transport-security-directives",
        "watch-cache-sizes",
    ];
    const REFUSED: &'static [(&'static str, &'static str)] = &[
        (
            "cors-allowed-origins",
            "pages of other origins are never let in",
        ),
        (
            "egress-selector-config-file",
            "nodes are spoken to directly here",
        ),
        ("etcd-prefix", "keys are below /registry here"),
        (
            "etcd-servers-overrides",
            "all resources are in one store here",
        ),
        (
            "service-account-signing-endpoint",
            "tokens are signed with --service-account-signing-key-file",
        ),
    ];
}
