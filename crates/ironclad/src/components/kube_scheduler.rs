//! `ironclad kube-scheduler`.

use base::Clock;
use clap::Args;
use client::{EventRecorder, InformerFactory, LeaderElector};

use super::process::{self, ClientFlags, LeaderElectionFlags};

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    client: ClientFlags,
    #[command(flatten)]
    leader_election: LeaderElectionFlags,
}

/// Runs until stopped, or until the lead is lost: whoever started it starts it again, with empty caches.
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    process::run(|cancel, tasks| async move {
        let client = flags.client.client("kube-scheduler")?;
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
            seed: u64::from(std::process::id()),
            ..scheduler::Config::default()
        };
        let Some(election) = flags.leader_election.config("kube-scheduler") else {
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
