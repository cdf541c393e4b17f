//! `spec.backoffLimitPerIndex`: each index of a Job fails for itself (KEP-3850).
//!
//! How often an index has failed is written on its newest pod. So the last failed pod of an index stays (keeps its finalizer, is not counted)
//! until the pod that replaces it, and carries its counts on, is there.

use std::{collections::BTreeMap, sync::Arc};

use client::Object as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{JobSpec, JobStatus},
    core::v1::Pod,
};

use super::{
    census::{Census, finished_at, has_finalizer, index_of},
    failure_policy::{Verdict, judge},
    indexes::{self, Indexes},
};

/// The annotation with how often the index failed before this pod.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// The annotation with how often it failed without that it counted.
pub(super) const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// How often an index has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) counted: u32,
    pub(super) ignored: u32,
}

impl Failures {
    /// What a pod says; what cannot be read is none.
    fn written_on(pod: &Pod) -> Self {
        let read = |name| {
            let value = pod
                .annotation(name)
                .and_then(|value| value.parse::<i32>().ok());
            value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or_default()
        };
        Self {
            counted: read(FAILURES),
            ignored: read(IGNORED_FAILURES),
        }
    }

    /// With the failure of the pod itself.
    pub(super) fn after(spec: &JobSpec, pod: &Pod) -> Self {
        let mut failures = Self::written_on(pod);
        if judge(spec, pod).counts() {
            failures.counted = failures.counted.saturating_add(1);
        } else {
            failures.ignored = failures.ignored.saturating_add(1);
        }
        failures
    }

    /// All of them.
    pub(super) fn total(self) -> u32 {
        self.counted.saturating_add(self.ignored)
    }
}

/// The indexes that have failed: those noted, and those of failed pods that are not counted yet.
pub(super) fn failed_indexes(
    spec: &JobSpec,
    status: &JobStatus,
    census: &Census<'_>,
    limit: i32,
) -> Indexes {
    let noted = status.failed_indexes.as_deref().unwrap_or_default();
    let mut failed = indexes::parse(noted, spec.completions.unwrap_or_default());
    let limit = u32::try_from(limit).unwrap_or_default();
    let newly = census.failed.iter().filter(|pod| has_finalizer(pod));
    failed.extend(newly.filter_map(|pod| {
        let is_failed = match judge(spec, pod) {
            Verdict::FailIndex => true,
            verdict => verdict.counts() && Failures::written_on(pod).counted >= limit,
        };
        index_of(spec, pod).filter(|_| is_failed)
    }));
    failed
}

/// The last failed pod of each index that is to be run again and is not yet.
pub(super) fn awaiting_replacement<'a>(
    spec: &JobSpec,
    census: &Census<'a>,
    settled: &Indexes,
) -> BTreeMap<i32, &'a Arc<Pod>> {
    let running: Indexes = census
        .active
        .iter()
        .filter_map(|pod| index_of(spec, pod))
        .collect();
    let mut waiting: BTreeMap<i32, &'a Arc<Pod>> = BTreeMap::new();
    let rank = |pod: &Pod| -> (u32, Option<Timestamp>) {
        (Failures::written_on(pod).total(), finished_at(pod))
    };
    for &pod in census.failed.iter().filter(|pod| has_finalizer(pod)) {
        let Some(index) = index_of(spec, pod) else {
            continue;
        };
        if settled.contains(&index) || running.contains(&index) {
            continue;
        }
        let last = waiting.entry(index).or_insert(pod);
        if rank(last) <= rank(pod) {
            *last = pod;
        }
    }
    waiting
}
