//! LimitRanger: containers get the namespace's default resources, and stay within its bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use apimachinery::{Object, gvk::GroupResource, meta, quantity::Quantity, status::Status};
use async_trait::async_trait;
use serde_json::Value;

use super::{Admission, Operation, Plugin};
use crate::{lookup, reader::ObjectReader};

const LIMIT_RANGES: GroupResource = GroupResource::new("", "limitranges");
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const CONTAINERS: [(&str, &str); 2] = [
    ("containers", "container"),
    ("initContainers", "init container"),
];

type Resources = BTreeMap<String, Quantity>;

pub(super) struct LimitRanger {
    reader: Arc<dyn ObjectReader>,
}

impl LimitRanger {
    pub(super) fn new(reader: Arc<dyn ObjectReader>) -> Self {
        Self { reader }
    }

    fn ranges(&self, admission: &Admission<'_>) -> Vec<Arc<Object>> {
        let create = admission.operation == Operation::Create;
        let resize = !create && admission.is_subresource("", "pods", "resize");
        let claim = admission.is("", "persistentvolumeclaims");
        let deleting = admission.old_object.is_some_and(meta::is_deleting);
        if (create && admission.is("", "pods") || resize || claim) && !deleting {
            self.reader
                .list(&LIMIT_RANGES, &admission.request.namespace)
        } else {
            Vec::new()
        }
    }
}

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if admission.request.resource != "pods" {
            return Ok(());
        }
        let ranges = self.ranges(admission);
        let Some(pod) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        for range in ranges {
            set_defaults(pod, &range);
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(object) = admission.new_object() else {
            return Ok(());
        };
        let is_pod = admission.request.resource == "pods";
        // The first range that is not kept to is the one that is told.
        for range in self.ranges(admission) {
            let mut complaints = Vec::new();
            for item in items(&range) {
                check(item, object, is_pod, &mut complaints);
            }
            let mut told = BTreeSet::new();
            complaints.retain(|complaint| told.insert(complaint.clone()));
            match complaints.as_slice() {
                [] => {}
                [one] => return Err(admission.forbidden(one)),
                many => return Err(admission.forbidden(format!("[{}]", many.join(", ")))),
            }
        }
        Ok(())
    }
}

fn items(range: &Object) -> impl Iterator<Item = &Object> {
    lookup::objects(range, &["spec", "limits"])
}

fn resources(object: &Object, path: &[&str]) -> Resources {
    let entries = lookup::map(object, path).into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.parse().ok()?)))
        .collect()
}

/// Fills in what containers leave out, and notes it on the pod.
fn set_defaults(pod: &mut Object, range: &Object) {
    let mut requests = serde_json::Map::new();
    let mut limits = serde_json::Map::new();
    for item in items(range).filter(|item| lookup::text(item, &["type"]) == "Container") {
        for (from, into) in [("defaultRequest", &mut requests), ("default", &mut limits)] {
            into.extend(lookup::map(item, &[from]).cloned().unwrap_or_default());
        }
    }
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    for (field, noun) in CONTAINERS {
        if lookup::list(pod, &["spec", field]).is_empty() {
            continue;
        }
        for container in lookup::list_mut(pod, &["spec"], field)
            .iter_mut()
            .filter_map(Value::as_object_mut)
        {
            let name = lookup::text(container, &["name"]).to_owned();
            for (sort, described, defaults) in [
                ("requests", "request", &requests),
                ("limits", "limit", &limits),
            ] {
                let mut set = Vec::new();
                for (resource, quantity) in defaults {
                    if lookup::value(container, &["resources", sort, resource]).is_none() {
                        lookup::set(container, &["resources", sort, resource], quantity.clone());
                        set.push(resource.as_str());
                    }
                }
                if !set.is_empty() {
                    set.sort_unstable();
                    notes.push(format!("{} {described} for {noun} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        meta::set_annotation(
            pod,
            ANNOTATION,
            Some(&format!("LimitRanger plugin set: {}", notes.join("; "))),
        );
    }
}

fn check(item: &Object, object: &Object, is_pod: bool, complaints: &mut Vec<String>) {
    let sort = lookup::text(item, &["type"]);
    match (sort, is_pod) {
        ("Container", true) => {
            for (field, _) in CONTAINERS {
                for container in lookup::objects(object, &["spec", field]) {
                    let usage = Usage::of(container, &["resources"]);
                    usage.check(item, sort, complaints);
                }
            }
        }
        ("Pod", true) => Usage::of_pod(object).check(item, sort, complaints),
        ("PersistentVolumeClaim", false) => {
            Usage {
                limits: None,
                ..Usage::of(object, &["spec", "resources"])
            }
            .check(item, sort, complaints);
        }
        _ => {}
    }
}

/// Whether a pod as a whole can ask for it.
fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// What is asked for, and up to what it may grow; claims have no limits.
struct Usage {
    requests: Resources,
    limits: Option<Resources>,
}

impl Usage {
    fn of(object: &Object, path: &[&str]) -> Self {
        let of = |sort| resources(object, &[path, &[sort]].concat());
        Self {
            requests: of("requests"),
            limits: Some(of("limits")),
        }
    }

    /// The sum of the containers, or the largest init container where that is more; sidecars run beside both. What the pod says for itself stands
    /// instead.
    fn of_pod(pod: &Object) -> Self {
        let total = |sort: &str| {
            let mut total = Resources::new();
            let add = |container: &Object, total: &mut Resources| {
                for (name, quantity) in resources(container, &["resources", sort]) {
                    *total.entry(name).or_insert_with(|| Quantity::from(0)) += quantity;
                }
            };
            for container in lookup::objects(pod, &["spec", "containers"]) {
                add(container, &mut total);
            }
            let mut sidecars = Resources::new();
            let mut peak = Resources::new();
            for container in lookup::objects(pod, &["spec", "initContainers"]) {
                let mut running = sidecars.clone();
                add(container, &mut running);
                if lookup::text(container, &["restartPolicy"]) == "Always" {
                    add(container, &mut total);
                    sidecars = running.clone();
                }
                for (name, quantity) in running {
                    let most = peak.entry(name).or_insert(quantity);
                    if quantity > *most {
                        *most = quantity;
                    }
                }
            }
            for (name, quantity) in peak {
                let sum = total.entry(name).or_insert(quantity);
                if quantity > *sum {
                    *sum = quantity;
                }
            }
            let own = resources(pod, &["spec", "resources", sort]);
            total.extend(own.into_iter().filter(|(name, _)| is_of_pods(name)));
            total
        };
        Self {
            requests: total("requests"),
            limits: Some(total("limits")),
        }
    }

    fn check(&self, item: &Object, sort: &str, complaints: &mut Vec<String>) {
        let limit_of = |name: &String| self.limits.as_ref().and_then(|limits| limits.get(name));
        for (name, bound) in resources(item, &["min"]) {
            let rule = format!("minimum {name} usage per {sort} is {bound}");
            match self.requests.get(&name) {
                None => complaints.push(format!("{rule}.  No request is specified")),
                Some(request) if *request < bound => {
                    complaints.push(format!("{rule}, but request is {request}"))
                }
                Some(_) => {
                    if let Some(limit) = limit_of(&name).filter(|limit| **limit < bound) {
                        complaints.push(format!("{rule}, but limit is {limit}"));
                    }
                }
            }
        }
        for (name, bound) in resources(item, &["max"]) {
            let rule = format!("maximum {name} usage per {sort} is {bound}");
            let request = self.requests.get(&name);
            match (&self.limits, limit_of(&name)) {
                (Some(_), None) => complaints.push(format!("{rule}.  No limit is specified")),
                (None, _) if request.is_none() => {
                    complaints.push(format!("{rule}.  No request is specified"))
                }
                (_, Some(limit)) if *limit > bound => {
                    complaints.push(format!("{rule}, but limit is {limit}"))
                }
                _ => {
                    if let Some(request) = request.filter(|request| **request > bound) {
                        complaints.push(format!("{rule}, but request is {request}"));
                    }
                }
            }
        }
        if self.limits.is_none() {
            return;
        }
        for (name, bound) in resources(item, &["maxLimitRequestRatio"]) {
            let rule = format!("{name} max limit to request ratio per {sort} is {bound}");
            let positive = |quantity: Option<&Quantity>| {
                quantity.map(Quantity::as_f64).filter(|value| *value > 0.0)
            };
            match (
                positive(self.requests.get(&name)),
                positive(limit_of(&name)),
            ) {
                (None, _) => complaints.push(format!(
                    "{rule}, but no request is specified or request is 0"
                )),
                (_, None) => {
                    complaints.push(format!("{rule}, but no limit is specified or limit is 0"))
                }
                (Some(request), Some(limit)) if limit / request > bound.as_f64() => {
                    complaints.push(format!(
                        "{rule}, but provided ratio is {:.6}",
                        limit / request
                    ));
                }
                _ => {}
            }
        }
    }
}
