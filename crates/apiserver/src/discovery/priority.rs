//! In which order groups and versions are listed: clients take the first that has what they look for.
//!
//! By the priorities that APIServices state: those of the built-in groups are upstream's, custom resources come after them, other servers where
//! they say. `apiregistration.k8s.io` is first of all, for nobody else may come before the way by which they come.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::ServedResource;
use apimachinery::version_order;

use crate::{
    aggregation::{self, RemoteVersion},
    bootstrap,
};

/// Groups and their versions, the preferred ones first.
pub(super) fn versions_by_group<'a>(
    rows: &'a [Arc<ServedResource>],
    remote: &'a [RemoteVersion],
) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut priorities: HashMap<(&str, &str), Priority> = HashMap::new();
    for row in rows {
        let version = (&*row.gvr.group, &*row.gvr.version);
        priorities
            .entry(version)
            .or_insert_with(|| Priority::of(row));
    }
    for version in remote {
        let priority = Priority {
            group: version.group_priority,
            version: version.version_priority,
        };
        priorities.insert((&*version.group, &*version.version), priority);
    }
    let mut groups: BTreeMap<&str, Vec<(&str, Priority)>> = BTreeMap::new();
    for ((group, version), priority) in priorities {
        groups.entry(group).or_default().push((version, priority));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // Stable: groups of the same priority stay in the order of their names.
    groups.sort_by_key(|(_, versions)| Reverse(versions.iter().map(|(_, p)| p.group).max()));
    let sorted = groups.into_iter().map(|(group, mut versions)| {
        versions.sort_by(|(a, of_a), (b, of_b)| {
            let order = of_b.version.cmp(&of_a.version);
            order.then_with(|| version_order::compare(a, b))
        });
        let versions = versions.into_iter().map(|(version, _)| version);
        (group, versions.collect())
    });
    sorted.collect()
}

/// Highest first.
#[derive(Clone, Copy)]
struct Priority {
    group: i64,
    version: i64,
}

impl Priority {
    fn of(row: &ServedResource) -> Self {
        let (group, version) = if row.is_custom() {
            (
                aggregation::CUSTOM_GROUP_PRIORITY,
                aggregation::CUSTOM_VERSION_PRIORITY,
            )
        } else {
            bootstrap::api_service_priority(&row.gvr.group, &row.gvr.version)
                .unwrap_or((i64::MAX, 0))
        };
        Self { group, version }
    }
}
