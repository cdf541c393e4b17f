//! Policies with their bindings, in order of name; what has no binding applies nowhere. Paired anew when either changed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{super::compiled::Compiled, binding::Binding};

/// What a policy is called.
pub(super) trait Named {
    fn name(&self) -> &str;
}

/// A policy and its bindings.
pub(super) type Pair<P> = (Arc<P>, Vec<Arc<Binding>>);

/// All policies of one sort, with their bindings.
pub(super) struct Pairs<P> {
    policies: Compiled<P>,
    bindings: Compiled<Binding>,
    current: RwLock<Option<Current<P>>>,
}

struct Current<P> {
    policies: Arc<[Arc<P>]>,
    bindings: Arc<[Arc<Binding>]>,
    pairs: Arc<[Pair<P>]>,
}

impl<P: Named> Pairs<P> {
    pub(super) fn new(policies: Compiled<P>, bindings: Compiled<Binding>) -> Self {
        Self {
            policies,
            bindings,
            current: RwLock::new(None),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.policies.is_ready() && self.bindings.is_ready()
    }

    /// As of now.
    pub(super) fn get(&self) -> Arc<[Pair<P>]> {
        let (policies, bindings) = (self.policies.get(), self.bindings.get());
        let is_same = |current: &Current<P>| {
            Arc::ptr_eq(&current.policies, &policies) && Arc::ptr_eq(&current.bindings, &bindings)
        };
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(current) = current.as_ref().filter(|current| is_same(current)) {
                return Arc::clone(&current.pairs);
            }
        }
        let mut of_policy: HashMap<&str, Vec<Arc<Binding>>> = HashMap::new();
        for binding in bindings.iter() {
            let list = of_policy.entry(&binding.policy).or_default();
            list.push(Arc::clone(binding));
        }
        let pairs: Arc<[Pair<P>]> = policies
            .iter()
            .filter_map(|policy| Some((Arc::clone(policy), of_policy.remove(policy.name())?)))
            .collect();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Current {
            policies: Arc::clone(&policies),
            bindings: Arc::clone(&bindings),
            pairs: Arc::clone(&pairs),
        });
        pairs
    }
}
