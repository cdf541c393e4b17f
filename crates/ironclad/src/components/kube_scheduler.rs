//! `ironclad kube-scheduler`.

use std::path::PathBuf;

use anyhow::Context as _;
use base::Clock;
use clap::Args;
use client::{EventRecorder, InformerFactory, LeaderElector};
use scheduler::Configuration;

use super::process::{self, ClientFlags, LeaderElectionFlags};

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1); its kubeconfig and leader election win over the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: ClientFlags,
    #[command(flatten)]
    leader_election: LeaderElectionFlags,
}

/// Runs until stopped, or until the lead is lost: whoever started it starts it again, with empty caches.
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    process::run(|cancel, tasks| async move {
        let Flags {
            config,
            mut client,
            leader_election,
        } = flags;
        let is_configured = config.is_some();
        let configuration = match config {
            Some(path) => Configuration::read(&path).context("reading --config")?,
            None => Configuration::default(),
        };
        if let Some(kubeconfig) = &configuration.kubeconfig {
            client.kubeconfig = Some(PathBuf::from(kubeconfig));
        }
        let elects = !is_configured || configuration.leader_elect;
        let client = client.client("kube-scheduler")?;
        let clock = Clock::system();
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
        };
        let config = scheduler::Config {
            configuration,
            seed: u64::from(std::process::id()),
        };
        let election = leader_election.config("kube-scheduler");
        let Some(election) = election.filter(|_| elects) else {
            return Ok(scheduler::run(config, deps, cancel).await?);
        };
        let elector = LeaderElector::new(client, election, clock, Some(events));
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
