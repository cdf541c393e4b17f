//! Whether a container that ended is started again: the pod's policy, the container's own, and its rules on exit codes (KEP-5307).

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    observed::{ContainerState, ObservedContainer},
    pod::restart_policy,
};

/// Whether a container of the pod that ended with `exit_code` is to run again.
pub fn restarts_after_exit(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else {
            continue;
        };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        let matches = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matches {
            return rule.action == "Restart";
        }
    }
    match container
        .restart_policy
        .as_deref()
        .unwrap_or(restart_policy(pod))
    {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// Whether a regular container is to be started, given its newest run. A pod that is being deleted starts nothing.
pub(super) fn should_start(
    pod: &Pod,
    container: &Container,
    newest: Option<&ObservedContainer>,
) -> bool {
    if pod.metadata.deletion_timestamp.is_some() {
        return false;
    }
    match newest {
        None => true,
        Some(run) => match run.state {
            ContainerState::Running => false,
            ContainerState::Unknown | ContainerState::Created => true,
            ContainerState::Exited => restarts_after_exit(pod, container, run.exit_code),
        },
    }
}

/// Whether no container of the pod can ever run again under its policies.
pub(super) fn never_restarts(pod: &Pod, container: &Container) -> bool {
    container
        .restart_policy
        .as_deref()
        .unwrap_or(restart_policy(pod))
        == "Never"
        && container
            .restart_policy_rules
            .as_ref()
            .is_none_or(Vec::is_empty)
}
