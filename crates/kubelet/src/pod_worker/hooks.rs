//! `postStart` and `preStop`: a command in the container, a GET, or a pause.

use std::{sync::Arc, time::Duration};

use base::Clock;
use cri::{RuntimeService, v1};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probes::{HttpTarget, http_get, resolve_port};

/// What is shown of a command's output.
const MAX_OUTPUT: usize = 1024;

/// Runs hooks.
#[derive(Clone)]
pub struct HookRunner {
    runtime: Arc<dyn RuntimeService>,
    clock: Clock,
}

impl HookRunner {
    /// In containers of this runtime.
    pub fn new(runtime: Arc<dyn RuntimeService>, clock: Clock) -> Self {
        Self { runtime, clock }
    }

    /// Runs a hook to its end. The error is a message. Dropping the future gives up waiting for it.
    pub async fn run(
        &self,
        handler: &LifecycleHandler,
        container: &Container,
        container_id: &str,
        pod_ip: Option<&str>,
    ) -> Result<(), String> {
        if let Some(exec) = &handler.exec {
            let request = v1::ExecSyncRequest {
                container_id: container_id.to_owned(),
                cmd: exec.command.clone().unwrap_or_default(),
                timeout: 0,
            };
            let answer = self
                .runtime
                .exec_sync(request)
                .await
                .map_err(|error| error.to_string())?;
            if answer.exit_code == 0 {
                return Ok(());
            }
            let mut output = String::from_utf8_lossy(&answer.stdout).into_owned();
            output.push_str(&String::from_utf8_lossy(&answer.stderr));
            output.truncate(output.floor_char_boundary(MAX_OUTPUT));
            return Err(format!(
                "command '{}' exited with {}: {output}",
                exec.command
                    .iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" "),
                answer.exit_code
            ));
        }
        if let Some(get) = &handler.http_get {
            let port = resolve_port(&get.port, container)?;
            let target = HttpTarget::of(get, port, pod_ip.unwrap_or_default())?;
            return match http_get(&target, Duration::from_secs(30), "kube-lifecycle/1.36").await {
                Ok(answer) if (200..400).contains(&answer.status) => Ok(()),
                Ok(answer) => Err(format!(
                    "HTTP hook failed with statuscode: {}",
                    answer.status
                )),
                Err(error) => Err(error),
            };
        }
        if let Some(sleep) = &handler.sleep {
            let now = self.clock.now();
            let until = now
                .checked_add(SignedDuration::from_secs(sleep.seconds))
                .unwrap_or(now);
            self.clock.sleep_until(until).await;
            return Ok(());
        }
        Err("invalid handler: unknown type".to_owned())
    }
}
