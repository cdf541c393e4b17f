//! Spreading over zones and hosts.

use k8s_openapi::{
    api::core::v1::{Service, ServiceSpec, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use crate::{
    cache::Cache,
    listers::Listers,
    testing::{self, PodBuilder, schedule, schedule_over},
};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

fn constraint(key: &str, max_skew: i32, when: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        topology_key: key.to_owned(),
        max_skew,
        when_unsatisfiable: when.to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some([("app".to_owned(), "web".to_owned())].into()),
            match_expressions: None,
        }),
        ..TopologySpreadConstraint::default()
    }
}

fn web(name: &str) -> PodBuilder {
    testing::pod(name).labels(&[("app", "web")])
}

fn spread(name: &str, constraints: Vec<TopologySpreadConstraint>) -> PodBuilder {
    web(name).edit(|spec| spec.topology_spread_constraints = Some(constraints))
}

/// Two zones of two nodes; pods by node.
fn cluster(pods: &[usize; 4]) -> Cache {
    let mut cache = Cache::default();
    for (index, &count) in pods.iter().enumerate() {
        let name = format!("n{index}");
        let zone = if index < 2 { "a" } else { "b" };
        let node = testing::node(&name).labels(&[(ZONE, zone), (HOST, &name)]);
        cache.set_node(node.build());
        for pod in 0..count {
            cache.assume(&name, web(&format!("{name}-{pod}")).info());
        }
    }
    cache
}

#[test]
fn a_crowded_domain_takes_no_more() {
    let pod = spread("p", vec![constraint(ZONE, 1, "DoNotSchedule")]);
    let node = schedule(&cluster(&[1, 1, 1, 0]), &pod).unwrap().node;
    assert!(["n2", "n3"].contains(&node.as_str()), "{node}");
    let both = vec![
        constraint(ZONE, 1, "DoNotSchedule"),
        constraint(HOST, 1, "DoNotSchedule"),
    ];
    let node = schedule(&cluster(&[1, 1, 1, 0]), &spread("p", both.clone()));
    assert_eq!(node.unwrap().node, "n3");
    // By zones it belongs to b, by hosts nowhere but to a.
    let error = schedule(
        &cluster(&[2, 0, 1, 1]),
        &spread(
            "p",
            vec![
                constraint(HOST, 1, "DoNotSchedule"),
                TopologySpreadConstraint {
                    max_skew: 1,
                    min_domains: Some(3),
                    ..constraint(ZONE, 1, "DoNotSchedule")
                },
            ],
        ),
    )
    .unwrap_err();
    assert_eq!(
        error.message,
        "0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints. \
         preemption: 0/4 nodes are available: 4 No preemption victims found for incoming pod."
    );
}

#[test]
fn a_node_without_the_label_is_no_place() {
    let mut cache = Cache::default();
    cache.set_node(testing::node("n").build());
    let error = schedule(
        &cache,
        &spread("p", vec![constraint(ZONE, 1, "DoNotSchedule")]),
    );
    assert_eq!(
        error.unwrap_err().message,
        "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label). \
         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    );
}

#[test]
fn nodes_where_the_pod_cannot_go_are_left_out_or_counted_as_asked() {
    // Zone b is tainted: by default its emptiness counts, with Honor it does not.
    let mut cache = cluster(&[1, 1, 0, 0]);
    for name in ["n2", "n3"] {
        let node = testing::node(name).labels(&[(ZONE, "b"), (HOST, name)]);
        cache.set_node(node.taint("k", "v", "NoSchedule").build());
    }
    let ignoring = constraint(ZONE, 1, "DoNotSchedule");
    assert!(schedule(&cache, &spread("p", vec![ignoring.clone()])).is_err());
    let honoring = TopologySpreadConstraint {
        node_taints_policy: Some("Honor".to_owned()),
        ..ignoring
    };
    assert!(schedule(&cache, &spread("p", vec![honoring])).is_ok());
}

#[test]
fn revisions_are_told_apart_by_match_label_keys() {
    let mut cache = cluster(&[0, 0, 0, 0]);
    let old = |name: &str| testing::pod(name).labels(&[("app", "web"), ("rev", "1")]);
    for index in 0..3 {
        cache.assume("n0", old(&format!("old-{index}")).info());
    }
    let keyed = TopologySpreadConstraint {
        match_label_keys: Some(vec!["rev".to_owned()]),
        ..constraint(ZONE, 1, "DoNotSchedule")
    };
    let only_n0 = |builder: PodBuilder| {
        builder.edit(|spec| {
            spec.node_selector = Some([(HOST.to_owned(), "n0".to_owned())].into());
        })
    };
    let pod = spread("p", vec![keyed.clone()]).labels(&[("app", "web"), ("rev", "2")]);
    assert!(schedule(&cache, &only_n0(pod)).is_ok());
}

#[test]
fn preemption_takes_spreading_into_account() {
    use crate::algorithm::Nomination;
    let mut cache = Cache::default();
    for (name, zone) in [("n0", "a"), ("n1", "b")] {
        let labels = [(ZONE, zone), (HOST, name)];
        cache.set_node(
            testing::node(name)
                .allocatable("2", "8Gi")
                .labels(&labels)
                .build(),
        );
    }
    // Zone b is full of something else that is too important; zone a has one web pod too many.
    cache.assume(
        "n1",
        testing::pod("vip").priority(1000).requests("2", "0").info(),
    );
    cache.assume("n0", web("w").info());
    let pod = spread("p", vec![constraint(ZONE, 1, "DoNotSchedule")])
        .priority(10)
        .requests("1", "0");
    match schedule(&cache, &pod).unwrap_err().nomination {
        Nomination::Preempt(preemption) => {
            assert_eq!(preemption.node, "n0");
            assert_eq!(preemption.victims[0].name, "w");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn soft_constraints_prefer_the_emptier_domain() {
    let soft = |key| spread("p", vec![constraint(key, 1, "ScheduleAnyway")]);
    let node = schedule(&cluster(&[2, 2, 1, 0]), &soft(ZONE)).unwrap().node;
    assert!(["n2", "n3"].contains(&node.as_str()), "{node}");
    let node = schedule(&cluster(&[2, 1, 1, 0]), &soft(HOST)).unwrap().node;
    assert_eq!(node, "n3");
}

#[test]
fn the_pods_of_a_service_are_spread_by_default() {
    let listers = Listers::default();
    let service = Service {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            selector: Some([("app".to_owned(), "web".to_owned())].into()),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    listers.services.insert(service.into());
    let node = schedule_over(listers, &cluster(&[1, 1, 1, 0]), &web("p"));
    assert_eq!(node.unwrap().node, "n3");
}
