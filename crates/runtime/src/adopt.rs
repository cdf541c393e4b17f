//! Taking up again what an earlier process has left: running pods go on, half-made ones are undone.

use std::sync::Arc;

use cri::CriError;

use crate::{
    records::{self, ContainerRecord, SandboxRecord},
    runtime::{Container, Runtime, Sandbox, internal},
};

impl Runtime {
    pub(crate) async fn adopt(&self) -> Result<(), CriError> {
        let root = &self.0.config.root;
        let found = records::list(&root.join("containers")).map_err(internal("list containers"))?;
        for (id, dir) in found {
            match (dir.load::<ContainerRecord>(), dir.load_config()) {
                (Ok(record), Ok(config)) => {
                    self.insert_container(Arc::new(Container::new(id, config, dir, record)));
                }
                _ => dir
                    .remove()
                    .map_err(internal("remove an unfinished container"))?,
            }
        }
        let found = records::list(&root.join("sandboxes")).map_err(internal("list sandboxes"))?;
        for (id, dir) in found {
            match (dir.load::<SandboxRecord>(), dir.load_config()) {
                (Ok(record), Ok(config)) => {
                    let socket = self.socket(&id);
                    let sandbox = Arc::new(Sandbox::new(id, config, dir, socket, record));
                    self.insert_sandbox(sandbox.clone());
                    self.adopt_sandbox(&sandbox).await?;
                }
                _ => dir
                    .remove()
                    .map_err(internal("remove an unfinished sandbox"))?,
            }
        }
        // A sandbox goes after its containers, so a container without one is the rest of a removal.
        for container in self.containers() {
            if self.sandbox(&container.record().sandbox_id).is_none() {
                self.remove_container_by_force(&container).await?;
            }
        }
        let ids: Vec<String> = self
            .sandboxes()
            .iter()
            .filter(|sandbox| sandbox.is_ready())
            .map(|sandbox| sandbox.id.clone())
            .collect();
        if let Err(error) = self.0.config.network.retain(&ids).await {
            tracing::warn!(%error, "failed to free what removed sandboxes had of the pod network");
        }
        Ok(())
    }

    async fn adopt_sandbox(&self, sandbox: &Arc<Sandbox>) -> Result<(), CriError> {
        let record = sandbox.record();
        if !record.complete {
            tracing::info!(sandbox = %sandbox.id, "removing a sandbox that was never finished");
            return self.remove_sandbox(&sandbox.id).await;
        }
        match self.watch(sandbox).await {
            Ok(()) if !record.ready => {
                // Its stopping was interrupted.
                self.stop_sandbox(sandbox).await
            }
            Ok(()) => Ok(()),
            Err(error) => {
                if record.ready {
                    tracing::warn!(sandbox = %sandbox.id, %error, "sandbox has no shim any more");
                }
                self.shim_is_gone(sandbox).await;
                Ok(())
            }
        }
    }
}
