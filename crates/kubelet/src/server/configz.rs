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

fn duration(duration: Duration) -> String {
    let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    apimachinery::time::format_duration(nanos)
}
