//! Whether quotas grant what a request uses, and how their status is then. Decides without doing anything; follows upstream's
//! `CheckRequest`, to the wording.

use std::sync::Arc;

use api::quota::{self, Evaluator, Resources};
use apimachinery::{Object, meta, quantity::Quantity, status::Status};
use serde_json::Value;

use super::limited::{self, Limited};
use crate::{
    admission::{Admission, Operation},
    lookup,
};

/// The evaluator of a request, if it is one that quotas are about.
pub(super) fn evaluator(admission: &Admission<'_>) -> Option<Evaluator> {
    let info = admission.request;
    let update = admission.operation == Operation::Update;
    let whole = info.subresource.is_empty();
    let evaluator = Evaluator::of(&info.gvr().group_resource())?;
    let counted = match evaluator {
        // A pod that comes to end by itself falls under other quotas.
        Evaluator::Pods if whole && update => {
            let ends = |pod: Option<&Object>| pod.map(quota::is_terminating);
            ends(admission.new_object()) != ends(admission.old_object)
        }
        Evaluator::Pods => whole || info.subresource == "resize" && update,
        // What is allocated to a claim, and its class, are in its status.
        Evaluator::Claims => whole || info.subresource == "status",
        Evaluator::Services | Evaluator::ResourceClaims => whole,
        Evaluator::Count(_) => whole && !update,
    };
    counted.then_some(evaluator)
}

/// A quota that counts the request: what it grants at most, what is used of that.
struct Concerned<'a> {
    quota: &'a Object,
    hard: Resources,
    used: Resources,
}

/// The quotas whose status changes, as they are to be written.
pub(super) fn check(
    quotas: &[Arc<Object>],
    limited: &Limited,
    admission: &Admission<'_>,
) -> Result<Vec<Object>, Status> {
    let (Some(evaluator), Some(object)) = (evaluator(admission), admission.new_object()) else {
        return Ok(Vec::new());
    };
    let concerned = concerned(quotas, &evaluator, object, admission)?;
    if concerned.is_empty() && limited.is_empty() {
        return Ok(Vec::new());
    }
    let usage = evaluator.usage(object);
    let negative: Vec<&str> = names(&usage, |quantity| quantity.sign() < 0);
    if !negative.is_empty() {
        return Err(admission.forbidden(format!(
            "quota usage is negative for resource(s): {}",
            negative.join(",")
        )));
    }
    let deltas: Vec<Resources> = concerned
        .iter()
        .map(|concerned| delta(Some(concerned.quota), &evaluator, admission, &usage))
        .collect();
    let uses_more = if concerned.is_empty() {
        !delta(None, &evaluator, admission, &usage).is_empty()
    } else {
        deltas.iter().any(|delta| !delta.is_empty())
    };
    if !uses_more {
        return Ok(Vec::new());
    }
    check_covered(quotas, &concerned, limited, &evaluator, admission, &usage)?;
    let mut grants = Vec::new();
    for (Concerned { quota, hard, used }, delta) in concerned.iter().zip(&deltas) {
        if let Some(used) = grant(quota, hard, used, delta, admission)? {
            let mut changed = (*quota).clone();
            lookup::set(&mut changed, &["status", "used"], used);
            grants.push(changed);
        }
    }
    Ok(grants)
}

/// The quotas that count the request. One that cannot say yet what is used, or to which the object says too little, refuses.
fn concerned<'a>(
    quotas: &'a [Arc<Object>],
    evaluator: &Evaluator,
    object: &Object,
    admission: &Admission<'_>,
) -> Result<Vec<Concerned<'a>>, Status> {
    let mut concerned = Vec::new();
    for quota in quotas {
        let hard = quota::resources(quota, &["status", "hard"]);
        let counted = counted(&hard, evaluator);
        if counted.is_empty() || !quota::matches(quota, evaluator, object) {
            continue;
        }
        if let Err(reason) = evaluator.constraints(&counted, object) {
            let name = meta::name(quota);
            return Err(admission.forbidden(format!("failed quota: {name}: {reason}")));
        }
        let used = quota::resources(quota, &["status", "used"]);
        if !counted.iter().all(|name| used.contains_key(*name)) {
            return Err(admission.forbidden(format!(
                "status unknown for quota: {}, resources: {}",
                meta::name(quota),
                counted.join(",")
            )));
        }
        concerned.push(Concerned { quota, hard, used });
    }
    Ok(concerned)
}

fn counted<'a>(hard: &'a Resources, evaluator: &Evaluator) -> Vec<&'a str> {
    let names = hard.keys().map(String::as_str);
    names.filter(|name| evaluator.counts(name)).collect()
}

/// Whether what is limited by the configuration is covered by some quota.
fn check_covered(
    quotas: &[Arc<Object>],
    concerned: &[Concerned<'_>],
    limited: &Limited,
    evaluator: &Evaluator,
    admission: &Admission<'_>,
    usage: &Resources,
) -> Result<(), Status> {
    let (false, Some(object)) = (limited.is_empty(), admission.new_object()) else {
        return Ok(());
    };
    let resource = admission.request.gvr().group_resource();
    let mut uncovered = limited.names(&resource, usage);
    for concerned in concerned {
        let counted = counted(&concerned.hard, evaluator);
        uncovered.retain(|name| !counted.contains(name));
    }
    if !uncovered.is_empty() {
        let uncovered = uncovered.join(",");
        return Err(admission.forbidden(format!("insufficient quota to consume: {uncovered}")));
    }
    let mut uncovered = limited.scopes(evaluator, object);
    for quota in quotas {
        let covered = quota::scopes_of(quota, evaluator, object);
        uncovered.retain(|scope| !covered.contains(&lookup::text(scope, &["scopeName"])));
    }
    if !uncovered.is_empty() {
        let uncovered = limited::print(&uncovered);
        return Err(Status::unclassified(format!(
            "insufficient quota to match these scopes: {uncovered}"
        )));
    }
    Ok(())
}

/// What the request uses more than before, of what the quota counted before; of anything, if there is no quota.
fn delta(
    quota: Option<&Object>,
    evaluator: &Evaluator,
    admission: &Admission<'_>,
    usage: &Resources,
) -> Resources {
    let mut delta = usage.clone();
    if admission.operation == Operation::Update
        && let Some(old) = admission.old_object
        && quota.is_none_or(|quota| quota::matches(quota, evaluator, old))
    {
        for (name, before) in evaluator.usage(old) {
            let now = delta.remove(&name).unwrap_or_else(|| Quantity::from(0));
            let more = now - before;
            let none = more.sign() < 0;
            delta.insert(name, if none { Quantity::from(0) } else { more });
        }
    }
    delta.retain(|_, quantity| !quantity.is_zero());
    delta
}

/// `status.used` with the request in it; none if it does not change.
fn grant(
    quota: &Object,
    hard: &Resources,
    used: &Resources,
    delta: &Resources,
    admission: &Admission<'_>,
) -> Result<Option<Value>, Status> {
    let mut requested = delta.clone();
    requested.retain(|name, _| hard.contains_key(name));
    if requested.is_empty() {
        return Ok(None);
    }
    let mut sum = used.clone();
    quota::add(&mut sum, &requested);
    let exceeded: Vec<&str> = names(&requested, |_| true)
        .into_iter()
        .filter(|name| sum.get(*name) > hard.get(*name))
        .collect();
    if !exceeded.is_empty() && admission.request.subresource != "status" {
        let shown = |of: &Resources| {
            let parts = exceeded.iter().filter_map(|name| {
                let quantity = of.get(*name)?;
                Some(format!("{name}={quantity}"))
            });
            parts.collect::<Vec<_>>().join(",")
        };
        return Err(admission.forbidden(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            meta::name(quota),
            shown(&requested),
            shown(used),
            shown(hard)
        )));
    }
    let sum = sum
        .into_iter()
        .map(|(name, quantity)| (name, Value::from(quantity.to_string())))
        .collect();
    Ok(Some(Value::Object(sum)))
}

fn names(resources: &Resources, wanted: impl Fn(&Quantity) -> bool) -> Vec<&str> {
    let wanted = resources.iter().filter(|(_, quantity)| wanted(quantity));
    wanted.map(|(name, _)| name.as_str()).collect()
}
