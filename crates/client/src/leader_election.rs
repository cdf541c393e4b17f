//! Leader election by Lease, as client-go's: whoever holds the Lease leads; who fails to renew it in time stops.
//!
//! Clocks of machines are not compared: a candidate measures with its own clock how long it has seen the Lease unchanged.

use std::{future::Future, time::Duration};

use base::{Clock, TaskGroup};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    backoff::Backoff,
    client::Client,
    error::ApiError,
    events::{EventRecorder, EventType},
    leader_healthz::LeaderHealthz,
};

/// Who elects for what, under upstream's flag names.
#[derive(Clone, Debug)]
pub struct LeaderElectionConfig {
    /// `--leader-elect-resource-namespace`.
    pub resource_namespace: String,
    /// `--leader-elect-resource-name`.
    pub resource_name: String,
    /// Unique among the candidates: `hostname_uuid`.
    pub identity: String,
    /// `--leader-elect-lease-duration`: others wait so long before they take over.
    pub lease_duration: Duration,
    /// `--leader-elect-renew-deadline`: the leader stops if it could not renew for so long.
    pub renew_deadline: Duration,
    /// `--leader-elect-retry-period`.
    pub retry_period: Duration,
}

impl LeaderElectionConfig {
    /// With upstream's durations: 15 s, 10 s, 2 s.
    pub fn new(name: &str, identity: &str) -> Self {
        Self {
            resource_namespace: "kube-system".to_owned(),
            resource_name: name.to_owned(),
            identity: identity.to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// What a candidate does about the Lease as it sees it.
#[derive(Debug, PartialEq)]
enum Decision {
    Create(LeaseSpec),
    Update(LeaseSpec),
    /// Somebody else leads.
    Wait,
}

/// The Lease as last seen, and since when it is unchanged.
#[derive(Debug, Default)]
struct Observed {
    spec: Option<LeaseSpec>,
    since: Option<Instant>,
}

impl Observed {
    fn see(&mut self, spec: Option<&LeaseSpec>, now: Instant) {
        if self.since.is_none() || self.spec.as_ref() != spec {
            self.spec = spec.cloned();
            self.since = Some(now);
        }
    }

    fn decide(
        &self,
        config: &LeaderElectionConfig,
        exists: bool,
        now: Instant,
        wall: Timestamp,
    ) -> Decision {
        let duration = i32::try_from(config.lease_duration.as_secs()).unwrap_or(i32::MAX);
        let mut ours = LeaseSpec {
            holder_identity: Some(config.identity.clone()),
            lease_duration_seconds: Some(duration),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        };
        if !exists {
            return Decision::Create(ours);
        }
        let seen = self.spec.clone().unwrap_or_default();
        let holder = seen.holder_identity.as_deref().unwrap_or_default();
        let transitions = seen.lease_transitions.unwrap_or_default();
        if holder == config.identity {
            ours.acquire_time = seen.acquire_time;
            ours.lease_transitions = Some(transitions);
            return Decision::Update(ours);
        }
        let valid_for = Duration::from_secs(
            u64::try_from(seen.lease_duration_seconds.unwrap_or(duration)).unwrap_or(0),
        );
        let fresh = self.since.is_some_and(|since| now < since + valid_for);
        if !holder.is_empty() && fresh {
            return Decision::Wait;
        }
        ours.lease_transitions = Some(transitions.saturating_add(1));
        Decision::Update(ours)
    }
}

/// A candidate.
pub struct LeaderElector {
    client: Client,
    config: LeaderElectionConfig,
    clock: Clock,
    recorder: Option<EventRecorder>,
    healthz: LeaderHealthz,
    observed: Observed,
}

impl LeaderElector {
    /// A candidate; `recorder` tells of a new leader by an event on the Lease.
    pub fn new(
        client: Client,
        config: LeaderElectionConfig,
        clock: Clock,
        recorder: Option<EventRecorder>,
    ) -> Self {
        Self {
            client,
            config,
            clock,
            recorder,
            healthz: LeaderHealthz::default(),
            observed: Observed::default(),
        }
    }

    /// Tells `healthz` how it goes.
    pub fn with_healthz(mut self, healthz: LeaderHealthz) -> Self {
        self.healthz = healthz;
        self
    }

    /// Waits for leadership, then runs `lead` with a token that is cancelled when leadership is lost. Returns after `lead` has
    /// ended: `true` if that was because leadership was lost, `false` if `cancel` came; the Lease is then given up at once, so
    /// that the next leader need not wait.
    pub async fn run<F, Fut>(mut self, cancel: CancellationToken, lead: F) -> bool
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        if cancel.run_until_cancelled(self.acquire()).await.is_none() {
            return false;
        }
        info!(
            lease = self.config.resource_name,
            identity = self.config.identity,
            "became leader"
        );
        let group = TaskGroup::new(&cancel);
        let token = group.token().clone();
        group.spawn("leader", lead(token.clone()));
        let lost = token.run_until_cancelled(self.renew()).await.is_some();
        group.shutdown().await;
        self.healthz.lost();
        if lost {
            warn!(lease = self.config.resource_name, "leadership lost");
        } else {
            self.release().await;
        }
        lost
    }

    /// Returns once we lead.
    async fn acquire(&mut self) {
        let mut backoff = Backoff::exponential(self.config.retry_period, self.config.retry_period)
            .with_jitter(1.2);
        loop {
            match self.try_acquire_or_renew().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    debug!(%error, lease = self.config.resource_name, "cannot acquire the lease")
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Returns when leadership is lost.
    async fn renew(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.config.retry_period).await;
            let left = self.config.renew_deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_acquire_or_renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    debug!(%error, lease = self.config.resource_name, "cannot renew the lease");
                    if renewed.elapsed() >= self.config.renew_deadline {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Whether we hold the Lease now.
    async fn try_acquire_or_renew(&mut self) -> Result<bool, ApiError> {
        let api = self.client.api::<Lease>(&self.config.resource_namespace);
        let lease = api.get_opt(&self.config.resource_name).await?;
        let now = Instant::now();
        self.observed
            .see(lease.as_ref().and_then(|lease| lease.spec.as_ref()), now);
        let stored =
            match self
                .observed
                .decide(&self.config, lease.is_some(), now, self.clock.now())
            {
                Decision::Wait => return Ok(false),
                Decision::Create(spec) => api.create(&self.lease(spec)).await,
                Decision::Update(spec) => {
                    let taken_over = self
                        .observed
                        .spec
                        .as_ref()
                        .and_then(|s| s.holder_identity.as_deref())
                        != Some(&self.config.identity);
                    let lease = Lease {
                        spec: Some(spec),
                        ..lease.unwrap_or_default()
                    };
                    let stored = api.update(&lease).await;
                    if taken_over && let (Ok(lease), Some(recorder)) = (&stored, &self.recorder) {
                        let message = format!("{} became leader", self.config.identity);
                        recorder.event(lease, EventType::Normal, "LeaderElection", message);
                    }
                    stored
                }
            };
        match stored {
            Ok(lease) => {
                self.observed.see(lease.spec.as_ref(), Instant::now());
                self.healthz.renewed(self.config.lease_duration);
                Ok(true)
            }
            // A conflict (another candidate was faster) shows at the next try who leads.
            Err(error) => Err(error),
        }
    }

    fn lease(&self, spec: LeaseSpec) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.config.resource_name.clone()),
                namespace: Some(self.config.resource_namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        }
    }

    async fn release(&mut self) {
        let api = self.client.api::<Lease>(&self.config.resource_namespace);
        let give_up = async {
            let mut lease = api.get(&self.config.resource_name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.config.identity) {
                return Ok(());
            }
            let now = self.clock.now();
            *spec = LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                acquire_time: Some(MicroTime(now)),
                renew_time: Some(MicroTime(now)),
                lease_transitions: spec.lease_transitions,
                ..LeaseSpec::default()
            };
            api.update(&lease).await.map(drop)
        };
        let outcome: Result<Result<(), ApiError>, _> =
            tokio::time::timeout(self.config.retry_period, give_up).await;
        if !matches!(outcome, Ok(Ok(()))) {
            debug!(
                lease = self.config.resource_name,
                "the lease could not be released and will expire"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(identity: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_when_it_is_free_or_stands_still() {
        let config = LeaderElectionConfig::new("kube-scheduler", "me");
        let wall = Timestamp::UNIX_EPOCH;
        let mut observed = Observed::default();
        let start = Instant::now();
        assert!(matches!(
            observed.decide(&config, false, start, wall),
            Decision::Create(_)
        ));

        observed.see(Some(&held_by("other")), start);
        assert_eq!(observed.decide(&config, true, start, wall), Decision::Wait);
        let later = start + Duration::from_secs(14);
        observed.see(Some(&held_by("other")), later);
        assert_eq!(observed.decide(&config, true, later, wall), Decision::Wait);
        let expired = start + Duration::from_secs(15);
        observed.see(Some(&held_by("other")), expired);
        match observed.decide(&config, true, expired, wall) {
            Decision::Update(spec) => assert_eq!(spec.lease_transitions, Some(4)),
            other => panic!("{other:?}"),
        }

        observed.see(Some(&held_by("me")), expired);
        match observed.decide(&config, true, expired, wall) {
            Decision::Update(spec) => assert_eq!(
                spec.lease_transitions,
                Some(3),
                "a renewal is no transition"
            ),
            other => panic!("{other:?}"),
        }
        observed.see(Some(&held_by("")), expired);
        assert!(matches!(
            observed.decide(&config, true, expired, wall),
            Decision::Update(_)
        ));
    }
}
