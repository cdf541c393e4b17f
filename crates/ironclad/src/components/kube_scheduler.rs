//! `ironclad kube-scheduler`.

use std::path::PathBuf;

use anyhow::Context as _;
use base::Clock;
use clap::Args;
use client::{EventRecorder, InformerFactory, LeaderElectionConfig, LeaderElector, LeaderHealthz};
use component_base::{Check, Checks, Server};
use scheduler::{Configuration, Readiness};
use tokio_util::sync::CancellationToken;

use super::{
    flags::{
        LeaderElectionFlags, SecureServingFlags, Table, WithoutEffect,
        leader_election::election,
        without_effect::{API_CLIENT, DELEGATION, SERVING, Shared},
    },
    process::{self, ClientFlags},
    serving,
};

const NAME: &str = "kube-scheduler";
/// Upstream's port.
pub(crate) const PORT: u16 = 10259;

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1); its kubeconfig wins over the flag, flags of leader election over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: ClientFlags,
    /// The API server's address, whatever the kubeconfig says
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    #[command(flatten)]
    leader_election: LeaderElectionFlags,
    #[command(flatten)]
    serving: SecureServingFlags,
    #[command(flatten)]
    no_effect: WithoutEffect<NoEffect>,
}

/// Upstream's flags that change nothing here, and those that are refused.
#[derive(Debug)]
struct NoEffect;

impl Table for NoEffect {
    const SHARED: &'static [Shared] = &[SERVING, DELEGATION, API_CLIENT];
    const SWITCHES: &'static [&'static str] = &["contention-profiling", "profiling"];
    const SETTINGS: &'static [&'static str] = &["pod-max-in-unschedulable-pods-duration"];
    const REFUSED: &'static [(&'static str, &'static str)] =
        &[("write-config-to", "the configuration is shown at /configz")];
}

/// Runs until stopped, or until the lead is lost: whoever started it starts it again, with empty caches.
pub(crate) fn run(mut flags: Flags) -> anyhow::Result<()> {
    flags.client.master = flags.master.take();
    process::run(|cancel, tasks| async move {
        flags.no_effect.report();
        let clock = Clock::system();
        let metrics = serving::registry();
        let configuration = match &flags.config {
            Some(path) => Configuration::read(path).context("reading --config")?,
            None => Configuration::default(),
        };
        if let Some(kubeconfig) = &configuration.kubeconfig {
            flags.client.kubeconfig = Some(PathBuf::from(kubeconfig));
        }
        let election = flags.leader_election.config(
            configuration.leader_election.leader_elect,
            otherwise(&configuration.leader_election),
        )?;
        let client = flags.client.metered_client(NAME, &metrics)?;
        let healthz = LeaderHealthz::new(election.as_ref().map_or(NAME, |e| &e.resource_name));
        if election.is_some() {
            healthz.register(&metrics);
        }
        let readiness = Readiness::default();
        let listening = flags.serving.listen(NAME, PORT, &tasks, &clock).await?;
        if let Some((listener, guard)) = listening {
            let elected = election.is_some().then_some(&healthz);
            let server = serving::server(NAME, &metrics, &clock);
            let server = with_pages(server, &configuration, elected, &readiness, &cancel);
            let (server, connections) = (server.guarded_by(guard), tasks.clone());
            tasks.spawn("secure-serving", async move {
                server.serve(listener, &connections).await;
            });
        }
        let events = EventRecorder::new(
            client.clone(),
            "default-scheduler",
            None,
            clock.clone(),
            &tasks,
        );
        let informers = InformerFactory::new(client.clone(), tasks.clone());
        let deps = scheduler::Dependencies {
            informers,
            events: events.clone(),
            clock: clock.clone(),
            metrics,
            readiness,
        };
        let config = scheduler::Config {
            configuration,
            seed: u64::from(std::process::id()),
        };
        let Some(election) = election else {
            return Ok(scheduler::run(config, deps, cancel).await?);
        };
        let elector =
            LeaderElector::new(client, election, clock, Some(events)).with_healthz(healthz);
        let lost = elector
            .run(cancel, |lead| async move {
                if let Err(error) = scheduler::run(config, deps, lead).await {
                    tracing::error!(%error, "the scheduler ended");
                }
            })
            .await;
        anyhow::ensure!(!lost, "leader election lost");
        Ok(())
    })
}

/// What a configuration file says of the election.
fn otherwise(file: &scheduler::LeaderElection) -> LeaderElectionConfig {
    LeaderElectionConfig {
        resource_namespace: file.resource_namespace.clone(),
        resource_name: file.resource_name.clone(),
        lease_duration: file.lease_duration,
        renew_deadline: file.renew_deadline,
        retry_period: file.retry_period,
        ..election(NAME)
    }
}

/// Health and configuration of a scheduler; `elected` if it stands for election.
pub(crate) fn with_pages(
    server: Server,
    configuration: &Configuration,
    elected: Option<&LeaderHealthz>,
    readiness: &Readiness,
    cancel: &CancellationToken,
) -> Server {
    let election: Vec<Check> = elected.map(serving::leader_election).into_iter().collect();
    let mut ready = election.clone();
    let (stopping, synced) = (cancel.clone(), readiness.clone());
    // Who waits for the lead has nothing to know yet.
    let waits = elected.cloned();
    ready.push(Check::new("shutdown", move || {
        match stopping.is_cancelled() {
            true => Err("process is shutting down".to_owned()),
            false => Ok(()),
        }
    }));
    ready.push(Check::new("sched-handler-sync", move || {
        let waits = waits.as_ref().is_some_and(|healthz| !healthz.is_leader());
        match waits || synced.is_ready() {
            true => Ok(()),
            false => Err("handlers are not fully synchronized".to_owned()),
        }
    }));
    server
        .with_checks("healthz", Checks::new(election))
        .with_checks("livez", Checks::new(Vec::new()))
        .with_checks("readyz", Checks::new(ready))
        .with_configuration("componentconfig", configuration.shown())
}
