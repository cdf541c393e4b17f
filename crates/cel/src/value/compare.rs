//! Equality and order. Numbers of all types compare as the numbers they are; values of unrelated types are not equal.

use std::cmp::Ordering;

use super::Value;

/// How many pairs of values one comparison may look at. Values that share their parts can be exponentially larger than what made them.
const MAX_PAIRS: u64 = 10_000_000;

/// `a == b`.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    within(a, b, &mut MAX_PAIRS.clone()).unwrap_or(false)
}

/// Like [`equal`], or nothing if that would take too long.
pub(crate) fn bounded_equal(a: &Value<'_>, b: &Value<'_>) -> Option<bool> {
    within(a, b, &mut MAX_PAIRS.clone())
}

/// Equality of two values with so many pairs to go.
pub(super) fn within(a: &Value<'_>, b: &Value<'_>, left: &mut u64) -> Option<bool> {
    *left = left.checked_sub(1)?;
    Some(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::List(a), Value::List(b)) => return a.equals(b, left),
        (Value::Map(a), Value::Map(b)) => return a.equals(b, left),
        (Value::Type(a), Value::Type(b)) => a.name() == b.name(),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => return within(a, b, left),
            (None, None) => true,
            _ => false,
        },
        (Value::Opaque(a), Value::Opaque(b)) => a.equals(b),
        _ => numbers(a, b).is_some_and(|order| order == Some(Ordering::Equal)),
    })
}

/// The order of two values, if they have one; `Some(None)` if one of them is not a number (NaN).
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Option<Ordering>> {
    Some(Some(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => (**a).cmp(&**b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        _ => return numbers(a, b),
    }))
}

fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), _) => double_to_integer(*a, b)?,
        (_, Value::Double(b)) => double_to_integer(*b, a)?.map(Ordering::reverse),
        _ => Some(integer(a)?.cmp(&integer(b)?)),
    })
}

fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    }
}

/// As doubles, as upstream compares: integers beyond 53 bits lose digits. What no integer of the type reaches is beyond all of them.
fn double_to_integer(double: f64, value: &Value<'_>) -> Option<Option<Ordering>> {
    let (least, most, integer) = match value {
        Value::Int(value) => (i64::MIN as f64, i64::MAX as f64, *value as f64),
        Value::Uint(value) => (0.0, u64::MAX as f64, *value as f64),
        _ => return None,
    };
    Some(if double < least {
        Some(Ordering::Less)
    } else if double > most {
        Some(Ordering::Greater)
    } else {
        double.partial_cmp(&integer)
    })
}
