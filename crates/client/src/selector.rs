//! Label selectors as they stand in objects (`spec.selector`), matched against labels.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether a `LabelSelector` selects these labels. The empty one selects all; one with an operator that does not exist, nothing.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(|wanted| selects_labels(wanted, labels))
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| {
                let value = labels.get(&requirement.key);
                let among = |value: &String| {
                    requirement
                        .values
                        .iter()
                        .flatten()
                        .any(|wanted| wanted == value)
                };
                match requirement.operator.as_str() {
                    "In" => value.is_some_and(among),
                    "NotIn" => !value.is_some_and(among),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
}

/// Whether all of `wanted` are among `labels`.
pub fn selects_labels(wanted: &Labels, labels: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether it selects everything.
pub fn selects_everything(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn operators() {
        let table = [
            ("In", &["a", "b"][..], &[("k", "a")][..], true),
            ("In", &["a", "b"], &[("k", "c")], false),
            ("In", &["a"], &[], false),
            ("NotIn", &["a"], &[], true),
            ("NotIn", &["a"], &[("k", "a")], false),
            ("Exists", &[], &[("k", "")], true),
            ("DoesNotExist", &[], &[("k", "")], false),
            ("Unheard", &[], &[("k", "")], false),
        ];
        for (operator, values, have, expected) in table {
            let selector = LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: "k".to_owned(),
                    operator: operator.to_owned(),
                    values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
                }]),
                match_labels: None,
            };
            assert_eq!(
                selects(&selector, &labels(have)),
                expected,
                "{operator} {values:?} of {have:?}"
            );
        }
        assert!(selects(&LabelSelector::default(), &labels(&[("x", "y")])));
        assert!(selects_everything(&LabelSelector::default()));
    }
}
