//! `/configz`: the configuration that holds, as `KubeletConfiguration`.

use std::time::Duration;

use http::Response;
use serde_json::json;

use super::{
    body::{self, Body, Refusal},
    router::Router,
};

pub(super) fn show(router: &Router) -> Result<Response<Body>, Refusal> {
    let config = router.host.config();
    body::json(&json!({ "kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "staticPodPath": config.static_pod_path,
        "podLogsDir": config.pod_logs_dir,
        "port": config.port,
        "streamingConnectionIdleTimeout": duration(router.idle_timeout),
        "clusterDNS": config.cluster_dns,
        "clusterDomain": config.cluster_domain,
        "resolvConf": config.resolv_conf,
        "cgroupRoot": config.cgroup_root,
        "cgroupsPerQOS": config.cgroups_per_qos,
        "cpuCFSQuota": config.cpu_cfs_quota,
        "cpuCFSQuotaPeriod": duration(config.cpu_cfs_quota_period),
        "podPidsLimit": config.pod_pids_limit.unwrap_or(-1),
        "maxPods": config.max_pods,
        "registerNode": config.register_node,
        "nodeStatusUpdateFrequency": duration(config.node_status_update_frequency),
        "nodeStatusReportFrequency": duration(config.node_status_report_frequency),
        "nodeLeaseDurationSeconds": config.node_lease_duration_seconds,
        "containerLogMaxSize": config.container_log_max_size.to_string(),
        "containerLogMaxFiles": config.container_log_max_files,
        "imageGCHighThresholdPercent": config.image_gc_high_threshold_percent,
        "imageGCLowThresholdPercent": config.image_gc_low_threshold_percent,
        "imageMinimumGCAge": duration(config.image_minimum_gc_age),
        "evictionHard": config.eviction_hard,
        "seccompDefault": config.seccomp_default,
        "allowedUnsafeSysctls": config.allowed_unsafe_sysctls,
    }}))
}

/// As Go prints durations of whole seconds and milliseconds.
fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{millis}ms"),
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        for (seconds, expected) in [
            (10.0, "10s"),
            (300.0, "5m0s"),
            (14400.0, "4h0m0s"),
            (0.1, "100ms"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), expected);
        }
    }
}
