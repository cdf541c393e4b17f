//! SchedulingGates: a pod with gates does not enter the queue (KEP-3521).

use crate::{
    framework::{EventKind, Plugin, PreEnqueue, Verdict},
    pod_info::PodInfo,
};

pub(super) struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }
    fn events(&self) -> &'static [EventKind] {
        &[EventKind::PodGates]
    }
    fn pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        Some(self)
    }
}

impl PreEnqueue for SchedulingGates {
    fn pre_enqueue(&self, pod: &PodInfo) -> Verdict {
        let gates: Vec<&str> = pod
            .spec()
            .scheduling_gates
            .iter()
            .flatten()
            .map(|gate| gate.name.as_str())
            .collect();
        if gates.is_empty() {
            return Verdict::Success;
        }
        Verdict::unresolvable(format!(
            "waiting for scheduling gates: [{}]",
            gates.join(" ")
        ))
    }
}
