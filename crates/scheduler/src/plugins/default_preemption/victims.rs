//! Who has to go from a node so that a pod fits: as few as possible, and rather those whose disruption budgets allow it.
//!
//! All pods of lower priority are taken off a copy of the node; if the pod fits then, they are put back one by one, the most important
//! first, those protected by a budget before all others, and whoever does not fit beside the pod any more is a victim.

use std::{cmp::Ordering, sync::Arc};

use client::{selects, selects_everything};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::{candidate::Candidate, is_preemptible};
use crate::{
    framework::{CycleState, PostFilterInput, Rejection},
    node_info::NodeInfo,
    pod_info::PodInfo,
};

/// The victims on `node`, or why preemption does not help there.
pub(super) fn on_node(
    input: &PostFilterInput<'_>,
    node: &NodeInfo,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Result<Candidate, Rejection> {
    let mut potential: Vec<Arc<PodInfo>> = node
        .pods
        .values()
        .filter(|other| is_preemptible(other, input.pod))
        .cloned()
        .collect();
    if potential.is_empty() {
        let reason = "No preemption victims found for incoming pod";
        return Err(Rejection::new(false, [reason]));
    }
    let mut trial = Trial {
        input,
        state: input.state.clone(),
        node: node.clone(),
    };
    for victim in &potential {
        trial.remove(victim);
    }
    trial.fits()?;
    potential.sort_by(by_importance);
    let (protected, unprotected) = split_by_budgets(potential, budgets);
    let mut victims: Vec<Arc<PodInfo>> = Vec::new();
    victims.extend(protected.into_iter().filter(|pod| !trial.reprieve(pod)));
    let violations = victims.len();
    victims.extend(unprotected.into_iter().filter(|pod| !trial.reprieve(pod)));
    victims.sort_by(by_importance);
    if victims.is_empty() {
        let reason = format!("expected at least one victim pod on node {:?}", node.name);
        return Err(Rejection::new(true, [reason]));
    }
    Ok(Candidate {
        node: node.name.clone(),
        victims,
        violations,
    })
}

/// A copy of a node on which pods come and go.
struct Trial<'a> {
    input: &'a PostFilterInput<'a>,
    state: CycleState,
    node: NodeInfo,
}

impl Trial<'_> {
    fn remove(&mut self, victim: &Arc<PodInfo>) {
        self.node.remove_pod(&victim.uid);
        let (profile, pod) = (self.input.profile, self.input.pod);
        profile.remove_pod(&mut self.state, pod, victim, &self.node);
    }

    fn add(&mut self, victim: &Arc<PodInfo>) {
        self.node.add_pod(Arc::clone(victim));
        let (profile, pod) = (self.input.profile, self.input.pod);
        profile.add_pod(&mut self.state, pod, victim, &self.node);
    }

    fn fits(&self) -> Result<(), Rejection> {
        self.input.profile.filter_with_nominated(
            &self.state,
            self.input.pod,
            &self.node,
            self.input.nodes,
        )
    }

    /// Puts a pod back if there is room for it beside the incoming one.
    fn reprieve(&mut self, victim: &Arc<PodInfo>) -> bool {
        self.add(victim);
        let fits = self.fits().is_ok();
        if !fits {
            self.remove(victim);
        }
        fits
    }
}

/// The higher priority first, then who has been running longer.
fn by_importance(a: &Arc<PodInfo>, b: &Arc<PodInfo>) -> Ordering {
    let start = |pod: &PodInfo| {
        let status = pod.pod.status.as_ref();
        let started = status.and_then(|s| s.start_time.as_ref()).map(|t| t.0);
        // Who has not started yet would start now: after all others.
        started.unwrap_or(jiff::Timestamp::MAX)
    };
    b.priority
        .cmp(&a.priority)
        .then_with(|| start(a).cmp(&start(b)))
}

/// Those whose eviction a budget does not allow, and the others, each in their order.
fn split_by_budgets(
    pods: Vec<Arc<PodInfo>>,
    budgets: &[Arc<PodDisruptionBudget>],
) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut allowed: Vec<i32> = budgets
        .iter()
        .map(|budget| {
            let status = budget.status.as_ref();
            status.and_then(|s| s.disruptions_allowed).unwrap_or(0)
        })
        .collect();
    pods.into_iter().partition(|pod| {
        let mut violates = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            if covers(budget, pod) {
                *allowed -= 1;
                violates |= *allowed < 0;
            }
        }
        violates
    })
}

/// Whether the budget counts this pod. One that the API server has already let go is counted no more.
fn covers(budget: &PodDisruptionBudget, pod: &PodInfo) -> bool {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    let disrupted = budget
        .status
        .as_ref()
        .and_then(|s| s.disrupted_pods.as_ref());
    !pod.labels().is_empty()
        && budget.metadata.namespace.as_deref() == Some(&pod.namespace)
        && selector.is_some_and(|s| !selects_everything(s) && selects(s, pod.labels()))
        && disrupted.is_none_or(|pods| !pods.contains_key(&pod.name))
}
