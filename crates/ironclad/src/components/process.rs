//! What every component that runs alone needs around it: logs, a runtime, signals, a client.

use std::{future::Future, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use base::{
    TaskGroup,
    logging::{self, LogTarget},
    shutdown,
};
use clap::Args;
use client::{Auth, Client, Config, Https, LeaderElectionConfig, Transport};
use tokio_util::sync::CancellationToken;

/// Flags of every component that is a client of the API.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientFlags {
    /// Kubeconfig with the API server's address and credentials; in a pod, its service account serves
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl ClientFlags {
    /// A client as `user_agent`.
    pub(crate) fn client(&self, user_agent: &str) -> anyhow::Result<Client> {
        let config = Config::from_kubeconfig_or_in_cluster(self.kubeconfig.clone())
            .context("finding the API server")?;
        Ok(Client::from_config(config, user_agent)?)
    }

    /// The way to the same server without credentials.
    pub(crate) fn bare_transport(&self) -> anyhow::Result<Arc<dyn Transport>> {
        let mut config = Config::from_kubeconfig_or_in_cluster(self.kubeconfig.clone())
            .context("finding the API server")?;
        config.auth = Auth::None;
        config.tls.client_identity = None;
        Ok(Arc::new(Https::new(config)?))
    }
}

/// Flags of components of which one leads.
#[derive(Clone, Debug, Args)]
pub(crate) struct LeaderElectionFlags {
    /// Whether to wait for the lead before working
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,
}

impl LeaderElectionFlags {
    /// The election that `component` stands for, if any.
    pub(crate) fn config(&self, component: &str) -> Option<LeaderElectionConfig> {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let identity = format!("{host}_{}", std::process::id());
        self.leader_elect
            .then(|| LeaderElectionConfig::new(component, &identity))
    }
}

/// Runs a component until it ends or a signal asks it to.
pub(crate) fn run<F, Fut>(component: F) -> anyhow::Result<()>
where
    F: FnOnce(CancellationToken, TaskGroup) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    logging::init(LogTarget::Stderr, "info");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let tasks = TaskGroup::new(&cancel);
        // A group of its own: it listens for a second signal while everything else stops.
        let signals = TaskGroup::default();
        signals.spawn_cancellable("signals", shutdown::cancel_on_signal(cancel.clone()));
        let result = component(cancel.clone(), tasks.clone()).await;
        tasks.shutdown().await;
        signals.shutdown().await;
        result
    })
}
