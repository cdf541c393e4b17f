//! Policies with their bindings, in order of name; what has no binding applies nowhere. Paired anew when either changed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{super::compiled::Compiled, binding::Binding, definition::Policy};

/// A policy and its bindings.
pub(super) type Pair<B> = (Arc<Policy<B>>, Vec<Arc<Binding>>);

/// All policies of one sort, with their bindings.
pub(super) struct Pairs<B> {
    policies: Compiled<Policy<B>>,
    bindings: Compiled<Binding>,
    current: RwLock<Option<Current<B>>>,
}

struct Current<B> {
    policies: Arc<[Arc<Policy<B>>]>,
    bindings: Arc<[Arc<Binding>]>,
    pairs: Arc<[Pair<B>]>,
}

impl<B> Pairs<B> {
    pub(super) fn new(policies: Compiled<Policy<B>>, bindings: Compiled<Binding>) -> Self {
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
    pub(super) fn get(&self) -> Arc<[Pair<B>]> {
        let (policies, bindings) = (self.policies.get(), self.bindings.get());
        let is_same = |current: &Current<B>| {
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
        let pairs: Arc<[Pair<B>]> = policies
            .iter()
            .filter_map(|policy| {
                Some((Arc::clone(policy), of_policy.remove(policy.name.as_str())?))
            })
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
