//! `KubeSchedulerConfiguration` (`kubescheduler.config.k8s.io/v1`): profiles, their plugins and what those are told.

mod file;
mod plugin_set;

use std::{collections::BTreeMap, path::Path, time::Duration};

use apimachinery::{decode, time};
use file::{File, LeaderElectionFile, PluginConfigFile, ProfileFile};
use jiff::SignedDuration;
use serde_json::Value;

use crate::{
    framework::{Point, Profile, Profiles, Row},
    plugins::{self, Arguments, Handle, PluginError},
    queue::Backoff,
};

const GROUP_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file.
    #[error("unable to read {path:?}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What it holds.
    #[error("decoding the scheduler's configuration: {0}")]
    Decode(String),
    /// It says what cannot be.
    #[error("{field}: {message}")]
    Invalid {
        /// Where.
        field: String,
        /// Why.
        message: String,
    },
    /// A profile that cannot be made.
    #[error("creating profile {profile:?}: {message}")]
    Profile {
        /// Which.
        profile: String,
        /// Why.
        message: String,
    },
    /// A plugin that cannot be made.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

/// What the scheduler is told.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// At least one.
    profiles: Vec<ProfileFile>,
    percentage: usize,
    backoff: Backoff,
    /// `clientConnection.kubeconfig`
    pub kubeconfig: Option<String>,
    /// `leaderElection`
    pub leader_election: LeaderElection,
    /// All of it, as it was read.
    shown: Value,
}

/// `leaderElection`
#[derive(Clone, Debug)]
pub struct LeaderElection {
    /// Whether to stand for election.
    pub leader_elect: bool,
    /// How long others wait for the leader to renew its lease.
    pub lease_duration: Duration,
    /// How long the leader tries to renew it before it stops leading.
    pub renew_deadline: Duration,
    /// Time between tries.
    pub retry_period: Duration,
    /// The lease's name.
    pub resource_name: String,
    /// The lease's namespace.
    pub resource_namespace: String,
}

impl LeaderElection {
    fn new(file: &LeaderElectionFile) -> Result<Self, ConfigurationError> {
        let duration = |field: &str, text: &str| {
            let field = format!("leaderElection.{field}");
            let nanos = time::parse_duration(text).map_err(|error| invalid(&field, error))?;
            let positive = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0);
            positive.map(Duration::from_nanos).ok_or_else(|| {
                invalid(
                    field,
                    format!("Invalid value: {text:?}: must be greater than zero"),
                )
            })
        };
        if file.resource_lock != "leases" {
            return Err(invalid(
                "leaderElection.resourceLock",
                format!(
                    "Invalid value: {:?}: resource lock value must be \"leases\"",
                    file.resource_lock
                ),
            ));
        }
        Ok(Self {
            leader_elect: file.leader_elect,
            lease_duration: duration("leaseDuration", &file.lease_duration)?,
            renew_deadline: duration("renewDeadline", &file.renew_deadline)?,
            retry_period: duration("retryPeriod", &file.retry_period)?,
            resource_name: file.resource_name.clone(),
            resource_namespace: file.resource_namespace.clone(),
        })
    }
}

impl Default for Configuration {
    /// One profile, `default-scheduler`, with the default plugins.
    fn default() -> Self {
        Self::from_file(File::default()).expect("the defaults are valid")
    }
}

impl Configuration {
    /// `--config`
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigurationError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&bytes)
    }

    /// Of YAML or JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigurationError> {
        let json = decode::yaml_to_json(bytes, true).map_err(ConfigurationError::Decode)?;
        let file: File = serde_json::from_slice(&json)
            .map_err(|error| ConfigurationError::Decode(error.to_string()))?;
        if file.kind != "KubeSchedulerConfiguration" || file.api_version != GROUP_VERSION {
            return Err(ConfigurationError::Decode(format!(
                "no kind {:?} is registered for version {:?}",
                file.kind, file.api_version
            )));
        }
        Self::from_file(file)
    }

    fn from_file(mut file: File) -> Result<Self, ConfigurationError> {
        if file.profiles.is_empty() {
            file.profiles.push(ProfileFile::default());
        }
        if let [only] = file.profiles.as_mut_slice()
            && only.scheduler_name.is_empty()
        {
            only.scheduler_name = DEFAULT_SCHEDULER.to_owned();
        }
        validate(&file)?;
        file.api_version = GROUP_VERSION.to_owned();
        file.kind = "KubeSchedulerConfiguration".to_owned();
        Ok(Self {
            shown: serde_json::to_value(&file).unwrap_or_default(),
            leader_election: LeaderElection::new(&file.leader_election)?,
            profiles: file.profiles,
            percentage: usize::try_from(file.percentage_of_nodes_to_score.unwrap_or(0))
                .unwrap_or(0),
            backoff: Backoff {
                initial: SignedDuration::from_secs(file.pod_initial_backoff_seconds),
                max: SignedDuration::from_secs(file.pod_max_backoff_seconds),
            },
            kubeconfig: file.client_connection.kubeconfig.filter(|k| !k.is_empty()),
        })
    }

    /// What `/configz` shows.
    pub fn shown(&self) -> Value {
        self.shown.clone()
    }

    /// Upstream's `percentageOfNodesToScore`; 0 is by the size of the cluster.
    pub(crate) fn percentage(&self) -> usize {
        self.percentage
    }

    /// How long pods back off.
    pub(crate) fn backoff(&self) -> Backoff {
        self.backoff
    }

    /// Makes the profiles.
    pub(crate) fn profiles(&self, handle: &Handle) -> Result<Profiles, ConfigurationError> {
        let mut profiles = Vec::with_capacity(self.profiles.len());
        for profile in &self.profiles {
            profiles.push(make(profile, handle)?);
        }
        let first = profiles.remove(0);
        Ok(Profiles::new(first, profiles))
    }
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> ConfigurationError {
    ConfigurationError::Invalid {
        field: field.into(),
        message: message.into(),
    }
}

fn validate(file: &File) -> Result<(), ConfigurationError> {
    if file.parallelism <= 0 {
        return Err(invalid(
            "parallelism",
            format!(
                "Invalid value: {}: should be an integer value greater than zero",
                file.parallelism
            ),
        ));
    }
    if !file.extenders.is_empty() {
        return Err(invalid("extenders", "extenders are not supported"));
    }
    let percentages = file.profiles.iter().enumerate().map(|(index, profile)| {
        let at = format!("profiles[{index}].percentageOfNodesToScore");
        (at, profile.percentage_of_nodes_to_score)
    });
    let general = (
        "percentageOfNodesToScore".to_owned(),
        file.percentage_of_nodes_to_score,
    );
    for (at, percentage) in percentages.chain([general]) {
        if let Some(percentage) = percentage.filter(|p| !(0..=100).contains(p)) {
            return Err(invalid(
                at,
                format!("Invalid value: {percentage}: not in valid range [0-100]"),
            ));
        }
    }
    let (initial, max) = (
        file.pod_initial_backoff_seconds,
        file.pod_max_backoff_seconds,
    );
    if initial <= 0 {
        return Err(invalid(
            "podInitialBackoffSeconds",
            format!("Invalid value: {initial}: must be greater than 0"),
        ));
    }
    if max < initial {
        return Err(invalid(
            "podMaxBackoffSeconds",
            format!(
                "Invalid value: {max}: must be greater than or equal to PodInitialBackoffSeconds"
            ),
        ));
    }
    validate_profiles(&file.profiles)
}

fn validate_profiles(profiles: &[ProfileFile]) -> Result<(), ConfigurationError> {
    let mut names = BTreeMap::new();
    for (index, profile) in profiles.iter().enumerate() {
        let at = format!("profiles[{index}]");
        if profile.scheduler_name.is_empty() {
            return Err(invalid(format!("{at}.schedulerName"), "Required value"));
        }
        if let Some(first) = names.insert(&profile.scheduler_name, index) {
            return Err(invalid(
                format!("{at}.schedulerName"),
                format!("Duplicate value: \"profiles[{first}].schedulerName\""),
            ));
        }
        let mut configured = BTreeMap::new();
        for (place, config) in profile.plugin_config.iter().enumerate() {
            if configured.insert(&config.name, place).is_some() {
                return Err(invalid(
                    format!("{at}.pluginConfig[{place}]"),
                    format!("Duplicate value: {:?}", config.name),
                ));
            }
            validate_kind(config, &format!("{at}.pluginConfig[{place}]"))?;
        }
    }
    Ok(())
}

/// Arguments may say what they are; then they must be what they say.
fn validate_kind(config: &PluginConfigFile, at: &str) -> Result<(), ConfigurationError> {
    let Some(args) = &config.args else {
        return Ok(());
    };
    let text = |field: &str| args.get(field).and_then(serde_json::Value::as_str);
    let expected = format!("{}Args", config.name);
    if text("kind").is_some_and(|kind| kind != expected)
        || text("apiVersion").is_some_and(|version| version != GROUP_VERSION)
    {
        return Err(invalid(
            format!("{at}.args"),
            "Invalid value: has to match plugin args",
        ));
    }
    Ok(())
}

fn make(profile: &ProfileFile, handle: &Handle) -> Result<Profile, ConfigurationError> {
    let failed = |message: String| ConfigurationError::Profile {
        profile: profile.scheduler_name.clone(),
        message,
    };
    let arguments = |name: &str| {
        let mut configs = profile.plugin_config.iter();
        let config = configs.find(|config| config.name == name);
        Arguments(config.and_then(|config| config.args.clone()))
    };
    let all = plugins::rows(handle, arguments)?;
    let by_name: BTreeMap<&str, &Row> = all.iter().map(|row| (row.plugin.name(), row)).collect();
    for config in &profile.plugin_config {
        if !by_name.contains_key(config.name.as_str()) {
            return Err(failed(format!("plugin {:?} does not exist", config.name)));
        }
    }
    let resolved = plugin_set::resolve(&profile.plugins, &by_name).map_err(&failed)?;
    let made = Profile::with_points(&profile.scheduler_name, |point| {
        resolved[point as usize].clone()
    })
    .with_metrics(handle.metrics.points(&profile.scheduler_name));
    let name = &profile.scheduler_name;
    match made.count(Point::QueueSort) {
        1 => {}
        count => {
            return Err(failed(format!(
                "only one queue sort plugin required for profile with scheduler name {name:?}, but got {count}"
            )));
        }
    }
    if made.count(Point::Bind) == 0 {
        return Err(failed(format!(
            "at least one bind plugin is needed for profile with scheduler name {name:?}"
        )));
    }
    Ok(made)
}

#[cfg(test)]
mod tests;
