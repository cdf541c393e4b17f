//! What every component that runs alone needs around it: logs, a runtime, signals, a client.

use std::{future::Future, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use base::{
    TaskGroup,
    logging::{self, LogTarget},
    metrics::Registry,
    shutdown,
};
use clap::Args;
use client::{Auth, Client, ClientMetrics, Config, Https, Transport};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

/// Flags of every component that is a client of the API.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientFlags {
    /// Kubeconfig with the API server's address and credentials; in a pod, its service account serves
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// `--master` of the components that have it: the API server's address, whatever the kubeconfig says.
    #[arg(skip)]
    pub(crate) master: Option<String>,
}

impl ClientFlags {
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = match (&self.kubeconfig, &self.master) {
            (None, Some(_)) => Config::default(),
            (kubeconfig, _) => Config::from_kubeconfig_or_in_cluster(kubeconfig.clone())
                .context("finding the API server")?,
        };
        if let Some(master) = &self.master {
            config.server.clone_from(master);
        }
        Ok(config)
    }

    /// A client as `user_agent`.
    pub(crate) fn client(&self, user_agent: &str) -> anyhow::Result<Client> {
        Ok(Client::from_config(self.config()?, user_agent)?)
    }

    /// A client as `user_agent`, whose requests are counted in `metrics`.
    pub(crate) fn metered_client(
        &self,
        user_agent: &str,
        metrics: &Registry,
    ) -> anyhow::Result<Client> {
        let config = self.config()?;
        let host = config.server.split_once("://").map(|(_, host)| host);
        let host = host.unwrap_or(&config.server).trim_end_matches('/');
        let counted = ClientMetrics::new(metrics, host);
        Ok(Client::from_config(config, user_agent)?.with_metrics(counted))
    }

    /// The way to the same server without credentials.
    pub(crate) fn bare_transport(&self) -> anyhow::Result<Arc<dyn Transport>> {
        let mut config = self.config()?;
        config.auth = Auth::None;
        config.tls.client_identity = None;
        Ok(Arc::new(Https::new(config)?))
    }
}

/// Runs a component until it ends or a signal asks it to.
pub(crate) fn run<F, Fut>(component: F) -> anyhow::Result<()>
where
    F: FnOnce(CancellationToken, TaskGroup) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    run_on(Builder::new_multi_thread().enable_all(), component)
}

/// As [`run`], on [`server_runtime`].
pub(crate) fn run_server<F, Fut>(component: F) -> anyhow::Result<()>
where
    F: FnOnce(CancellationToken, TaskGroup) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    run_on(&mut server_runtime(), component)
}

/// The runtime of what answers many short requests: workers on half of the cores, and one at least.
///
/// Each worker that finds something to do wakes another to look for more. Where requests take a tenth of a millisecond that costs as much as they
/// do; and what takes long has threads besides the workers.
pub(crate) fn server_runtime() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(base::half_of_cores()).enable_all();
    builder
}

fn run_on<F, Fut>(runtime: &mut Builder, component: F) -> anyhow::Result<()>
where
    F: FnOnce(CancellationToken, TaskGroup) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    logging::init(LogTarget::Stderr);
    let runtime = runtime.build()?;
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
