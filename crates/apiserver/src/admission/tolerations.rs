//! Tolerations as sets of what they tolerate: which contains which, and how two lists become one (`pkg/util/tolerations`).

use apimachinery::{Object, lookup};
use serde_json::Value;

/// The fields of a toleration.
#[derive(PartialEq, Eq)]
struct Fields<'a> {
    key: &'a str,
    operator: &'a str,
    value: &'a str,
    effect: &'a str,
    seconds: Option<i64>,
}

impl<'a> Fields<'a> {
    fn of(toleration: &'a Value) -> Self {
        let text = |name: &str| {
            let text = toleration.get(name).and_then(Value::as_str);
            text.unwrap_or_default()
        };
        Self {
            key: text("key"),
            operator: text("operator"),
            value: text("value"),
            effect: text("effect"),
            seconds: toleration.get("tolerationSeconds").and_then(Value::as_i64),
        }
    }

    /// Whether all that `other` tolerates is tolerated by this.
    fn contains(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let every_key = self.key.is_empty() && self.operator == "Exists";
        if other.key != self.key && !every_key {
            return false;
        }
        if other.effect != self.effect && !self.effect.is_empty() {
            return false;
        }
        if self.effect == "NoExecute"
            && let Some(most) = self.seconds
            && other.seconds.is_none_or(|seconds| seconds > most)
        {
            return false;
        }
        match self.operator {
            "Equal" | "" => other.operator == "Equal" && other.value == self.value,
            "Exists" => true,
            _ => false,
        }
    }
}

/// Both lists as one, without what another toleration contains.
pub(super) fn merge(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = first.iter().chain(second).collect();
    let mut merged: Vec<&Value> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let fields = Fields::of(toleration);
        let contained = merged.iter().any(|kept| Fields::of(kept).contains(&fields));
        // Of equals the first stays.
        let contained_later = all[index + 1..].iter().any(|later| {
            let later = Fields::of(later);
            later != fields && later.contains(&fields)
        });
        if !contained && !contained_later {
            merged.push(toleration);
        }
    }
    merged.into_iter().cloned().collect()
}

/// Whether each toleration is contained in one of the list; an empty list allows everything.
pub(super) fn are_within(tolerations: &[Value], allowed: &[Value]) -> bool {
    allowed.is_empty()
        || tolerations.iter().all(|toleration| {
            let fields = Fields::of(toleration);
            let mut allowed = allowed.iter();
            allowed.any(|allowed| Fields::of(allowed).contains(&fields))
        })
}

/// Gives a pod a toleration; one of the same key, operator, value and effect is replaced.
pub(super) fn add_or_update(pod: &mut Object, toleration: Value) {
    let same = |other: &Value| {
        let (a, b) = (Fields::of(&toleration), Fields::of(other));
        (a.key, a.operator, a.value, a.effect) == (b.key, b.operator, b.value, b.effect)
    };
    let list = lookup::list_mut(pod, &["spec"], "tolerations");
    match list.iter().position(same) {
        Some(index) => list[index] = toleration,
        None => list.push(toleration),
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_wider_toleration_stays() {
        let everything = json!({"operator": "Exists"});
        let key = json!({"key": "a", "operator": "Exists"});
        let equal = json!({"key": "a", "operator": "Equal", "value": "1", "effect": "NoSchedule"});
        let short = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10});
        let long = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20});
        for (first, second, widest) in [
            (vec![&equal, &short], &key, &key),
            (vec![&key], &equal, &key),
            (vec![&short], &long, &long),
            (vec![&equal], &equal, &equal),
            (vec![&equal, &key], &everything, &everything),
        ] {
            let first: Vec<Value> = first.into_iter().cloned().collect();
            let merged = merge(&first, slice::from_ref(second));
            assert_eq!(merged, slice::from_ref(widest));
        }
        let within = |t: &Value, allowed: &[Value]| are_within(slice::from_ref(t), allowed);
        assert!(within(&equal, &[]));
        assert!(within(&equal, slice::from_ref(&key)));
        assert!(!within(&everything, &[key]));
        assert!(!within(&long, &[short]));
    }
}
