//! Nodes on which preemption would help, and which of them it costs least.

use std::{cmp::Reverse, sync::Arc};

use crate::pod_info::PodInfo;

/// A node, and who would have to go from it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) node: String,
    /// The most important first; never none.
    pub(super) victims: Vec<Arc<PodInfo>>,
    /// How many of them a disruption budget protects.
    pub(super) violations: usize,
}

/// The best of them, in this order: the fewest budgets violated, the least important highest victim, the lowest sum of priorities, the
/// fewest victims, the highest victims that started last, who was found first.
pub(super) fn best(candidates: &mut Vec<Candidate>) -> Option<Candidate> {
    let (index, _) = candidates
        .iter()
        .enumerate()
        .min_by_key(|(_, candidate)| candidate.cost())?;
    Some(candidates.swap_remove(index))
}

impl Candidate {
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<jiff::Timestamp>) {
        let highest = self.victims.first().map_or(i32::MIN, |pod| pod.priority);
        // Shifted so that none is negative: more victims of a negative priority must not look cheaper than fewer.
        let shifted = |pod: &Arc<PodInfo>| i64::from(pod.priority) + i64::from(i32::MAX) + 1;
        let started = |pod: &Arc<PodInfo>| {
            let time = pod.pod.status.as_ref()?.start_time.as_ref()?;
            Some(time.0)
        };
        let earliest = self
            .victims
            .iter()
            .filter(|pod| pod.priority == highest)
            .map(|pod| started(pod).unwrap_or(jiff::Timestamp::MAX))
            .min();
        (
            self.violations,
            highest,
            self.victims.iter().map(shifted).sum(),
            self.victims.len(),
            Reverse(earliest.unwrap_or(jiff::Timestamp::MIN)),
        )
    }
}
