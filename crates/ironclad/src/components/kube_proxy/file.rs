//! `KubeProxyConfiguration` (`kubeproxy.config.k8s.io/v1alpha1`), as far as it matters here. Fields that do not are known and passed over; unknown
//! ones are refused. An empty string, and null, are what is not said.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

const GROUP_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";
/// An address that is none: nothing is served.
pub(super) const NOWHERE: &str = "-";

/// An address that is served, with upstream's port and whether it is served on loopback alone.
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) address: fn(&Configuration) -> &str,
    pub(super) port: u16,
    pub(super) on_loopback: bool,
}

/// `healthzBindAddress`
pub(super) const HEALTHZ: Endpoint = Endpoint {
    address: |configuration| &configuration.healthz_bind_address,
    port: 10256,
    on_loopback: false,
};
/// `metricsBindAddress`
pub(super) const METRICS: Endpoint = Endpoint {
    address: |configuration| &configuration.metrics_bind_address,
    port: 10249,
    on_loopback: true,
};

/// The file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Configuration {
    kind: String,
    api_version: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client_connection: ClientConnection,
    #[serde(deserialize_with = "or_default")]
    pub(super) hostname_override: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) bind_address: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) healthz_bind_address: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) metrics_bind_address: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) bind_address_hard_fail: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) detect_local_mode: LocalMode,
    #[serde(rename = "clusterCIDR", deserialize_with = "or_default")]
    pub(super) cluster_cidr: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) node_port_addresses: Vec<String>,
    // Of no effect.
    feature_gates: Value,
    logging: Value,
    enable_profiling: Value,
    show_hidden_metrics_for_version: Value,
    #[serde(rename = "iptables")]
    ip_tables: Value,
    ipvs: Value,
    nftables: Value,
    winkernel: Value,
    detect_local: Value,
    oom_score_adj: Value,
    conntrack: Value,
    config_sync_period: Value,
    port_range: Value,
    windows_run_as_service: Value,
}

/// `clientConnection`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClientConnection {
    #[serde(deserialize_with = "path")]
    pub(super) kubeconfig: Option<PathBuf>,
}

/// `detectLocalMode`: how traffic of the node's pods is told from other traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum LocalMode {
    /// By the cluster's ranges of addresses.
    #[default]
    #[serde(rename = "ClusterCIDR", alias = "")]
    ClusterCidr,
    /// By the node's range.
    #[serde(rename = "NodeCIDR")]
    NodeCidr,
    /// By the link that it comes from.
    BridgeInterface,
    /// By the name of that link.
    InterfaceNamePrefix,
}

impl FromStr for LocalMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(Value::from(text))
            .map_err(|_| format!("unknown detect-local-mode: {text}"))
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path: Option<PathBuf> = Option::deserialize(deserializer)?;
    Ok(path.filter(|path| !path.as_os_str().is_empty()))
}

impl Configuration {
    /// `--config`
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&bytes)
    }

    /// Of YAML or JSON.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let json = apimachinery::decode::yaml_to_json(bytes, true).map_err(anyhow::Error::msg)?;
        let configuration: Self = serde_json::from_slice(&json)?;
        ensure!(
            configuration.kind == KIND && configuration.api_version == GROUP_VERSION,
            "no kind {:?} is registered for version {:?}",
            configuration.kind,
            configuration.api_version
        );
        Ok(configuration)
    }

    /// What cannot be.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let known = ["", "iptables", "ipvs", "nftables"];
        ensure!(
            known.contains(&self.mode.as_str()),
            "KubeProxyConfiguration.Mode: Invalid value: {:?}: must be iptables,ipvs,nftables or blank (blank means the best-available proxy [currently iptables])",
            self.mode
        );
        ensure!(
            !self
                .node_port_addresses
                .iter()
                .any(|range| range == "primary")
                || self.node_port_addresses.len() == 1,
            "KubeProxyConfiguration.NodePortAddresses: Invalid value: \"primary\": can't use both 'primary' and CIDRs"
        );
        Ok(())
    }

    /// What is asked for and done otherwise.
    pub(super) fn warn(&self) {
        if matches!(self.mode.as_str(), "iptables" | "ipvs") {
            tracing::warn!(
                mode = self.mode,
                "rules are written with nftables all the same"
            );
        }
        if self.detect_local_mode != LocalMode::ClusterCidr {
            tracing::warn!(
                mode = ?self.detect_local_mode,
                "traffic of pods is known by the cluster's ranges all the same"
            );
        }
    }

    /// What `/configz` shows.
    pub(super) fn shown(&self) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        shown["kind"] = KIND.into();
        shown["apiVersion"] = GROUP_VERSION.into();
        shown["mode"] = "nftables".into();
        if let Some(fields) = shown.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        shown
    }
}
