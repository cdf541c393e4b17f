//! Asks a container once.

use std::{sync::Arc, time::Duration};

use cri::{Code, RuntimeService, v1};
use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{HttpTarget, grpc, http_get, tcp};

/// What is shown of an answer.
const MAX_OUTPUT: usize = 1024;

/// What one probing gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Success,
    /// Passed, with a redirect to elsewhere that users should know of.
    Warning(String),
    Failure(String),
    /// Nothing can be said: the probing itself failed.
    Unknown(String),
}

/// Probes a container.
pub(super) async fn probe(
    runtime: &Arc<dyn RuntimeService>,
    probe: &Probe,
    container: &Container,
    container_id: &str,
    pod_ip: &str,
) -> Answer {
    let seconds = u64::try_from(probe.timeout_seconds.unwrap_or(1))
        .unwrap_or(1)
        .max(1);
    let timeout = Duration::from_secs(seconds);
    if let Some(exec) = &probe.exec {
        return exec_probe(
            runtime,
            exec.command.clone().unwrap_or_default(),
            container_id,
            timeout,
        )
        .await;
    }
    if let Some(get) = &probe.http_get {
        let target =
            resolve_port(&get.port, container).and_then(|port| HttpTarget::of(get, port, pod_ip));
        let target = match target {
            Ok(target) => target,
            Err(why) => return Answer::Unknown(why),
        };
        return match http_get(&target, timeout, "kube-probe/1.36").await {
            Ok(answer) if (200..300).contains(&answer.status) => Answer::Success,
            Ok(answer) if (300..400).contains(&answer.status) => Answer::Warning(format!(
                "Probe terminated redirects, Response body: {}",
                answer.body
            )),
            Ok(answer) => Answer::Failure(format!(
                "HTTP probe failed with statuscode: {}",
                answer.status
            )),
            Err(why) => Answer::Failure(why),
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let host = socket
            .host
            .as_deref()
            .filter(|host| !host.is_empty())
            .unwrap_or(pod_ip);
        return match resolve_port(&socket.port, container) {
            Ok(port) => tcp::probe(host, port, timeout)
                .await
                .map_or_else(Answer::Failure, |()| Answer::Success),
            Err(why) => Answer::Unknown(why),
        };
    }
    if let Some(action) = &probe.grpc {
        let service = action.service.as_deref().unwrap_or_default();
        let Ok(port) = u16::try_from(action.port) else {
            return Answer::Unknown("invalid port".to_owned());
        };
        return grpc::probe(pod_ip, port, service, timeout)
            .await
            .map_or_else(Answer::Failure, |()| Answer::Success);
    }
    Answer::Unknown(format!("missing probe handler for {}", container.name))
}

async fn exec_probe(
    runtime: &Arc<dyn RuntimeService>,
    command: Vec<String>,
    container_id: &str,
    timeout: Duration,
) -> Answer {
    let request = v1::ExecSyncRequest {
        container_id: container_id.to_owned(),
        timeout: i64::try_from(timeout.as_secs()).unwrap_or(1),
        cmd: command.clone(),
    };
    match runtime.exec_sync(request).await {
        Ok(answer) if answer.exit_code == 0 => Answer::Success,
        Ok(answer) => {
            let mut output = String::from_utf8_lossy(&answer.stdout).into_owned();
            output.push_str(&String::from_utf8_lossy(&answer.stderr));
            output.truncate(output.floor_char_boundary(MAX_OUTPUT));
            Answer::Failure(output)
        }
        Err(error) if error.code() == Code::DeadlineExceeded => Answer::Failure(format!(
            "command timed out: {:?} timed out after {}s",
            command.join(" "),
            timeout.as_secs()
        )),
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

/// A port by number, or by its name in the container.
pub fn resolve_port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => container
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_deref() == Some(name.as_str()))
                .map(|port| port.container_port)
                .ok_or_else(|| format!("couldn't find port: {name} in {}", container.name))?,
        },
    };
    u16::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}
