//! The quality of service that a pod's requests and limits amount to, and what the OOM killer makes of it.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::amount;
use crate::pod::{containers, init_containers, is_critical, spec};

/// `status.qosClass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QosClass {
    /// Limits equal requests, for CPU and memory, in each container.
    Guaranteed,
    /// Some request or limit.
    Burstable,
    /// None.
    BestEffort,
}

impl QosClass {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod. The API server has recorded it at creation; it is computed for static pods alone.
pub fn qos_class(pod: &Pod) -> QosClass {
    match pod
        .status
        .as_ref()
        .and_then(|status| status.qos_class.as_deref())
    {
        Some("Guaranteed") => QosClass::Guaranteed,
        Some("Burstable") => QosClass::Burstable,
        Some("BestEffort") => QosClass::BestEffort,
        _ => compute(pod),
    }
}

fn compute(pod: &Pod) -> QosClass {
    const SUPPORTED: [&str; 2] = ["cpu", "memory"];
    let of_pod = spec(pod).resources.as_ref();
    let all: Vec<_> = match of_pod {
        Some(resources) => vec![Some(resources)],
        None => containers(pod)
            .iter()
            .chain(init_containers(pod))
            .map(|c| c.resources.as_ref())
            .collect(),
    };
    let mut any = false;
    let mut guaranteed = true;
    for resources in all {
        for name in SUPPORTED {
            let value = |list: Option<&std::collections::BTreeMap<_, _>>| {
                list.and_then(|list| list.get(name))
                    .map(|quantity| amount(name, quantity))
                    .filter(|v| *v > 0)
            };
            let limit = value(resources.and_then(|r| r.limits.as_ref()));
            // The API server copies limits to unset requests; a static pod has not passed through it.
            let request = value(resources.and_then(|r| r.requests.as_ref())).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// `oom_score_adj` of a container: the less of the node's memory it asked for, the sooner it is killed.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: i64) -> i64 {
    const GUARANTEED: i64 = -997;
    const BEST_EFFORT: i64 = 1000;
    if is_critical(pod) {
        return GUARANTEED;
    }
    match qos_class(pod) {
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => {
            let request = container
                .resources
                .as_ref()
                .and_then(|resources| resources.requests.as_ref())
                .and_then(|requests| requests.get("memory"))
                .map_or(0, |quantity| amount("memory", quantity));
            let share = i128::from(request) * 1000 / i128::from(node_memory_bytes.max(1));
            // Never as safe as a guaranteed container, nor as exposed as a best-effort one.
            (1000 - i64::try_from(share).unwrap_or(1000)).clamp(1000 + GUARANTEED, BEST_EFFORT - 1)
        }
    }
}
