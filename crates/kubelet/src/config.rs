//! What the kubelet is told at its start. Names and defaults follow upstream's `KubeletConfiguration` v1beta1 and flags, as far as
//! they are used here.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

/// The kubelet's configuration.
#[derive(Clone, Debug)]
pub struct KubeletConfig {
    /// `--hostname-override`: the name of the Node object.
    pub node_name: String,
    /// Addresses of the node, the primary first (`--node-ip`).
    pub node_ips: Vec<IpAddr>,
    /// `--root-dir`: pods' volumes and plugins.
    pub root_dir: PathBuf,
    /// `podLogsDir`.
    pub pod_logs_dir: PathBuf,
    /// `staticPodPath`: a directory of manifests, watched.
    pub static_pod_path: Option<PathBuf>,
    /// `clusterDNS`.
    pub cluster_dns: Vec<IpAddr>,
    /// `clusterDomain`.
    pub cluster_domain: String,
    /// `resolvConf`.
    pub resolv_conf: PathBuf,
    /// `cgroupRoot`: below which cgroup `kubepods` is made. `/` for the root.
    pub cgroup_root: String,
    /// `cgroupsPerQOS`: whether pods get cgroups of their own.
    pub cgroups_per_qos: bool,
    /// `cpuCFSQuota`.
    pub cpu_cfs_quota: bool,
    /// `cpuCFSQuotaPeriod`.
    pub cpu_cfs_quota_period: Duration,
    /// `podPidsLimit`; none for no limit.
    pub pod_pids_limit: Option<i64>,
    /// `maxPods`.
    pub max_pods: u32,
    /// `registerNode`.
    pub register_node: bool,
    /// `--node-labels`.
    pub node_labels: BTreeMap<String, String>,
    /// `registerWithTaints`.
    pub register_with_taints: Vec<k8s_openapi::api::core::v1::Taint>,
    /// `podCIDR`: used when there is no API server to hand one out; two of different families are separated by a comma.
    pub pod_cidr: Option<String>,
    /// `nodeStatusUpdateFrequency`.
    pub node_status_update_frequency: Duration,
    /// `nodeStatusReportFrequency`.
    pub node_status_report_frequency: Duration,
    /// `nodeLeaseDurationSeconds`.
    pub node_lease_duration_seconds: i32,
    /// The port of the kubelet's HTTPS server, as published in the Node object.
    pub port: u16,
    /// Version published in the Node object.
    pub kubelet_version: String,
    /// `containerLogMaxSize`, in bytes.
    pub container_log_max_size: u64,
    /// `containerLogMaxFiles`.
    pub container_log_max_files: u32,
    /// `imageGCHighThresholdPercent`.
    pub image_gc_high_threshold_percent: u8,
    /// `imageGCLowThresholdPercent`.
    pub image_gc_low_threshold_percent: u8,
    /// `imageMinimumGCAge`.
    pub image_minimum_gc_age: Duration,
    /// `maxParallelImagePulls`; `serializeImagePulls` is 1.
    pub max_parallel_image_pulls: usize,
    /// `systemReserved` and `kubeReserved` together, by resource.
    pub reserved: BTreeMap<String, String>,
    /// `evictionHard`, by signal.
    pub eviction_hard: BTreeMap<String, String>,
    /// `seccompDefault`: whether pods that ask for no profile get RuntimeDefault.
    pub seccomp_default: bool,
    /// `maxContainerBackOff` of CrashLoopBackOff.
    pub max_container_back_off: Duration,
    /// `allowedUnsafeSysctls`.
    pub allowed_unsafe_sysctls: Vec<String>,
}

impl KubeletConfig {
    /// Upstream's defaults for a node of that name.
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            node_name: node_name.into(),
            node_ips: Vec::new(),
            root_dir: PathBuf::from("/var/lib/kubelet"),
            pod_logs_dir: PathBuf::from("/var/log/pods"),
            static_pod_path: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            cgroup_root: "/".to_owned(),
            cgroups_per_qos: true,
            cpu_cfs_quota: true,
            cpu_cfs_quota_period: Duration::from_millis(100),
            pod_pids_limit: None,
            max_pods: 110,
            register_node: true,
            node_labels: BTreeMap::new(),
            register_with_taints: Vec::new(),
            pod_cidr: None,
            node_status_update_frequency: Duration::from_secs(10),
            node_status_report_frequency: Duration::from_secs(300),
            node_lease_duration_seconds: 40,
            port: 10250,
            kubelet_version: "v1.36.0".to_owned(),
            container_log_max_size: 10 << 20,
            container_log_max_files: 5,
            image_gc_high_threshold_percent: 85,
            image_gc_low_threshold_percent: 80,
            image_minimum_gc_age: Duration::from_secs(120),
            max_parallel_image_pulls: 1,
            reserved: BTreeMap::new(),
            eviction_hard: BTreeMap::from([
                ("memory.available".to_owned(), "100Mi".to_owned()),
                ("nodefs.available".to_owned(), "10%".to_owned()),
                ("nodefs.inodesFree".to_owned(), "5%".to_owned()),
                ("imagefs.available".to_owned(), "15%".to_owned()),
            ]),
            seccomp_default: false,
            max_container_back_off: Duration::from_secs(300),
            allowed_unsafe_sysctls: Vec::new(),
        }
    }
}
