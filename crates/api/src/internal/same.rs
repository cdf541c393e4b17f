//! Whether two values of a type are equal to upstream's semantic equality.
//!
//! Go tells a pointer to nothing from a pointer to an empty struct; a list or map without entries is one that is not there; what is
//! absent and not behind a pointer is zero; quantities are equal by their amount. Where upstream compares by reflection instead, a list or
//! map without entries is something, and an amount is as it was written. Walks the JSON by its schema and builds nothing, so that each
//! update can ask it.

use apimachinery::schema::{Scalar, Type, TypeRef};
use serde_json::Value;

use crate::fields::quantity;

type Members = serde_json::Map<String, Value>;

/// How upstream compares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// What it means: no entries are none.
    Meaning,
    /// What it is: no entries are not none.
    Reflection,
}

/// Two values of a type, as a field that is, or is not, behind a pointer.
pub(super) fn same(
    by: By,
    ty: TypeRef<'_>,
    pointer: bool,
    a: Option<&Value>,
    b: Option<&Value>,
) -> bool {
    let there = |value: Option<&Value>| value.is_some_and(|v| !v.is_null());
    if a == b {
        return true;
    }
    let may_be_nil = match ty.node() {
        Type::List(_) | Type::Map(_) | Type::Scalar(Scalar::Bytes) => by == By::Reflection,
        _ => false,
    };
    if (pointer || may_be_nil) && there(a) != there(b) {
        return false;
    }
    match ty.node() {
        Type::Scalar(Scalar::Quantity) if by == By::Reflection && there(a) && there(b) => false,
        Type::Scalar(scalar) => same_scalar(*scalar, a, b),
        Type::List(list) => {
            let (a, b) = (items(a), items(b));
            let item = ty.at(list.items);
            let equal = |(a, b): (&Value, &Value)| same(by, item, false, Some(a), Some(b));
            a.len() == b.len() && a.iter().zip(b).all(equal)
        }
        Type::Map(map) => {
            let none = Members::new();
            let (a, b) = (members(a, &none), members(b, &none));
            let value = ty.at(map.values);
            let equal = |(key, a): (&String, &Value)| {
                b.get(key)
                    .is_some_and(|b| same(by, value, false, Some(a), Some(b)))
            };
            a.len() == b.len() && a.iter().all(equal)
        }
        Type::Object(object) if !object.fields().is_empty() => {
            let none = Members::new();
            let (a, b) = (members(a, &none), members(b, &none));
            object.fields().iter().all(|field| {
                let (a, b) = (a.get(&*field.name), b.get(&*field.name));
                same(by, ty.at(field.ty), field.pointer, a, b)
            })
        }
        Type::Object(_) | Type::Either(_) => crate::fields::same(a, b),
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value
        .and_then(Value::as_array)
        .map_or(&[], |items| items.as_slice())
}

fn members<'v>(value: Option<&'v Value>, none: &'v Members) -> &'v Members {
    value.and_then(Value::as_object).unwrap_or(none)
}

fn same_scalar(scalar: Scalar, a: Option<&Value>, b: Option<&Value>) -> bool {
    let amount = |value: Option<&Value>| match value {
        Some(value) if !value.is_null() => quantity(value),
        _ => "0".parse().ok(),
    };
    match scalar {
        Scalar::Quantity => match (amount(a), amount(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json => {
            let there = |value: Option<&Value>| value.is_some_and(|v| !v.is_null());
            there(a) == there(b) && (a == b || !there(a))
        }
        _ => {
            let zero = |value: Option<&Value>| match value {
                None | Some(Value::Null) => true,
                Some(Value::String(text)) => {
                    text.is_empty() || (text == "0s" && scalar == Scalar::Duration)
                }
                Some(Value::Bool(flag)) => !flag,
                Some(Value::Number(number)) => number.as_f64() == Some(0.0),
                Some(_) => false,
            };
            zero(a) && zero(b)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::internal;

    #[test]
    fn reflection_tells_no_entries_from_none() {
        const PEER: &str = "io.k8s.api.networking.v1.NetworkPolicyPeer";
        let equal = |a, b| {
            let (a, b) = (json!({"p": a}), json!({"p": b}));
            let (a, b) = (a.get("p"), b.get("p"));
            (internal::same(PEER, a, b), internal::identical(PEER, a, b))
        };
        let labels = json!({"podSelector": {"matchLabels": {"a": "b"}}});
        let empty = json!({"podSelector": {"matchLabels": {"a": "b"}, "matchExpressions": []}});
        assert_eq!(equal(labels.clone(), labels.clone()), (true, true));
        assert_eq!(equal(labels, empty), (true, false));
        assert_eq!(equal(json!({}), json!({"ipBlock": null})), (true, true));
    }

    #[test]
    fn what_is_behind_a_pointer_is_there_or_not() {
        const PDB: &str = "io.k8s.api.policy.v1.PodDisruptionBudgetSpec";
        const RESOURCES: &str = "io.k8s.api.core.v1.ResourceRequirements";
        const POD: &str = "io.k8s.api.core.v1.PodSpec";
        for (ty, a, b, equal) in [
            (PDB, json!({}), json!({"selector": {}}), false),
            (PDB, json!({"selector": null}), json!({}), true),
            (POD, json!({}), json!({"resources": {}}), false),
            (
                POD,
                json!({}),
                json!({"volumes": [], "nodeSelector": {}}),
                true,
            ),
            (
                POD,
                json!({}),
                json!({"hostNetwork": false, "hostname": ""}),
                true,
            ),
            (POD, json!({}), json!({"setHostnameAsFQDN": false}), false),
            (
                RESOURCES,
                json!({"limits": {"cpu": "1"}}),
                json!({"limits": {"cpu": "1000m"}}),
                true,
            ),
            (
                RESOURCES,
                json!({"limits": {"cpu": "1"}}),
                json!({"limits": {"memory": "1"}}),
                false,
            ),
        ] {
            assert_eq!(internal::same(ty, Some(&a), Some(&b)), equal, "{a} {b}");
        }
    }
}
