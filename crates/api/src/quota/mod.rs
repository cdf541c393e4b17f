//! ResourceQuota: what objects use, and which quotas count them (`pkg/quota/v1/evaluator`).
//!
//! Admission asks before an object comes into being, the controller sums up what there is: both by the same [`Evaluator`], which reads and
//! writes nothing.

mod evaluator;
mod pod;
mod resource_claim;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use apimachinery::{Object, Quantity, lookup};

pub use evaluator::Evaluator;
pub use pod::{is_extended as is_extended_resource, requests as pod_requests};
pub use scope::{is_terminating, matches, matches_scope, scopes_of};

use crate::fields::quantity;

/// Quantities by resource name.
pub type Resources = BTreeMap<String, Quantity>;

/// The quantities in the map at `path`.
pub fn resources(object: &Object, path: &[&str]) -> Resources {
    let entries = lookup::map(object, path).into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), quantity(value)?)))
        .collect()
}

/// Adds, name by name.
pub fn add(to: &mut Resources, from: &Resources) {
    for (name, quantity) in from {
        match to.get_mut(name) {
            Some(sum) => *sum += *quantity,
            None => {
                to.insert(name.clone(), *quantity);
            }
        }
    }
}

/// What of `names` the objects use together, as far as the quota counts them. What nobody uses is there as zero.
pub fn total<'a>(
    quota: &Object,
    evaluator: &Evaluator,
    names: &[&str],
    objects: impl IntoIterator<Item = &'a Object>,
) -> Resources {
    let mut sum: Resources = names
        .iter()
        .map(|name| ((*name).to_owned(), Quantity::ZERO))
        .collect();
    for object in objects {
        if matches(quota, evaluator, object) {
            let mut usage = evaluator.usage(object);
            usage.retain(|name, _| sum.contains_key(name));
            add(&mut sum, &usage);
        }
    }
    sum
}
