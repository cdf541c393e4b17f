//! `--leader-elect*`: of several that are started one works, the others wait.

use std::time::Duration;

use anyhow::ensure;
use clap::{ArgAction, Args};
use client::LeaderElectionConfig;

use super::duration;

/// client-go's jitter of retries; a deadline must be longer than one of them.
const JITTER: f64 = 1.2;

/// Flags of components of which one leads. What is not given is left to a configuration file, or to upstream's defaults.
#[derive(Clone, Debug, Args)]
pub(crate) struct LeaderElectionFlags {
    /// Whether to wait for the lead before working; true if not given
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: Option<bool>,
    /// How long others wait for the leader to renew its lease; 15s if not given
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    leader_elect_lease_duration: Option<Duration>,
    /// How long the leader tries to renew its lease before it stops leading; 10s if not given
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    leader_elect_renew_deadline: Option<Duration>,
    /// Time between tries; 2s if not given
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    leader_elect_retry_period: Option<Duration>,
    /// The sort of object that is held: leases
    #[arg(long, value_name = "RESOURCE", default_value = "leases", value_parser = ["leases"])]
    leader_elect_resource_lock: String,
    /// The lease's name; the component's if not given
    #[arg(long, value_name = "NAME")]
    leader_elect_resource_name: Option<String>,
    /// The lease's namespace; kube-system if not given
    #[arg(long, value_name = "NAMESPACE")]
    leader_elect_resource_namespace: Option<String>,
}

impl LeaderElectionFlags {
    /// The election to stand for, if any: flags win over `otherwise`, what a configuration file or upstream says of `elects` and the rest.
    pub(crate) fn config(
        &self,
        elects: bool,
        otherwise: LeaderElectionConfig,
    ) -> anyhow::Result<Option<LeaderElectionConfig>> {
        if !self.leader_elect.unwrap_or(elects) {
            return Ok(None);
        }
        let given = |flag: &Option<String>, otherwise: String| flag.clone().unwrap_or(otherwise);
        let config = LeaderElectionConfig {
            resource_name: given(&self.leader_elect_resource_name, otherwise.resource_name),
            resource_namespace: given(
                &self.leader_elect_resource_namespace,
                otherwise.resource_namespace,
            ),
            identity: otherwise.identity,
            lease_duration: self
                .leader_elect_lease_duration
                .unwrap_or(otherwise.lease_duration),
            renew_deadline: self
                .leader_elect_renew_deadline
                .unwrap_or(otherwise.renew_deadline),
            retry_period: self
                .leader_elect_retry_period
                .unwrap_or(otherwise.retry_period),
        };
        ensure!(
            config.lease_duration > config.renew_deadline,
            "leaseDuration must be greater than renewDeadline"
        );
        ensure!(
            config.renew_deadline > config.retry_period.mul_f64(JITTER),
            "renewDeadline must be greater than retryPeriod*JitterFactor"
        );
        ensure!(
            config.lease_duration >= Duration::from_secs(1) && !config.retry_period.is_zero(),
            "leaseDuration must be at least a second, and retryPeriod greater than zero"
        );
        Ok(Some(config))
    }
}

/// Upstream's election of a component, under an identity of this process alone.
pub(crate) fn election(component: &str) -> LeaderElectionConfig {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    LeaderElectionConfig::new(component, &format!("{host}_{}", uuid::Uuid::new_v4()))
}
