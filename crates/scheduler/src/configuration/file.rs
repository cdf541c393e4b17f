//! The file, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `KubeSchedulerConfiguration`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) parallelism: i32,
    pub(super) leader_election: LeaderElectionFile,
    pub(super) client_connection: ClientConnectionFile,
    /// Accepted; profiles are not offered over HTTP.
    enable_profiling: Option<bool>,
    /// As the last.
    enable_contention_profiling: Option<bool>,
    pub(super) percentage_of_nodes_to_score: Option<i32>,
    pub(super) pod_initial_backoff_seconds: i64,
    pub(super) pod_max_backoff_seconds: i64,
    pub(super) profiles: Vec<ProfileFile>,
    pub(super) extenders: Vec<Value>,
    /// Accepted; caches are filled after the election in any case.
    delay_cache_until_active: bool,
}

impl Default for File {
    fn default() -> Self {
        Self {
            api_version: String::new(),
            kind: String::new(),
            parallelism: 16,
            leader_election: LeaderElectionFile::default(),
            client_connection: ClientConnectionFile::default(),
            enable_profiling: None,
            enable_contention_profiling: None,
            percentage_of_nodes_to_score: None,
            pod_initial_backoff_seconds: 1,
            pod_max_backoff_seconds: 10,
            profiles: Vec::new(),
            extenders: Vec::new(),
            delay_cache_until_active: false,
        }
    }
}

/// `leaderElection`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LeaderElectionFile {
    pub(super) leader_elect: bool,
    pub(super) lease_duration: String,
    pub(super) renew_deadline: String,
    pub(super) retry_period: String,
    pub(super) resource_lock: String,
    pub(super) resource_name: String,
    pub(super) resource_namespace: String,
}

impl Default for LeaderElectionFile {
    fn default() -> Self {
        Self {
            leader_elect: true,
            lease_duration: "15s".to_owned(),
            renew_deadline: "10s".to_owned(),
            retry_period: "2s".to_owned(),
            resource_lock: "leases".to_owned(),
            resource_name: "kube-scheduler".to_owned(),
            resource_namespace: "kube-system".to_owned(),
        }
    }
}

/// `clientConnection`; of its fields the way to the server is looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClientConnectionFile {
    pub(super) kubeconfig: Option<String>,
}

/// `profiles[]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ProfileFile {
    pub(super) scheduler_name: String,
    pub(super) percentage_of_nodes_to_score: Option<i32>,
    pub(super) plugins: PluginsFile,
    pub(super) plugin_config: Vec<PluginConfigFile>,
}

/// `profiles[].pluginConfig[]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginConfigFile {
    pub(super) name: String,
    pub(super) args: Option<Value>,
}

/// `profiles[].plugins`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PluginsFile {
    pub(super) multi_point: PluginSetFile,
    pub(super) pre_enqueue: PluginSetFile,
    pub(super) queue_sort: PluginSetFile,
    pub(super) pre_filter: PluginSetFile,
    pub(super) filter: PluginSetFile,
    pub(super) post_filter: PluginSetFile,
    pub(super) pre_score: PluginSetFile,
    pub(super) score: PluginSetFile,
    pub(super) reserve: PluginSetFile,
    pub(super) permit: PluginSetFile,
    pub(super) pre_bind: PluginSetFile,
    pub(super) bind: PluginSetFile,
    pub(super) post_bind: PluginSetFile,
}

/// Plugins switched on and off at a point.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PluginSetFile {
    pub(super) enabled: Vec<PluginFile>,
    pub(super) disabled: Vec<PluginFile>,
}

/// A plugin by name; `*` among the disabled is all of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginFile {
    pub(super) name: String,
    pub(super) weight: Option<i64>,
}
