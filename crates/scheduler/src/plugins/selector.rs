//! Node selector terms (`core/v1 NodeSelectorTerm`) against a node.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::node_info::NodeInfo;

/// Terms are alternatives; none at all match nothing.
pub(super) fn matches_any_term(terms: &[NodeSelectorTerm], node: &NodeInfo) -> bool {
    terms.iter().any(|term| matches_term(term, node))
}

/// All requirements of a term hold; a term without any matches nothing.
pub(super) fn matches_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|requirement| holds(requirement, node.label(&requirement.key)))
        && fields.iter().all(|requirement| {
            requirement.key == "metadata.name" && holds(requirement, Some(&node.name))
        })
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        operator @ ("Gt" | "Lt") => {
            let number = |text: &str| text.parse::<i64>().ok();
            match (
                actual.and_then(number),
                values.first().and_then(|value| number(value)),
            ) {
                (Some(actual), Some(bound)) if operator == "Gt" => actual > bound,
                (Some(actual), Some(bound)) => actual < bound,
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn operators() {
        let node = crate::node_info::NodeInfo::new(
            testing::node("n1")
                .labels(&[("zone", "a"), ("gen", "3")])
                .build(),
        );
        for (key, operator, values, expected) in [
            ("zone", "In", vec!["a", "b"], true),
            ("zone", "In", vec!["b"], false),
            ("rack", "In", vec!["b"], false),
            ("rack", "NotIn", vec!["b"], true),
            ("zone", "NotIn", vec!["a"], false),
            ("zone", "Exists", vec![], true),
            ("rack", "DoesNotExist", vec![], true),
            ("gen", "Gt", vec!["2"], true),
            ("gen", "Lt", vec!["3"], false),
            ("zone", "Gt", vec!["2"], false),
        ] {
            let requirement = NodeSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|&v| v.to_owned()).collect()),
            };
            let term = NodeSelectorTerm {
                match_expressions: Some(vec![requirement]),
                match_fields: None,
            };
            assert_eq!(
                matches_term(&term, &node),
                expected,
                "{key} {operator} {values:?}"
            );
        }
        assert!(
            !matches_term(&NodeSelectorTerm::default(), &node),
            "an empty term matches nothing"
        );
    }
}
