//! Node selector terms (`core/v1 NodeSelectorTerm`): which nodes a pod or a volume may be on. Pure.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use crate::Object as _;

/// Whether a pod's `nodeSelector` and required node affinity let it be on a node.
pub fn allows_node(spec: &PodSpec, node: &Node) -> bool {
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| node.label(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    selected
        && required.is_none_or(|required| {
            let terms = &required.node_selector_terms;
            matches_any_node_term(terms, node.name(), |key| node.label(key))
        })
}

/// Whether any of these terms matches a node, given its name and its labels by key. Terms are alternatives; none at all match nothing.
pub fn matches_any_node_term<'a>(
    terms: &[NodeSelectorTerm],
    name: &str,
    label: impl Fn(&str) -> Option<&'a str>,
) -> bool {
    terms
        .iter()
        .any(|term| matches_node_term(term, name, &label))
}

/// Whether all requirements of a term hold for a node; a term without any matches nothing.
pub fn matches_node_term<'a>(
    term: &NodeSelectorTerm,
    name: &str,
    label: impl Fn(&str) -> Option<&'a str>,
) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|requirement| holds(requirement, label(&requirement.key)))
        && fields
            .iter()
            .all(|requirement| requirement.key == "metadata.name" && holds(requirement, Some(name)))
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

    #[test]
    fn operators() {
        let labels = [("zone", "a"), ("gen", "3")];
        let label = |key: &str| {
            let found = labels.iter().find(|(known, _)| *known == key);
            found.map(|(_, value)| *value)
        };
        for (key, operator, values, expected) in [
            ("zone", "In", vec!["a", "b"], true),
            ("zone", "In", vec!["b"], false),
            ("rack", "In", vec!["b"], false),
            ("rack", "NotIn", vec!["b"], true),
            ("zone", "NotIn", vec!["a"], false),
            ("zone", "Exists", vec![], true),
            ("rack", "DoesNotExist", vec![], true),
            ("gen", "Gt", vec!["2"], true),
            ("gen", "Gt", vec!["3"], false),
            ("gen", "Lt", vec!["3"], false),
            ("gen", "Lt", vec!["4"], true),
            ("rack", "Lt", vec!["4"], false),
            ("zone", "Gt", vec!["2"], false),
        ] {
            let requirement = NodeSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|&value| value.to_owned()).collect()),
            };
            let term = NodeSelectorTerm {
                match_expressions: Some(vec![requirement]),
                match_fields: None,
            };
            let matches = matches_node_term(&term, "n1", label);
            assert_eq!(matches, expected, "{key} {operator} {values:?}");
        }
        let empty = NodeSelectorTerm::default();
        assert!(!matches_any_node_term(&[empty], "n1", label));
        let by_name = |name: &str| NodeSelectorTerm {
            match_expressions: None,
            match_fields: Some(vec![NodeSelectorRequirement {
                key: "metadata.name".to_owned(),
                operator: "In".to_owned(),
                values: Some(vec![name.to_owned()]),
            }]),
        };
        assert!(matches_any_node_term(
            &[by_name("n2"), by_name("n1")],
            "n1",
            label
        ));
        assert!(!matches_any_node_term(&[by_name("n2")], "n1", label));
    }
}
