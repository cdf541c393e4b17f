//! `KubeletConfiguration` (`kubelet.config.k8s.io/v1beta1`), and the flags that are fields of it under another name: a flag that is given takes the
//! place of what the file says.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use apimachinery::Quantity;
use base::tls::TlsVersion;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use k8s_openapi::api::core::v1::Taint;
use kubelet::KubeletConfig;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

const GROUP_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";

/// How a flag's value is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    Switch,
    /// `a,b`
    List,
    /// `key=value,key=value`
    Map,
    /// `signal<value,signal<value`
    Thresholds,
}

/// Flags, and the fields that they are.
#[rustfmt::skip]
const FLAGS: &[(&str, &[&str], Form)] = &[
    ("address", &["address"], Form::Text),
    ("allowed-unsafe-sysctls", &["allowedUnsafeSysctls"], Form::List),
    ("anonymous-auth", &["authentication", "anonymous", "enabled"], Form::Switch),
    ("authorization-mode", &["authorization", "mode"], Form::Text),
    ("client-ca-file", &["authentication", "x509", "clientCAFile"], Form::Text),
    ("cluster-dns", &["clusterDNS"], Form::List),
    ("cluster-domain", &["clusterDomain"], Form::Text),
    ("container-log-max-files", &["containerLogMaxFiles"], Form::Number),
    ("container-log-max-size", &["containerLogMaxSize"], Form::Text),
    ("cpu-cfs-quota", &["cpuCFSQuota"], Form::Switch),
    ("cpu-cfs-quota-period", &["cpuCFSQuotaPeriod"], Form::Text),
    ("eviction-hard", &["evictionHard"], Form::Thresholds),
    ("image-gc-high-threshold", &["imageGCHighThresholdPercent"], Form::Number),
    ("image-gc-low-threshold", &["imageGCLowThresholdPercent"], Form::Number),
    ("kube-reserved", &["kubeReserved"], Form::Map),
    ("max-pods", &["maxPods"], Form::Number),
    ("minimum-image-ttl-duration", &["imageMinimumGCAge"], Form::Text),
    ("node-status-update-frequency", &["nodeStatusUpdateFrequency"], Form::Text),
    ("pod-cidr", &["podCIDR"], Form::Text),
    ("pod-manifest-path", &["staticPodPath"], Form::Text),
    ("pod-max-pids", &["podPidsLimit"], Form::Number),
    ("port", &["port"], Form::Number),
    ("register-node", &["registerNode"], Form::Switch),
    ("resolv-conf", &["resolvConf"], Form::Text),
    ("rotate-certificates", &["rotateCertificates"], Form::Switch),
    ("rotate-server-certificates", &["serverTLSBootstrap"], Form::Switch),
    ("seccomp-default", &["seccompDefault"], Form::Switch),
    ("serialize-image-pulls", &["serializeImagePulls"], Form::Switch),
    ("streaming-connection-idle-timeout", &["streamingConnectionIdleTimeout"], Form::Text),
    ("system-reserved", &["systemReserved"], Form::Map),
    ("tls-cert-file", &["tlsCertFile"], Form::Text),
    ("tls-min-version", &["tlsMinVersion"], Form::Text),
    ("tls-private-key-file", &["tlsPrivateKeyFile"], Form::Text),
];

/// Fields that change nothing here.
#[rustfmt::skip]
const WITHOUT_EFFECT: &[&str] = &[
    "cgroupDriver", "cgroupRoot", "configMapAndSecretChangeDetectionStrategy", "containerLogMaxWorkers", "containerLogMonitorInterval",
    "containerRuntimeEndpoint", "contentType", "cpuManagerPolicy", "cpuManagerPolicyOptions", "cpuManagerReconcilePeriod",
    "enableContentionProfiling", "enableControllerAttachDetach", "enableDebugFlagsHandler", "enableDebuggingHandlers", "enableProfilingHandler",
    "enableServer", "enableSystemLogHandler", "enableSystemLogQuery", "enforceNodeAllocatable", "eventBurst", "eventRecordQPS",
    "evictionMaxPodGracePeriod", "evictionMinimumReclaim", "evictionPressureTransitionPeriod", "evictionSoft", "evictionSoftGracePeriod",
    "failCgroupV1", "failSwapOn", "featureGates", "fileCheckFrequency", "hairpinMode", "healthzBindAddress", "healthzPort", "httpCheckFrequency",
    "imageMaximumGCAge", "imagePullCredentialsVerificationPolicy", "imageServiceEndpoint", "iptablesDropBit", "iptablesMasqueradeBit",
    "kernelMemcgNotification", "kubeAPIBurst", "kubeAPIQPS", "kubeReservedCgroup", "kubeletCgroups", "localStorageCapacityIsolation", "logging",
    "makeIPTablesUtilChains", "maxOpenFiles", "memoryManagerPolicy", "memoryReservationPolicy", "memorySwap", "memoryThrottlingFactor",
    "nodeStatusMaxImages", "oomScoreAdj", "podLogsDir", "podsPerCore", "preloadedImagesVerificationAllowlist", "protectKernelDefaults",
    "providerID", "qosReserved", "readOnlyPort", "registryBurst", "registryPullQPS", "reservedMemory", "reservedSystemCPUs", "runOnce",
    "runtimeRequestTimeout", "showHiddenMetricsForVersion", "shutdownGracePeriod", "shutdownGracePeriodByPodPriority",
    "shutdownGracePeriodCriticalPods", "singleProcessOOMKill", "staticPodURL", "staticPodURLHeader", "syncFrequency", "systemCgroups",
    "systemReservedCgroup", "tlsCipherSuites", "tlsCurvePreferences", "topologyManagerPolicy", "topologyManagerPolicyOptions",
    "topologyManagerScope", "tracing", "userNamespaces", "volumePluginDir", "volumeStatsAggPeriod",
];

/// The fields that act.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Configuration {
    kind: String,
    api_version: String,
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) authentication: Authentication,
    pub(super) authorization: Authorization,
    #[serde(deserialize_with = "tls_version")]
    pub(super) tls_min_version: TlsVersion,
    pub(super) tls_cert_file: Option<PathBuf>,
    pub(super) tls_private_key_file: Option<PathBuf>,
    pub(super) rotate_certificates: bool,
    #[serde(rename = "serverTLSBootstrap")]
    pub(super) server_tls_bootstrap: bool,
    #[serde(deserialize_with = "duration")]
    pub(super) streaming_connection_idle_timeout: Option<Duration>,
    static_pod_path: Option<PathBuf>,
    cluster_domain: Option<String>,
    #[serde(rename = "clusterDNS")]
    cluster_dns: Vec<IpAddr>,
    resolv_conf: Option<PathBuf>,
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "cgroupsPerQOS")]
    cgroups_per_qos: Option<bool>,
    #[serde(rename = "cpuCFSQuota")]
    cpu_cfs_quota: Option<bool>,
    #[serde(rename = "cpuCFSQuotaPeriod", deserialize_with = "duration")]
    cpu_cfs_quota_period: Option<Duration>,
    pod_pids_limit: Option<i64>,
    max_pods: Option<u32>,
    register_node: Option<bool>,
    register_with_taints: Vec<Taint>,
    #[serde(deserialize_with = "duration")]
    node_status_update_frequency: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    node_status_report_frequency: Option<Duration>,
    node_lease_duration_seconds: Option<i32>,
    container_log_max_size: Option<String>,
    container_log_max_files: Option<u32>,
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high_threshold_percent: Option<u8>,
    #[serde(rename = "imageGCLowThresholdPercent")]
    image_gc_low_threshold_percent: Option<u8>,
    #[serde(rename = "imageMinimumGCAge", deserialize_with = "duration")]
    image_minimum_gc_age: Option<Duration>,
    serialize_image_pulls: Option<bool>,
    max_parallel_image_pulls: Option<usize>,
    system_reserved: BTreeMap<String, String>,
    kube_reserved: BTreeMap<String, String>,
    eviction_hard: Option<BTreeMap<String, String>>,
    merge_default_eviction_settings: bool,
    seccomp_default: Option<bool>,
    crash_loop_back_off: CrashLoopBackOff,
    allowed_unsafe_sysctls: Vec<String>,
}

/// `authentication`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Authentication {
    pub(super) anonymous: Enabled,
    pub(super) x509: X509,
    /// Tokens are always reviewed, where there is a kubeconfig.
    #[serde(rename = "webhook")]
    _webhook: Value,
}

/// `authentication.anonymous`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Enabled {
    pub(super) enabled: bool,
}

/// `authentication.x509`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct X509 {
    #[serde(rename = "clientCAFile", deserialize_with = "path")]
    pub(super) client_ca_file: Option<PathBuf>,
}

/// `authorization`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Authorization {
    pub(super) mode: Option<Mode>,
    #[serde(rename = "webhook")]
    _webhook: Value,
}

/// `authorization.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Mode {
    AlwaysAllow,
    Webhook,
}

/// `crashLoopBackOff`
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct CrashLoopBackOff {
    #[serde(deserialize_with = "duration")]
    max_container_restart_period: Option<Duration>,
}

/// Nothing said, and zero, are upstream's default.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let parsed = text.map(|text| crate::components::flags::duration(&text));
    let parsed = parsed.transpose().map_err(serde::de::Error::custom)?;
    Ok(parsed.filter(|duration| !duration.is_zero()))
}

fn tls_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TlsVersion, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let parsed = text.as_deref().unwrap_or_default().parse();
    parsed.map_err(serde::de::Error::custom)
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path: Option<PathBuf> = Option::deserialize(deserializer)?;
    Ok(path.filter(|path| !path.as_os_str().is_empty()))
}

/// The flags of the table that were given, in the shape of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigurationFlags(Map<String, Value>);

impl Args for ConfigurationFlags {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|(name, field, form)| {
            let arg = Arg::new(*name)
                .long(*name)
                .help(format!("Field {} of the configuration", field.join(".")))
                .allow_hyphen_values(true);
            match form {
                Form::Switch => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .value_parser(clap::value_parser!(bool)),
                Form::Number => arg.value_parser(clap::value_parser!(i64)),
                Form::List | Form::Map | Form::Thresholds => {
                    arg.action(ArgAction::Append).value_delimiter(',')
                }
                Form::Text => arg,
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigurationFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Map::new();
        for (name, field, form) in FLAGS {
            if matches.value_source(name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let value = said(matches, name, *form)
                .map_err(|why| clap::Error::raw(clap::error::ErrorKind::ValueValidation, why))?;
            put(&mut given, field, value);
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn said(matches: &ArgMatches, name: &str, form: Form) -> Result<Value, String> {
    let texts = || matches.get_many::<String>(name).into_iter().flatten();
    let pairs = |by: char| {
        let pairs = texts().map(|pair| match pair.split_once(by) {
            Some((key, value)) => Ok((key.to_owned(), Value::from(value))),
            None => Err(format!("invalid argument {pair:?} for \"--{name}\" flag\n")),
        });
        pairs.collect::<Result<Map<_, _>, _>>().map(Value::from)
    };
    match form {
        Form::Text => Ok(json!(matches.get_one::<String>(name))),
        Form::Number => Ok(json!(matches.get_one::<i64>(name))),
        Form::Switch => Ok(json!(matches.get_one::<bool>(name))),
        Form::List => Ok(json!(texts().collect::<Vec<_>>())),
        Form::Map => pairs('='),
        Form::Thresholds => pairs('<'),
    }
}

/// Sets a field, and makes the objects that it is in.
fn put(into: &mut Map<String, Value>, field: &[&str], value: Value) {
    match field {
        [] => {}
        [last] => {
            into.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let inner = into
                .entry((*first).to_owned())
                .or_insert_with(|| Map::new().into());
            if !inner.is_object() {
                *inner = Map::new().into();
            }
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}

/// What `over` says takes the place of what `under` does, object by object but for maps of names.
fn overlay(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(value))
                if matches!(
                    key.as_str(),
                    "authentication" | "authorization" | "anonymous" | "x509"
                ) =>
            {
                overlay(inner, value);
            }
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

impl Configuration {
    /// What the file says, if there is one, and the flags in its stead.
    pub(super) fn read(file: Option<&Path>, flags: &ConfigurationFlags) -> anyhow::Result<Self> {
        let mut said = match file {
            None => Map::new(),
            Some(path) => {
                let bytes = std::fs::read(path).with_context(|| {
                    format!(
                        "failed to load kubelet config file, path: {}",
                        path.display()
                    )
                })?;
                parse(&bytes).with_context(|| {
                    format!(
                        "failed to load kubelet config file, path: {}",
                        path.display()
                    )
                })?
            }
        };
        overlay(&mut said, flags.0.clone());
        said.retain(|_, value| !value.is_null());
        let idle: Vec<&str> = WITHOUT_EFFECT
            .iter()
            .copied()
            .filter(|field| said.remove(*field).is_some())
            .collect();
        if !idle.is_empty() {
            tracing::info!(fields = idle.join(" "), "no effect here");
        }
        serde_json::from_value(said.into()).context("strict decoding error")
    }

    /// Writes what has no flag of another name into the kubelet's own configuration.
    pub(super) fn apply(self, config: &mut KubeletConfig) -> anyhow::Result<()> {
        fn set<T>(field: &mut T, said: Option<T>) {
            if let Some(said) = said {
                *field = said;
            }
        }
        set(&mut config.port, self.port);
        config.static_pod_path = self.static_pod_path;
        set(&mut config.cluster_domain, self.cluster_domain);
        config.cluster_dns = self.cluster_dns;
        set(&mut config.resolv_conf, self.resolv_conf);
        config.pod_cidr = self.pod_cidr;
        set(&mut config.cgroups_per_qos, self.cgroups_per_qos);
        set(&mut config.cpu_cfs_quota, self.cpu_cfs_quota);
        set(&mut config.cpu_cfs_quota_period, self.cpu_cfs_quota_period);
        config.pod_pids_limit = self.pod_pids_limit.filter(|limit| *limit > 0);
        set(&mut config.max_pods, self.max_pods);
        set(&mut config.register_node, self.register_node);
        config.register_with_taints = self.register_with_taints;
        set(
            &mut config.node_status_update_frequency,
            self.node_status_update_frequency,
        );
        set(
            &mut config.node_status_report_frequency,
            self.node_status_report_frequency,
        );
        set(
            &mut config.node_lease_duration_seconds,
            self.node_lease_duration_seconds,
        );
        if let Some(size) = self.container_log_max_size {
            let parsed: Quantity = size
                .parse()
                .map_err(|_| anyhow::anyhow!("containerLogMaxSize: {size:?} is no quantity"))?;
            config.container_log_max_size = u64::try_from(parsed.value())
                .with_context(|| format!("containerLogMaxSize: {size:?} is negative"))?;
        }
        set(
            &mut config.container_log_max_files,
            self.container_log_max_files,
        );
        set(
            &mut config.image_gc_high_threshold_percent,
            self.image_gc_high_threshold_percent,
        );
        set(
            &mut config.image_gc_low_threshold_percent,
            self.image_gc_low_threshold_percent,
        );
        set(&mut config.image_minimum_gc_age, self.image_minimum_gc_age);
        match (self.serialize_image_pulls, self.max_parallel_image_pulls) {
            (Some(true), _) => config.max_parallel_image_pulls = 1,
            (_, Some(most)) => config.max_parallel_image_pulls = most.max(1),
            _ => {}
        }
        config.reserved = reserved(&self.system_reserved, &self.kube_reserved)?;
        if let Some(said) = self.eviction_hard {
            let merges = self.merge_default_eviction_settings;
            let defaults = std::mem::take(&mut config.eviction_hard);
            config.eviction_hard = if merges { defaults } else { BTreeMap::new() };
            config.eviction_hard.extend(said);
        }
        set(&mut config.seccomp_default, self.seccomp_default);
        set(
            &mut config.max_container_back_off,
            self.crash_loop_back_off.max_container_restart_period,
        );
        config.allowed_unsafe_sysctls = self.allowed_unsafe_sysctls;
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> anyhow::Result<Map<String, Value>> {
    let json = apimachinery::decode::yaml_to_json(bytes, true).map_err(anyhow::Error::msg)?;
    let said: Map<String, Value> = serde_json::from_slice(&json)?;
    let text = |field: &str| said.get(field).and_then(Value::as_str).unwrap_or_default();
    ensure!(
        text("kind") == KIND && text("apiVersion") == GROUP_VERSION,
        "no kind {:?} is registered for version {:?}",
        text("kind"),
        text("apiVersion")
    );
    Ok(said)
}

/// What the machine and Kubernetes itself keep for themselves, together.
fn reserved(
    system: &BTreeMap<String, String>,
    kube: &BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::<String, i64>::new();
    for (resource, amount) in system.iter().chain(kube) {
        let parsed: Quantity = amount
            .parse()
            .map_err(|_| anyhow::anyhow!("reserved {resource}: {amount:?} is no quantity"))?;
        let sum = sums.entry(resource.clone()).or_default();
        *sum = sum.saturating_add(parsed.milli_value());
    }
    let written = |(resource, milli): (String, i64)| {
        let amount = match milli % 1000 {
            0 => (milli / 1000).to_string(),
            _ => format!("{milli}m"),
        };
        (resource, amount)
    };
    Ok(sums.into_iter().map(written).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: ConfigurationFlags,
    }

    fn read(file: &str, arguments: &[&str]) -> anyhow::Result<Configuration> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, file).unwrap();
        let flags = Line::try_parse_from(["kubelet"].iter().chain(arguments))?.flags;
        Configuration::read(Some(&path), &flags)
    }

    /// As `kubeadm init` writes it.
    const KUBEADM: &str = r#"
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous: { enabled: false }
  webhook: { cacheTTL: 0s, enabled: true }
  x509: { clientCAFile: /etc/kubernetes/pki/ca.crt }
authorization:
  mode: Webhook
  webhook: { cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s }
cgroupDriver: systemd
clusterDNS: [ 10.96.0.10 ]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging: { flushFrequency: 0, verbosity: 0 }
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
"#;

    #[test]
    fn kubeadms_file_is_taken() {
        let said = read(KUBEADM, &[]).unwrap();
        assert_eq!(said.authorization.mode, Some(Mode::Webhook));
        assert!(said.rotate_certificates);
        let mut config = KubeletConfig::new("n");
        said.apply(&mut config).unwrap();
        assert_eq!(
            config.cluster_dns,
            ["10.96.0.10".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(
            config.node_status_update_frequency,
            Duration::from_secs(10),
            "zero is the default"
        );
        let manifests = config.static_pod_path.unwrap();
        assert_eq!(manifests, Path::new("/etc/kubernetes/manifests"));
    }

    #[test]
    fn flags_take_the_place_of_what_the_file_says() {
        let arguments = [
            "--max-pods=7",
            "--authorization-mode=AlwaysAllow",
            "--eviction-hard=memory.available<1Mi,nodefs.available<5%",
            "--kube-reserved=cpu=100m,memory=1Gi",
            "--system-reserved=cpu=900m",
            "--container-log-max-size=1Mi",
        ];
        let said = read(KUBEADM, &arguments).unwrap();
        assert_eq!(said.authorization.mode, Some(Mode::AlwaysAllow));
        assert!(said.authentication.x509.client_ca_file.is_some());
        let mut config = KubeletConfig::new("n");
        said.apply(&mut config).unwrap();
        assert_eq!(config.max_pods, 7);
        assert_eq!(config.eviction_hard["nodefs.available"], "5%");
        assert_eq!(config.eviction_hard.len(), 2);
        assert_eq!(config.reserved["cpu"], "1");
        assert_eq!(config.container_log_max_size, 1 << 20);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let unknown = KUBEADM.replace("syncFrequency", "syncFrequencies");
        let error = format!("{:#}", read(&unknown, &[]).unwrap_err());
        assert!(
            error.starts_with("strict decoding error: unknown field `syncFrequencies`"),
            "{error}"
        );
        let other = KUBEADM.replace("v1beta1", "v1");
        let error = format!("{:#}", read(&other, &[]).unwrap_err());
        assert!(
            error.contains("no kind \"KubeletConfiguration\" is registered"),
            "{error}"
        );
    }
}
