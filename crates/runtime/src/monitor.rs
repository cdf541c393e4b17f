//! Listening to shims: every change of a container comes from there, and so does the news that a shim has died.

use std::sync::Arc;

use cri::v1::{ContainerEventResponse, ContainerEventType};
use linux::process::Signal;

use crate::{
    records::Started,
    runtime::{Container, ContainerState, Runtime, Sandbox},
    shim::{
        protocol::{self, Reply, Request},
        spec::ExitRecord,
    },
    shim_client::{Connection, ShimError},
};

/// Exit code of a container whose end nobody saw, as containerd's.
const UNKNOWN_EXIT: i32 = 255;

impl Runtime {
    /// Subscribes to a sandbox's shim: its containers are as they are when this returns, and followed from then on.
    pub(crate) async fn watch(&self, sandbox: &Arc<Sandbox>) -> Result<(), ShimError> {
        let connection = self.subscribe(sandbox).await?;
        let (runtime, sandbox) = (self.clone(), sandbox.clone());
        self.0.tasks.spawn_cancellable("shim-monitor", async move {
            runtime.follow(&sandbox, connection).await;
        });
        Ok(())
    }

    async fn subscribe(&self, sandbox: &Arc<Sandbox>) -> Result<Connection, ShimError> {
        let (connection, reply, _) = sandbox.shim.open(&Request::Subscribe, &[]).await?;
        let pid = connection.shim_pid().map_err(ShimError::Gone)?;
        sandbox.set_pid(pid.as_raw_nonzero().get());
        if let Reply::Snapshot { containers } = reply {
            for state in containers {
                self.changed(sandbox, &state).await;
            }
        }
        Ok(connection)
    }

    async fn follow(&self, sandbox: &Arc<Sandbox>, mut connection: Connection) {
        loop {
            match connection.receive().await {
                Ok(Some((Reply::Changed(state), _))) => self.changed(sandbox, &state).await,
                Ok(Some(_)) => {}
                // It has ended, or has cut us off because we were slow: then it answers anew.
                Ok(None) | Err(_) => match self.subscribe(sandbox).await {
                    Ok(again) => connection = again,
                    Err(_) => return self.shim_is_gone(sandbox).await,
                },
            }
        }
    }

    async fn changed(&self, sandbox: &Arc<Sandbox>, change: &protocol::ContainerState) {
        let Some(container) = self.container(&change.id) else {
            return;
        };
        let started = Started {
            pid: change.pid,
            at: change.started_at,
            user: change.user.clone(),
        };
        let recorded = container.update(|record| record.started = Some(started.clone()));
        if let Err(error) = recorded {
            tracing::error!(container = %container.id, %error, "failed to record a container");
        }
        if container.advance(ContainerState::Running(started.clone())) {
            self.announce(
                sandbox,
                &container.id,
                ContainerEventType::ContainerStartedEvent,
            );
        }
        if let Some(exit) = change.exit {
            self.ended(sandbox, &container, Some(started), exit);
        }
    }

    pub(crate) fn ended(
        &self,
        sandbox: &Arc<Sandbox>,
        container: &Arc<Container>,
        started: Option<Started>,
        exit: ExitRecord,
    ) {
        if container.advance(ContainerState::Exited(started, exit)) {
            self.announce(
                sandbox,
                &container.id,
                ContainerEventType::ContainerStoppedEvent,
            );
        }
    }

    /// A shim that dies takes its containers along; this makes sure of it, and records their ends.
    pub(crate) async fn shim_is_gone(&self, sandbox: &Arc<Sandbox>) {
        let was_ready = sandbox.is_ready();
        sandbox.set_pid(0);
        for container in self.containers_of(&sandbox.id) {
            let ContainerState::Running(started) = container.state() else {
                continue;
            };
            let cgroup = container.record().cgroup;
            let runtime = self.clone();
            let killed = tokio::task::spawn_blocking(move || {
                runtime.cgroup(&cgroup).and_then(|cgroup| cgroup.kill())
            });
            if let Ok(Err(error)) = killed.await {
                tracing::error!(container = %container.id, %error, "failed to kill a container");
            }
            let exit = container.dir.load_exit().unwrap_or(ExitRecord {
                exit_code: UNKNOWN_EXIT,
                signal: Some(Signal::KILL.as_raw()),
                oom_killed: false,
                finished_at: self.now(),
            });
            let _ = container.dir.save_exit(&exit);
            self.ended(sandbox, &container, Some(started), exit);
        }
        if !was_ready {
            return;
        }
        if let Err(error) = sandbox.update(|record| record.ready = false) {
            tracing::error!(sandbox = %sandbox.id, %error, "failed to record a sandbox");
        }
        self.detach(sandbox).await;
        self.announce(
            sandbox,
            &sandbox.id,
            ContainerEventType::ContainerStoppedEvent,
        );
    }

    pub(crate) fn announce(&self, sandbox: &Arc<Sandbox>, id: &str, kind: ContainerEventType) {
        let containers = self.containers_of(&sandbox.id);
        self.0.events.publish(&ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: self.now(),
            pod_sandbox_status: Some(self.sandbox_status(sandbox)),
            containers_statuses: containers
                .iter()
                .map(|c| self.container_status(c))
                .collect(),
        });
    }
}
