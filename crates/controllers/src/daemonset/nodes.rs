//! Which nodes a DaemonSet's pods belong on. Pure.

use client::{Object as _, allows_node, tolerates};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec,
    Toleration,
};

use crate::node_lifecycle::taints::NO_EXECUTE;

/// What a node is to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// A pod belongs there.
    Run,
    /// None is to be started there, but one that runs may stay (an untolerated `NoSchedule` taint).
    Stay,
    /// None belongs there.
    Leave,
}

/// Taints that daemons tolerate without being told, since they are what makes nodes ready.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";

/// The pod's tolerations with those of all daemons.
pub(super) fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut tolerations = spec.tolerations.clone().unwrap_or_default();
    let host_network = spec.host_network.unwrap_or_default();
    let network = host_network.then_some((NETWORK_UNAVAILABLE, "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    tolerations
}

/// Where a pod of this template stands with a node.
pub(super) fn placement(spec: &PodSpec, node: &Node) -> Placement {
    let bound_elsewhere = spec
        .node_name
        .as_deref()
        .is_some_and(|name| !name.is_empty() && name != node.name());
    if bound_elsewhere || !allows_node(spec, node) {
        return Placement::Leave;
    }
    let tolerations = tolerations(spec);
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let untolerated: Vec<&str> = taints
        .filter(|taint| taint.effect != "PreferNoSchedule")
        .filter(|taint| {
            !tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
        })
        .map(|taint| taint.effect.as_str())
        .collect();
    if untolerated.contains(&NO_EXECUTE) {
        Placement::Leave
    } else if untolerated.is_empty() {
        Placement::Run
    } else {
        Placement::Stay
    }
}

/// Ties a pod to its node, for the scheduler to bind it there.
pub(super) fn pin(spec: &mut PodSpec, node: &str) {
    let term = NodeSelectorTerm {
        match_expressions: None,
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        }]),
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let node_affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    node_affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![term],
    });
}

/// The node that a pod is tied to and not yet bound to.
pub(super) fn pinned_to(spec: &PodSpec) -> Option<&str> {
    let required = spec
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let [term] = required.node_selector_terms.as_slice() else {
        return None;
    };
    let [field] = term.match_fields.as_deref()? else {
        return None;
    };
    match (
        field.key.as_str(),
        field.operator.as_str(),
        field.values.as_deref()?,
    ) {
        ("metadata.name", "In", [name]) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{NodeSpec, Taint},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn node(labels: &[(&str, &str)], taints: &[(&str, &str)]) -> Node {
        let taint = |(key, effect): &(&str, &str)| Taint {
            key: (*key).to_owned(),
            effect: (*effect).to_owned(),
            ..Taint::default()
        };
        Node {
            metadata: ObjectMeta {
                name: Some("n1".to_owned()),
                labels: Some(
                    labels
                        .iter()
                        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                        .collect(),
                ),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                taints: Some(taints.iter().map(taint).collect()),
                ..NodeSpec::default()
            }),
            status: None,
        }
    }

    #[test]
    fn taints_decide_who_stays() {
        let spec = PodSpec::default();
        let table: [(&[(&str, &str)], Placement); 5] = [
            (&[], Placement::Run),
            (
                &[("node.kubernetes.io/unreachable", "NoExecute")],
                Placement::Run,
            ),
            (&[("mine", "PreferNoSchedule")], Placement::Run),
            (&[("mine", "NoSchedule")], Placement::Stay),
            (
                &[("mine", "NoSchedule"), ("worse", "NoExecute")],
                Placement::Leave,
            ),
        ];
        for (taints, expected) in table {
            assert_eq!(placement(&spec, &node(&[], taints)), expected, "{taints:?}");
        }
    }

    #[test]
    fn labels_and_names_select() {
        let mut spec = PodSpec {
            node_selector: Some([("disk".to_owned(), "ssd".to_owned())].into()),
            ..PodSpec::default()
        };
        assert_eq!(placement(&spec, &node(&[], &[])), Placement::Leave);
        assert_eq!(
            placement(&spec, &node(&[("disk", "ssd")], &[])),
            Placement::Run
        );
        spec.node_selector = None;
        pin(&mut spec, "n1");
        assert_eq!(
            (pinned_to(&spec), placement(&spec, &node(&[], &[]))),
            (Some("n1"), Placement::Run)
        );
        pin(&mut spec, "n2");
        assert_eq!(placement(&spec, &node(&[], &[])), Placement::Leave);
    }
}
