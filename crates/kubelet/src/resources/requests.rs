//! What a whole pod asks for.

use std::collections::BTreeMap;

use apimachinery::quantity::{Format, Quantity as Amount};
use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::amount;
use crate::pod::{containers, init_containers, is_sidecar, spec};

/// Amounts by resource: thousandths of a CPU, bytes, pieces.
pub type Requests = BTreeMap<String, i64>;

/// What a pod asks for: the sum of its containers and sidecars, or its init containers' peak, whichever is more, plus overhead
/// (KEP-753); requests of the whole pod win (KEP-2837).
pub fn pod_requests(pod: &Pod) -> Requests {
    aggregate(
        pod,
        |container| container.resources.as_ref()?.requests.as_ref(),
        true,
    )
}

/// What a pod asks for and is limited to as a whole, as its status tells it.
pub fn effective_resources(pod: &Pod) -> ResourceRequirements {
    let of_pod = spec(pod).resources.as_ref();
    let all = || {
        let each = containers(pod).iter().chain(init_containers(pod));
        of_pod
            .into_iter()
            .chain(each.filter_map(|container| container.resources.as_ref()))
    };
    // A sum is written as its first part is: `Mi` or `M`.
    let format = |name: &str| {
        all()
            .flat_map(|resources| [resources.requests.as_ref(), resources.limits.as_ref()])
            .flatten()
            .find_map(|list| list.get(name)?.0.parse::<Amount>().ok())
            .map_or(Format::DecimalSi, |amount| amount.format())
    };
    let written = |list: Requests| {
        let quantity = |name: &str, value: i64| match name {
            "cpu" => Amount::from_milli(value),
            _ => Amount::new(value, format(name)),
        };
        let list: BTreeMap<_, _> = list
            .into_iter()
            .map(|(name, value)| {
                let quantity = Quantity(quantity(&name, value).to_string());
                (name, quantity)
            })
            .collect();
        Some(list).filter(|list| !list.is_empty())
    };
    ResourceRequirements {
        requests: written(pod_requests(pod)),
        limits: written(pod_limits(pod)),
        claims: of_pod.and_then(|resources| resources.claims.clone()),
    }
}

/// The limits that hold for the whole pod. A resource is there only if every container limits it.
pub(super) fn pod_limits(pod: &Pod) -> Requests {
    let limits =
        |container: &'_ Container| container.resources.as_ref().and_then(|r| r.limits.clone());
    let mut total = aggregate(
        pod,
        |container| container.resources.as_ref()?.limits.as_ref(),
        false,
    );
    let of_pod = spec(pod)
        .resources
        .as_ref()
        .and_then(|r| r.limits.clone())
        .unwrap_or_default();
    total.retain(|name, _| {
        of_pod.contains_key(name)
            || containers(pod)
                .iter()
                .chain(init_containers(pod).iter().filter(|c| is_sidecar(c)))
                .all(|container| limits(container).is_some_and(|limits| limits.contains_key(name)))
    });
    total
}

fn aggregate<'a>(
    pod: &'a Pod,
    list: impl Fn(&'a Container) -> Option<&'a BTreeMap<String, Quantity>>,
    requests: bool,
) -> Requests {
    let of = |container| -> Requests {
        list(container)
            .into_iter()
            .flatten()
            .map(|(name, q)| (name.clone(), amount(name, q)))
            .collect()
    };
    let add = |total: &mut Requests, more: &Requests| {
        for (name, value) in more {
            *total.entry(name.clone()).or_default() += value;
        }
    };
    let max = |total: &mut Requests, other: &Requests| {
        for (name, value) in other {
            let own = total.entry(name.clone()).or_default();
            *own = (*own).max(*value);
        }
    };
    let mut total = Requests::new();
    for container in containers(pod) {
        add(&mut total, &of(container));
    }
    let mut sidecars = Requests::new();
    let mut peak = Requests::new();
    for container in init_containers(pod) {
        let mut now = of(container);
        if is_sidecar(container) {
            add(&mut total, &now);
            add(&mut sidecars, &now);
            max(&mut peak, &sidecars);
        } else {
            add(&mut now, &sidecars);
            max(&mut peak, &now);
        }
    }
    max(&mut total, &peak);
    if let Some(of_pod) = &spec(pod).resources {
        let list = if requests {
            &of_pod.requests
        } else {
            &of_pod.limits
        };
        for (name, quantity) in list.iter().flatten() {
            total.insert(name.clone(), amount(name, quantity));
        }
    }
    for (name, quantity) in spec(pod).overhead.iter().flatten() {
        if requests || total.contains_key(name) {
            *total.entry(name.clone()).or_default() += amount(name, quantity);
        }
    }
    total
}
