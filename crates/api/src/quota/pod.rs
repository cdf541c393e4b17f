//! What a pod uses: its containers together, or its greatest init container, and its overhead; nothing once it is over.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{Object, Quantity, lookup, meta};

use super::{Resources, add, resources};

/// Of these a container has to say how much it wants, if they are limited: as it was before pods could be defaulted.
const STATED: &[&str] = &[
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
const PLAIN: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const HUGE_PAGES: &str = "hugepages-";

pub(super) fn counts(name: &str) -> bool {
    if matches!(name, "pods" | "count/pods") || PLAIN.contains(&name) {
        return true;
    }
    if let Some(limit) = name.strip_prefix("limits.") {
        return PLAIN.contains(&limit);
    }
    let bare = name.strip_prefix("requests.");
    let wanted = bare.unwrap_or(name);
    wanted.starts_with(HUGE_PAGES)
        || bare.is_some_and(|bare| PLAIN.contains(&bare) || is_extended(bare))
}

/// Whether a pod as a whole can ask for it.
fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with(HUGE_PAGES)
}

/// A resource that somebody else defines: with a domain that is not Kubernetes' own.
pub fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

/// Requests and limits, by the names that quotas know them under.
fn named(requests: &Resources, limits: &Resources) -> Resources {
    let mut named = Resources::new();
    for (name, quantity) in requests {
        if PLAIN.contains(&name.as_str()) || name.starts_with(HUGE_PAGES) {
            named.insert(name.clone(), *quantity);
            named.insert(format!("requests.{name}"), *quantity);
        } else if is_extended(name) {
            named.insert(format!("requests.{name}"), *quantity);
        }
    }
    for (name, quantity) in limits {
        if PLAIN.contains(&name.as_str()) {
            named.insert(format!("limits.{name}"), *quantity);
        }
    }
    named
}

pub(super) fn constraints(limited: &[&str], pod: &Object) -> Result<(), String> {
    // A pod that says for itself what it wants says enough.
    let mut whole = ["requests", "limits"]
        .into_iter()
        .flat_map(|sort| resources(pod, &["spec", "resources", sort]).into_keys());
    if whole.any(|name| is_of_pods(&name)) {
        return Ok(());
    }
    let demanded: BTreeSet<&str> = limited
        .iter()
        .copied()
        .filter(|name| STATED.contains(name))
        .collect();
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for list in ["containers", "initContainers"] {
        for container in lookup::objects(pod, &["spec", list]) {
            let stated = named(
                &resources(container, &["resources", "requests"]),
                &resources(container, &["resources", "limits"]),
            );
            for name in demanded.iter().filter(|name| !stated.contains_key(**name)) {
                let containers = missing.entry(name).or_default();
                containers.push(lookup::text(container, &["name"]));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(name, mut containers)| {
            containers.sort_unstable();
            format!("{name} for: {}", containers.join(","))
        })
        .collect();
    Err(format!("must specify {}", parts.join("; ")))
}

pub(super) fn usage(pod: &Object) -> Resources {
    let mut usage = Resources::from([("count/pods".to_owned(), Quantity::from(1))]);
    if is_over(pod) {
        return usage;
    }
    usage.insert("pods".to_owned(), Quantity::from(1));
    let mut limits = total(pod, "limits");
    let requests = requests(pod);
    // Overhead counts against a limit only where there is one.
    let mut overhead = resources(pod, &["spec", "overhead"]);
    overhead.retain(|name, _| limits.contains_key(name));
    add(&mut limits, &overhead);
    add(&mut usage, &named(&requests, &limits));
    usage
}

/// What a pod requests of its node, its overhead with it.
pub fn requests(pod: &Object) -> Resources {
    let mut requests = total(pod, "requests");
    add(&mut requests, &resources(pod, &["spec", "overhead"]));
    requests
}

fn is_over(pod: &Object) -> bool {
    matches!(
        lookup::text(pod, &["status", "phase"]),
        "Succeeded" | "Failed"
    ) || meta::is_deleting(pod) && meta::deletion_grace_period_seconds(pod) == Some(0)
}

/// The sum over what runs at once. Init containers run one after the other, beside the sidecars that started before them.
fn total(pod: &Object, sort: &str) -> Resources {
    let mut running = Resources::new();
    for container in lookup::objects(pod, &["spec", "containers"]) {
        add(&mut running, &resources(container, &["resources", sort]));
    }
    let mut sidecars = Resources::new();
    let mut greatest = Resources::new();
    for container in lookup::objects(pod, &["spec", "initContainers"]) {
        let own = resources(container, &["resources", sort]);
        let mut at_once = sidecars.clone();
        add(&mut at_once, &own);
        if lookup::text(container, &["restartPolicy"]) == "Always" {
            add(&mut running, &own);
            sidecars = at_once.clone();
        }
        raise(&mut greatest, at_once);
    }
    raise(&mut running, greatest);
    // What is said of the pod as a whole replaces what its containers say.
    for (name, quantity) in resources(pod, &["spec", "resources", sort]) {
        running.insert(name, quantity);
    }
    running
}

fn raise(to: &mut Resources, by: Resources) {
    for (name, quantity) in by {
        if to.get(&name).is_none_or(|now| *now < quantity) {
            to.insert(name, quantity);
        }
    }
}
