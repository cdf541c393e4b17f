//! What objects use. Pods, Services, PersistentVolumeClaims and ResourceClaims are measured; of everything else the number counts.

use apimachinery::{Object, Quantity, gvk::GroupResource, lookup, meta};

use super::{Resources, pod, resource_claim};
use crate::fields::quantity;

/// Counted under their bare names as well, for these were counted before `count/…` was.
const ALIASES: &[&str] = &[
    "configmaps",
    "resourcequotas",
    "replicationcontrollers",
    "secrets",
];
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";

/// How objects of a resource are measured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Evaluator {
    /// What their containers want; only while they run.
    Pods,
    /// Node ports and load balancers.
    Services,
    /// Storage, also by class.
    Claims,
    /// Devices, by class.
    ResourceClaims,
    /// Anything else.
    Count(GroupResource),
}

fn count_name(resource: &GroupResource) -> String {
    if resource.group.is_empty() {
        format!("count/{}", resource.resource)
    } else {
        format!("count/{}.{}", resource.resource, resource.group)
    }
}

impl Evaluator {
    /// How objects of a resource are measured; events come and go by themselves.
    pub fn of(resource: &GroupResource) -> Option<Self> {
        match (&*resource.group, &*resource.resource) {
            ("" | "events.k8s.io", "events") => None,
            ("", "pods") => Some(Self::Pods),
            ("", "services") => Some(Self::Services),
            ("", "persistentvolumeclaims") => Some(Self::Claims),
            ("resource.k8s.io", "resourceclaims") => Some(Self::ResourceClaims),
            _ => Some(Self::Count(resource.clone())),
        }
    }

    /// What measures the resource that a quota names so, served or not.
    pub fn counting(name: &str) -> Option<Self> {
        if let Some(counted) = name.strip_prefix("count/") {
            let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
            return Self::of(&GroupResource {
                group: group.to_owned().into(),
                resource: resource.to_owned().into(),
            });
        }
        if let Some(alias) = ALIASES.iter().find(|alias| **alias == name) {
            return Some(Self::Count(GroupResource::new("", alias)));
        }
        [
            Self::Pods,
            Self::Services,
            Self::Claims,
            Self::ResourceClaims,
        ]
        .into_iter()
        .find(|evaluator| evaluator.counts(name))
    }

    /// Whether it knows how much of this an object uses.
    pub fn counts(&self, name: &str) -> bool {
        match self {
            Self::Pods => pod::counts(name),
            Self::Services => matches!(
                name,
                "count/services" | "services" | "services.nodeports" | "services.loadbalancers"
            ),
            Self::Claims => {
                matches!(
                    name,
                    "count/persistentvolumeclaims" | "persistentvolumeclaims" | "requests.storage"
                ) || name.ends_with(&format!("{STORAGE_CLASS}requests.storage"))
                    || name.ends_with(&format!("{STORAGE_CLASS}persistentvolumeclaims"))
            }
            Self::ResourceClaims => resource_claim::counts(name),
            Self::Count(resource) => {
                let alias = resource.group.is_empty()
                    && ALIASES.contains(&resource.resource.as_ref())
                    && resource.resource == name;
                alias || count_name(resource) == name
            }
        }
    }

    /// What an object must say if these are limited.
    pub fn constraints(&self, limited: &[&str], object: &Object) -> Result<(), String> {
        match self {
            Self::Pods => pod::constraints(limited, object),
            _ => Ok(()),
        }
    }

    /// What an object uses.
    pub fn usage(&self, object: &Object) -> Resources {
        match self {
            Self::Pods => pod::usage(object),
            Self::Services => service_usage(object),
            Self::Claims => claim_usage(object),
            Self::ResourceClaims => resource_claim::usage(object),
            Self::Count(resource) => {
                let mut usage = numbers([(count_name(resource), 1)]);
                if resource.group.is_empty() && ALIASES.contains(&resource.resource.as_ref()) {
                    usage.insert(resource.resource.to_string(), Quantity::from(1));
                }
                usage
            }
        }
    }
}

fn numbers<N: Into<String>>(entries: impl IntoIterator<Item = (N, i64)>) -> Resources {
    let entries = entries.into_iter();
    entries
        .map(|(name, number)| (name.into(), Quantity::from(number)))
        .collect()
}

fn service_usage(service: &Object) -> Resources {
    let ports = lookup::list(service, &["spec", "ports"]);
    let all = i64::try_from(ports.len()).unwrap_or(i64::MAX);
    let allocated = lookup::objects(service, &["spec", "ports"])
        .filter(|port| lookup::number(port, &["nodePort"]).is_some_and(|port| port != 0))
        .count();
    let allocates = lookup::flag(service, &["spec", "allocateLoadBalancerNodePorts"]);
    let (node_ports, balancers) = match lookup::text(service, &["spec", "type"]) {
        "NodePort" => (all, 0),
        "LoadBalancer" if allocates == Some(false) => {
            (i64::try_from(allocated).unwrap_or(i64::MAX), 1)
        }
        "LoadBalancer" => (all, 1),
        _ => (0, 0),
    };
    numbers([
        ("count/services", 1),
        ("services", 1),
        ("services.nodeports", node_ports),
        ("services.loadbalancers", balancers),
    ])
}

fn claim_usage(claim: &Object) -> Resources {
    let mut usage = numbers([
        ("count/persistentvolumeclaims", 1),
        ("persistentvolumeclaims", 1),
    ]);
    let class = meta::annotations(claim)
        .and_then(|annotations| annotations.get("volume.beta.kubernetes.io/storage-class"))
        .and_then(serde_json::Value::as_str)
        .unwrap_or_else(|| lookup::text(claim, &["spec", "storageClassName"]));
    if !class.is_empty() {
        let name = format!("{class}{STORAGE_CLASS}persistentvolumeclaims");
        usage.insert(name, Quantity::from(1));
    }
    let wanted = lookup::value(claim, &["spec", "resources", "requests", "storage"]);
    let Some(mut storage) = wanted.and_then(quantity) else {
        return usage;
    };
    // While a claim grows, what was allocated already counts, and while it shrinks, too.
    let allocated = lookup::value(claim, &["status", "allocatedResources", "storage"]);
    if let Some(allocated) = allocated.and_then(quantity)
        && allocated > storage
    {
        storage = allocated;
    }
    if !class.is_empty() {
        let name = format!("{class}{STORAGE_CLASS}requests.storage");
        usage.insert(name, storage);
    }
    usage.insert("requests.storage".to_owned(), storage);
    usage
}
