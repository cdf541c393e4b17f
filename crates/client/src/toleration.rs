//! Taints and tolerations (`core/v1 Taint`, `Toleration`): which nodes drive a pod away. Pure.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether a toleration covers a taint. `Gt` and `Lt` compare numbers (KEP-5471).
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let matches_or_empty = |own: &Option<String>, other: &str| {
        own.as_deref()
            .is_none_or(|own| own.is_empty() || own == other)
    };
    if !matches_or_empty(&toleration.effect, &taint.effect)
        || !matches_or_empty(&toleration.key, &taint.key)
    {
        return false;
    }
    let value = taint.value.as_deref().unwrap_or_default();
    let own = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref() {
        None | Some("" | "Equal") => own == value,
        Some("Exists") => true,
        Some(comparison @ ("Gt" | "Lt")) => match (own.parse::<i64>(), value.parse::<i64>()) {
            (Ok(own), Ok(value)) if comparison == "Gt" => value > own,
            (Ok(own), Ok(value)) => value < own,
            _ => false,
        },
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_cover_taints_as_documented() {
        let taint = Taint {
            key: "k".to_owned(),
            value: Some("v".to_owned()),
            effect: "NoSchedule".to_owned(),
            time_added: None,
        };
        let number = Taint {
            value: Some("5".to_owned()),
            ..taint.clone()
        };
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: Some(key.to_owned()),
            operator: Some(operator.to_owned()),
            value: Some(value.to_owned()),
            effect: Some(effect.to_owned()),
            toleration_seconds: None,
        };
        for (toleration, expected) in [
            (toleration("k", "Equal", "v", "NoSchedule"), true),
            (toleration("k", "Equal", "other", "NoSchedule"), false),
            (toleration("k", "Exists", "", "NoSchedule"), true),
            (toleration("k", "Exists", "", ""), true),
            (toleration("", "Exists", "", ""), true),
            (toleration("k", "Exists", "", "NoExecute"), false),
            (toleration("other", "Exists", "", ""), false),
            (Toleration::default(), false),
        ] {
            assert_eq!(tolerates(&toleration, &taint), expected, "{toleration:?}");
        }
        for (operator, bound, expected) in [
            ("Gt", "4", true),
            ("Gt", "5", false),
            ("Lt", "6", true),
            ("Lt", "5", false),
            ("Gt", "x", false),
        ] {
            let toleration = toleration("k", operator, bound, "");
            assert_eq!(
                tolerates(&toleration, &number),
                expected,
                "{operator} {bound}"
            );
        }
    }
}
