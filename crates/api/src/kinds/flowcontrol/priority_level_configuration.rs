//! `flowcontrol.apiserver.k8s.io/v1` PriorityLevelConfiguration: how many requests of a level run at once.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::flowcontrol::mandatory::fixed_priority_level,
    lifecycle,
    validate::one_of,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "prioritylevelconfigurations",
    ),
    gvk: GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
    ),
    singular: "prioritylevelconfiguration",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
    ))],
    storage: Some(Storage::plain("prioritylevelconfigurations")),
    strategy: &PriorityLevelConfigurationStrategy,
};

#[derive(Debug)]
struct PriorityLevelConfigurationStrategy;

impl Strategy for PriorityLevelConfigurationStrategy {
    fn default(&self, object: &mut Object) {
        let is_exempt = meta::name(object) == "exempt";
        let spec = object.ensure_object("spec");
        if is_exempt {
            spec.ensure_object("exempt");
        }
        if let Some(exempt) = spec.object_mut("exempt") {
            exempt.set_default("nominalConcurrencyShares", 0);
            exempt.set_default("lendablePercent", 0);
        }
        // A Limited level without its part is refused, not filled.
        if let Some(limited) = spec.object_mut("limited") {
            limited.set_default("nominalConcurrencyShares", 30);
            limited.set_default("lendablePercent", 0);
            let response = limited.ensure_object("limitResponse");
            if let Some(queuing) = response.object_mut("queuing") {
                queuing.set_default_zero("queues", 64);
                queuing.set_default_zero("handSize", 8);
                queuing.set_default_zero("queueLengthLimit", 50);
            }
        }
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        let name = object.object("metadata").map_or("", |m| m.text("name"));
        let kind = spec.text("type");
        if (kind == "Exempt") != (name == "exempt") {
            errors.push(FieldError::invalid(
                &path.child("type"),
                kind,
                "must be 'Exempt' if and only if `name` is 'exempt'",
            ));
        }
        match kind {
            "Exempt" => {
                if spec.has("limited") {
                    errors.push(FieldError::forbidden(
                        &path.child("limited"),
                        "must be nil if the type is not Limited",
                    ));
                }
                if let Some(exempt) = spec.object("exempt") {
                    let at = path.child("exempt");
                    let shares = exempt.int("nominalConcurrencyShares").unwrap_or(0);
                    if shares < 0 {
                        errors.push(FieldError::invalid(
                            &at.child("nominalConcurrencyShares"),
                            shares,
                            "must be a non-negative integer",
                        ));
                    }
                    lendable(&mut errors, &at.child("lendablePercent"), exempt);
                }
            }
            "Limited" => {
                if spec.has("exempt") {
                    errors.push(FieldError::forbidden(
                        &path.child("exempt"),
                        "must be nil if the type is Limited",
                    ));
                }
                match spec.object("limited") {
                    None => errors.push(FieldError::required(
                        &path.child("limited"),
                        "must not be empty when type is Limited",
                    )),
                    Some(limited) => {
                        let shares = limited.int("nominalConcurrencyShares").unwrap_or(0);
                        if shares < 0 {
                            errors.push(FieldError::invalid(
                                &path.child("limited").child("nominalConcurrencyShares"),
                                shares,
                                "must be a non-negative integer",
                            ));
                        }
                        limited_level(&mut errors, &path.child("limited"), limited);
                    }
                }
            }
            other => one_of(
                &mut errors,
                &path.child("type"),
                other,
                &["Exempt", "Limited"],
            ),
        }
        fixed_priority_level(&mut errors, name, object.get("spec"));
        conditions(&mut errors, object);
        errors
    }

    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_all_metadata(new, old);
    }
    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        conditions(&mut errors, new);
        errors
    }
}

/// Conditions of flow control: each type once. Also those of flow schemas.
pub(super) fn conditions(errors: &mut ErrorList, object: &Object) {
    let path = Path::new("status").child("conditions");
    let mut seen = BTreeSet::new();
    let status = object.object("status").into_iter();
    for (index, condition) in status.flat_map(|s| s.objects("conditions")) {
        let (at, kind) = (path.index(index).child("type"), condition.text("type"));
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(&at, kind));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        seen.insert(kind);
    }
}

fn lendable(errors: &mut ErrorList, path: &Path, level: &Object) {
    if let Some(percent) = level.int("lendablePercent")
        && !(0..=100).contains(&percent)
    {
        errors.push(FieldError::invalid(
            path,
            percent,
            "must be between 0 and 100, inclusive",
        ));
    }
}

fn limited_level(errors: &mut ErrorList, path: &Path, limited: &Object) {
    let empty = Object::new();
    let response = limited.object("limitResponse").unwrap_or(&empty);
    let at = path.child("limitResponse");
    let queuing = at.child("queuing");
    match (response.text("type"), response.object("queuing")) {
        ("Reject", Some(_)) => errors.push(FieldError::forbidden(
            &queuing,
            "must be nil if limited.limitResponse.type is not Limited",
        )),
        ("Reject", None) => {}
        ("Queue", None) => errors.push(FieldError::required(
            &queuing,
            "must not be empty if limited.limitResponse.type is Limited",
        )),
        ("Queue", Some(configuration)) => queues(errors, &queuing, configuration),
        (other, _) => errors.push(FieldError::not_supported(
            &at.child("type"),
            other,
            &["Queue", "Reject"],
        )),
    }
    lendable(errors, &path.child("lendablePercent"), limited);
    if let Some(percent) = limited.int("borrowingLimitPercent").filter(|p| *p < 0) {
        errors.push(FieldError::invalid(
            &path.child("borrowingLimitPercent"),
            percent,
            "if specified, must be a non-negative integer",
        ));
    }
}

/// Hands are dealt from a deck of queues by the bits of one hash.
fn queues(errors: &mut ErrorList, path: &Path, queuing: &Object) {
    const MAX_QUEUES: i64 = 10_000_000;
    const MAX_ENTROPY_BITS: u32 = 60;
    let number = |field: &str| queuing.int(field).unwrap_or(0);
    let (queues, hand) = (number("queues"), number("handSize"));
    for field in ["queueLengthLimit", "queues"] {
        if number(field) <= 0 {
            errors.push(FieldError::invalid(
                &path.child(field),
                number(field),
                "must be positive",
            ));
        }
    }
    if queues > MAX_QUEUES {
        errors.push(FieldError::invalid(
            &path.child("queues"),
            queues,
            format!("must not be greater than {MAX_QUEUES}"),
        ));
    }
    let at = path.child("handSize");
    if hand <= 0 {
        errors.push(FieldError::invalid(&at, hand, "must be positive"));
    } else if hand > queues {
        errors.push(FieldError::invalid(
            &at,
            hand,
            format!("should not be greater than queues ({queues})"),
        ));
    } else if entropy_bits(queues, hand) > f64::from(MAX_ENTROPY_BITS) {
        errors.push(FieldError::invalid(
            &at,
            hand,
            format!(
                "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_ENTROPY_BITS}"
            ),
        ));
    }
}

/// How many bits it takes to deal a hand: those of `queues × (queues - 1) × …`.
#[allow(clippy::cast_precision_loss, reason = "numbers of queues are small")]
fn entropy_bits(queues: i64, hand: i64) -> f64 {
    let dealt = hand.min(64);
    let bits: f64 = (0..dealt).map(|card| ((queues - card) as f64).log2()).sum();
    bits.ceil()
}
