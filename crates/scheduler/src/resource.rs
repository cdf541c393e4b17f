//! Amounts of compute resources, as the scheduler counts them: CPU in thousandths of a core, memory and ephemeral storage in
//! bytes, everything else in whole units.

use std::collections::BTreeMap;

use apimachinery::quantity::Quantity as Amount;
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodStatus},
    apimachinery::pkg::api::resource::Quantity,
};

/// What scoring assumes of a container that asks for no CPU (upstream's `DefaultMilliCPURequest`).
const DEFAULT_MILLI_CPU: i64 = 100;
/// What scoring assumes of a container that asks for no memory: 200 MB.
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// A vector of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) milli_cpu: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) ephemeral_storage_bytes: i64,
    /// Extended resources and huge pages, by name.
    pub(crate) scalar: BTreeMap<String, i64>,
}

type QuantityMap = BTreeMap<String, Quantity>;

impl Resources {
    /// From a resource list. Malformed amounts cannot have passed validation and count as nothing.
    pub(crate) fn from_list(list: &QuantityMap) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list {
            if name != "pods" {
                *resources.entry(name) = amount(name, quantity);
            }
        }
        resources
    }

    /// The place of a resource.
    fn entry(&mut self, name: &str) -> &mut i64 {
        match name {
            "cpu" => &mut self.milli_cpu,
            "memory" => &mut self.memory_bytes,
            "ephemeral-storage" => &mut self.ephemeral_storage_bytes,
            other => self.scalar.entry(other.to_owned()).or_default(),
        }
    }

    /// Adds, resource by resource.
    pub(crate) fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes away, resource by resource.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises each resource to at least what `other` has.
    pub(crate) fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    /// Whether there is less of anything than in `other`.
    pub(crate) fn is_anywhere_below(&self, other: &Self) -> bool {
        self.milli_cpu < other.milli_cpu
            || self.memory_bytes < other.memory_bytes
            || self.ephemeral_storage_bytes < other.ephemeral_storage_bytes
            || other
                .scalar
                .iter()
                .any(|(name, &amount)| self.scalar.get(name).copied().unwrap_or(0) < amount)
    }

    /// How much there is of a resource.
    pub(crate) fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.milli_cpu,
            "memory" => self.memory_bytes,
            "ephemeral-storage" => self.ephemeral_storage_bytes,
            other => self.scalar.get(other).copied().unwrap_or(0),
        }
    }

    fn combine(&mut self, other: &Self, operation: fn(i64, i64) -> i64) {
        self.milli_cpu = operation(self.milli_cpu, other.milli_cpu);
        self.memory_bytes = operation(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes =
            operation(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        for (name, &value) in &other.scalar {
            let own = self.scalar.entry(name.clone()).or_default();
            *own = operation(*own, value);
        }
    }
}

/// One amount in the unit of its resource, rounded up.
pub(crate) fn amount(name: &str, quantity: &Quantity) -> i64 {
    let Ok(parsed) = quantity.0.parse::<Amount>() else {
        return 0;
    };
    if name == "cpu" {
        parsed.milli_value()
    } else {
        parsed.value()
    }
}

/// What a pod asks for: the sum of its containers and sidecars, or what its init containers need at their peak, whichever is more,
/// plus its overhead (KEP-753); resources asked for the whole pod win over the sum (KEP-2837). While a pod is resized in place, the
/// most of what it asks for, was allotted and has counts (KEP-1287).
pub(crate) fn pod_requests(pod: &Pod) -> Resources {
    requests_with(pod, Resources::from_list)
}

/// The same for scoring: containers that ask for nothing count a little, so that they spread.
pub(crate) fn pod_requests_for_scoring(pod: &Pod) -> Resources {
    requests_with(pod, |list| {
        let mut resources = Resources::from_list(list);
        if !list.contains_key("cpu") {
            resources.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !list.contains_key("memory") {
            resources.memory_bytes = DEFAULT_MEMORY_BYTES;
        }
        resources
    })
}

/// What the kubelet says of a container's resources: what it was allotted, and what it has.
fn in_force<'a>(status: Option<&'a PodStatus>, container: &str) -> Vec<&'a QuantityMap> {
    let Some(status) = status else {
        return Vec::new();
    };
    let statuses = status.container_statuses.iter().flatten();
    let Some(own) = statuses
        .chain(status.init_container_statuses.iter().flatten())
        .find(|own| own.name == container)
    else {
        return Vec::new();
    };
    let actual = own.resources.as_ref().and_then(|r| r.requests.as_ref());
    own.allocated_resources
        .as_ref()
        .into_iter()
        .chain(actual)
        .collect()
}

/// Whether the kubelet has refused a resize for good: what the pod asks for is not what it will get.
fn is_resize_infeasible(status: Option<&PodStatus>) -> bool {
    status
        .and_then(|s| s.conditions.as_ref())
        .into_iter()
        .flatten()
        .any(|condition| {
            condition.type_ == "PodResizePending"
                && condition.reason.as_deref() == Some("Infeasible")
        })
}

fn requests_with(pod: &Pod, of_list: impl Fn(&QuantityMap) -> Resources) -> Resources {
    let Some(spec) = &pod.spec else {
        return Resources::default();
    };
    let status = pod.status.as_ref();
    let infeasible = is_resize_infeasible(status);
    let empty = QuantityMap::new();
    let of_container = |container: &Container| {
        let list = container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref());
        let in_force = in_force(status, &container.name);
        let mut requests = if infeasible && !in_force.is_empty() {
            Resources::default()
        } else {
            of_list(list.unwrap_or(&empty))
        };
        for list in in_force {
            requests.raise_to(&of_list(list));
        }
        requests
    };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&of_container(container));
    }
    // Sidecars started so far run on while later init containers run.
    let mut sidecars = Resources::default();
    let mut init_peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let own = of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&own);
            init_peak.raise_to(&sidecars);
        } else {
            let mut at_this_point = sidecars.clone();
            at_this_point.add(&own);
            init_peak.raise_to(&at_this_point);
        }
    }
    total.add(&sidecars);
    total.raise_to(&init_peak);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        for (name, quantity) in pod_level {
            *total.entry(name) = amount(name, quantity);
        }
    }
    if let Some(overhead) = &spec.overhead {
        total.add(&Resources::from_list(overhead));
    }
    total
}
