//! The controller manager: starts the controllers that the configuration enables, under leader election if it says so.

use std::sync::Arc;

use base::{Clock, TaskGroup, metrics::Registry};
use client::{
    Client, EventRecorder, InformerFactory, LeaderElector, LeaderHealthz, ServiceAccountTransport,
    Transport, WorkqueueMetrics,
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{config::Config, context::ControllerContext, names, table::TABLE};

/// What the controllers stand on.
#[derive(Clone)]
pub struct Deps {
    /// To the API server, as the controller manager.
    pub client: Client,
    /// To the same, without credentials: `--use-service-account-credentials`. Each controller then writes as a service account of its own;
    /// without it all act as the controller manager.
    pub bare_transport: Option<Arc<dyn Transport>>,
    /// Shared with whoever else in this process reads the same kinds; it outlives the controllers.
    pub informers: InformerFactory,
    /// Time.
    pub clock: Clock,
    /// Where queues are counted.
    pub metrics: Registry,
    /// Told how the election goes.
    pub leader_healthz: LeaderHealthz,
}

/// Where the controllers' service accounts are.
const NAMESPACE: &str = "kube-system";

impl Deps {
    /// A client as the service account of that name; without a name, as the controller manager.
    fn client_of(&self, service_account: &str) -> Client {
        let bare = self.bare_transport.as_ref();
        let Some(bare) = bare.filter(|_| !service_account.is_empty()) else {
            return self.client.clone();
        };
        let transport = ServiceAccountTransport::new(
            NAMESPACE,
            service_account,
            self.client.clone(),
            Arc::clone(bare),
            self.clock.clone(),
        );
        let agent =
            format!("kube-controller-manager/system:serviceaccount:{NAMESPACE}:{service_account}");
        self.client
            .with_transport(Arc::new(transport))
            .with_user_agent(&agent)
    }
}

/// Why the controller manager ended before it was told to.
#[derive(Debug, Error)]
pub enum RunError {
    /// Another one leads now; upstream exits here, to start anew with empty caches.
    #[error("leader election lost")]
    LeadershipLost,
    /// `--controllers` names one that does not exist.
    #[error("{0:?} is not in the list of known controllers")]
    UnknownController(String),
}

/// The names of all controllers, for `--controllers`' help.
pub fn known_controllers() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|controller| controller.name)
}

/// Runs the controllers until cancelled, and returns after all of them have stopped.
pub async fn run(
    mut config: Config,
    deps: Deps,
    cancel: CancellationToken,
) -> Result<(), RunError> {
    for entry in &mut config.controllers {
        *entry = checked(entry)?;
    }
    let election = config.leader_election.clone();
    let Some(election) = election else {
        lead(config, deps, cancel).await;
        return Ok(());
    };
    let events = TaskGroup::new(&cancel);
    let recorder = EventRecorder::new(
        deps.client.clone(),
        &election.resource_name,
        None,
        deps.clock.clone(),
        &events,
    );
    let elector = LeaderElector::new(
        deps.client.clone(),
        election,
        deps.clock.clone(),
        Some(recorder),
    )
    .with_healthz(deps.leader_healthz.clone());
    let lost = elector
        .run(cancel.clone(), |token| lead(config, deps, token))
        .await;
    events.shutdown().await;
    if lost {
        Err(RunError::LeadershipLost)
    } else {
        Ok(())
    }
}

/// An entry of `--controllers`, by the controller's own name.
fn checked(entry: &str) -> Result<String, RunError> {
    let (sign, named) = match entry.strip_prefix('-') {
        Some(named) => ("-", named),
        None => ("", entry),
    };
    let name = names::resolve(named);
    if names::is_absent(name) {
        if sign.is_empty() {
            warn!(controller = name, "there is no such controller here");
        }
    } else if name != "*" && !known_controllers().any(|known| known == name) {
        return Err(RunError::UnknownController(named.to_owned()));
    }
    Ok(format!("{sign}{name}"))
}

async fn lead(config: Config, deps: Deps, cancel: CancellationToken) {
    let tasks = TaskGroup::new(&cancel);
    let config = Arc::new(config);
    let events = EventRecorder::new(
        deps.client.clone(),
        "kube-controller-manager",
        None,
        deps.clock.clone(),
        &tasks,
    );
    let queues = WorkqueueMetrics::new(&deps.metrics);
    for controller in TABLE
        .iter()
        .filter(|c| config.enables(c.name, c.default_on))
    {
        info!(controller = controller.name, "starting");
        (controller.start)(ControllerContext {
            client: deps.client_of(controller.service_account),
            informers: deps.informers.clone(),
            recorder: events.with_component(controller.event_source),
            clock: deps.clock.clone(),
            config: config.clone(),
            queues: queues.clone(),
            tasks: tasks.clone(),
        });
    }
    tasks.wait().await;
}
