//! `spec.successPolicy`: when an indexed Job has succeeded before all of its indexes have (KEP-3998).

use k8s_openapi::api::batch::v1::JobSpec;

use super::indexes::{self, Indexes};

/// Which rule the succeeded indexes meet, in words.
pub(super) fn met(spec: &JobSpec, succeeded: &Indexes) -> Option<String> {
    if succeeded.is_empty() {
        return None;
    }
    let count_of = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let completions = spec.completions.unwrap_or_default();
    let rules = &spec.success_policy.as_ref()?.rules;
    let position = rules
        .iter()
        .position(|rule| match &rule.succeeded_indexes {
            Some(text) => {
                let required = indexes::parse(text, completions);
                let reached = required.intersection(succeeded).count();
                !required.is_empty()
                    && (reached == required.len()
                        || rule
                            .succeeded_count
                            .is_some_and(|count| count_of(reached) >= count))
            }
            None => rule
                .succeeded_count
                .is_some_and(|count| count_of(succeeded.len()) >= count),
        })?;
    Some(format!("Matched rules at index {position}"))
}
