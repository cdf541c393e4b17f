//! Node selector terms against a node of the snapshot.

use k8s_openapi::api::core::v1::NodeSelectorTerm;

use crate::node_info::NodeInfo;

/// Terms are alternatives; none at all match nothing.
pub(super) fn matches_any_term(terms: &[NodeSelectorTerm], node: &NodeInfo) -> bool {
    client::matches_any_node_term(terms, &node.name, |key| node.label(key))
}

/// All requirements of a term hold; a term without any matches nothing.
pub(super) fn matches_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    client::matches_node_term(term, &node.name, |key| node.label(key))
}
