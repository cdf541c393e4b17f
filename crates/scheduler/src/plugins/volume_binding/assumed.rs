//! Promises that the API does not show yet: volumes for claims, and nodes for claims whose volume is to be made.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use client::{Object as _, ObjectKey};

use super::Plan;

/// Promises from Reserve to the end of PreBind. Bounded by the bindings under way.
#[derive(Debug, Default)]
pub(super) struct Assumed(Mutex<Promises>);

#[derive(Debug, Default)]
struct Promises {
    /// The claim for which a volume is meant.
    claim_of: HashMap<String, ObjectKey>,
    /// The node on which a claim's volume will be made.
    node_of: HashMap<ObjectKey, String>,
}

impl Assumed {
    fn promises(&self) -> MutexGuard<'_, Promises> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Promises what a plan says.
    pub(super) fn assume(&self, plan: &Plan) {
        let mut promises = self.promises();
        for (volume, claim) in &plan.bindings {
            promises.claim_of.insert(volume.clone(), claim.key());
        }
        for claim in &plan.provisions {
            promises.node_of.insert(claim.key(), plan.node.clone());
        }
    }

    /// Takes it back, or leaves it to the API, which shows it by now.
    pub(super) fn forget(&self, plan: &Plan) {
        let mut promises = self.promises();
        for (volume, _) in &plan.bindings {
            promises.claim_of.remove(volume);
        }
        for claim in &plan.provisions {
            promises.node_of.remove(&claim.key());
        }
    }

    /// Whether a volume is meant for another claim.
    pub(super) fn is_for_another(&self, volume: &str, claim: &ObjectKey) -> bool {
        let promises = self.promises();
        promises.claim_of.get(volume).is_some_and(|of| of != claim)
    }

    /// The node on which a claim's volume will be made.
    pub(super) fn node_of(&self, claim: &ObjectKey) -> Option<String> {
        self.promises().node_of.get(claim).cloned()
    }
}
