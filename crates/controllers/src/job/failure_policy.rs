//! `spec.podFailurePolicy`: what the failure of a pod means, by the exit codes of its containers or its conditions (KEP-3329).

use client::Object as _;
use k8s_openapi::api::{
    batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule},
    core::v1::{ContainerStatus, Pod},
};

/// What follows from a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limits.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed, whatever the limit.
    FailIndex,
    /// The Job has failed, for this reason.
    FailJob(String),
}

impl Verdict {
    /// Whether the failure counts.
    pub(super) fn counts(&self) -> bool {
        *self != Self::Ignore
    }
}

/// Judges a failed pod: the first rule that matches decides.
pub(super) fn judge(spec: &JobSpec, pod: &Pod) -> Verdict {
    let rules = spec
        .pod_failure_policy
        .iter()
        .flat_map(|policy| &policy.rules);
    for (position, rule) in rules.enumerate() {
        let Some(reason) = matches(rule, pod) else {
            continue;
        };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "Count" => Verdict::Count,
            "FailJob" => Verdict::FailJob(format!(
                "{reason} matching {} rule at index {position}",
                rule.action
            )),
            // Of a later version: as if the rule were not there.
            _ => continue,
        };
    }
    Verdict::Count
}

/// How a rule matches a pod, in words.
fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let (namespace, name) = (pod.namespace(), pod.name());
    if let Some(requirement) = &rule.on_exit_codes {
        let containers = status.container_statuses.iter().flatten();
        let all = containers.chain(status.init_container_statuses.iter().flatten());
        return all.into_iter().find_map(|container| {
            let code = exit_code(container, requirement)?;
            let container = &container.name;
            Some(format!(
                "Container {container} for pod {namespace}/{name} failed with exit code {code}"
            ))
        });
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| {
        patterns.iter().any(|pattern| {
            pattern.type_ == condition.type_
                && pattern.status.as_deref().unwrap_or("True") == condition.status
        })
    })?;
    Some(format!(
        "Pod {namespace}/{name} has condition {}",
        found.type_
    ))
}

/// The exit code of a container that failed with one that is meant.
fn exit_code(
    container: &ContainerStatus,
    requirement: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<i32> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let named = requirement.container_name.as_deref();
    if code == 0 || named.is_some_and(|name| name != container.name) {
        return None;
    }
    let listed = requirement.values.contains(&code);
    match requirement.operator.as_str() {
        "In" if listed => Some(code),
        "NotIn" if !listed => Some(code),
        _ => None,
    }
}
