//! Near and far.

use k8s_openapi::{
    api::core::v1::{
        Affinity, Namespace, PodAffinity, PodAffinityTerm, PodAntiAffinity, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use crate::{
    algorithm::Nomination,
    cache::Cache,
    listers::Listers,
    testing::{self, PodBuilder, schedule, schedule_over},
};

const ZONE: &str = "topology.kubernetes.io/zone";

fn selector(app: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some([("app".to_owned(), app.to_owned())].into()),
        match_expressions: None,
    }
}

fn term(app: &str) -> PodAffinityTerm {
    PodAffinityTerm {
        label_selector: Some(selector(app)),
        topology_key: ZONE.to_owned(),
        ..PodAffinityTerm::default()
    }
}

fn app(name: &str, app: &str) -> PodBuilder {
    testing::pod(name).labels(&[("app", app)])
}

fn near(builder: PodBuilder, term: PodAffinityTerm) -> PodBuilder {
    builder.edit(|spec| {
        spec.affinity = Some(Affinity {
            pod_affinity: Some(PodAffinity {
                required_during_scheduling_ignored_during_execution: Some(vec![term]),
                ..PodAffinity::default()
            }),
            ..Affinity::default()
        });
    })
}

fn far(builder: PodBuilder, term: PodAffinityTerm) -> PodBuilder {
    builder.edit(|spec| {
        spec.affinity = Some(Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                required_during_scheduling_ignored_during_execution: Some(vec![term]),
                ..PodAntiAffinity::default()
            }),
            ..Affinity::default()
        });
    })
}

/// Zones a and b of one node each.
fn cluster() -> Cache {
    let mut cache = Cache::default();
    for (name, zone) in [("na", "a"), ("nb", "b")] {
        cache.set_node(testing::node(name).labels(&[(ZONE, zone)]).build());
    }
    cache
}

#[test]
fn required_affinity_and_anti_affinity() {
    let mut cache = cluster();
    cache.assume("nb", app("db", "db").info());
    let node = schedule(&cache, &near(app("p", "web"), term("db"))).unwrap();
    assert_eq!(node.node, "nb");
    let node = schedule(&cache, &far(app("p", "web"), term("db"))).unwrap();
    assert_eq!(node.node, "na");
    let error = schedule(&cache, &near(app("p", "web"), term("cache"))).unwrap_err();
    assert_eq!(
        error.message,
        "0/2 nodes are available: 2 node(s) didn't match pod affinity rules. \
         preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn the_first_of_a_group_that_wants_to_be_near_itself_goes_anywhere() {
    let mut cache = cluster();
    assert!(schedule(&cache, &near(app("p", "web"), term("web"))).is_ok());
    cache.assume("na", app("q", "web").info());
    let node = schedule(&cache, &near(app("p", "web"), term("web"))).unwrap();
    assert_eq!(node.node, "na");
}

#[test]
fn running_pods_keep_others_away() {
    let mut cache = cluster();
    for (node, name) in [("na", "x"), ("nb", "y")] {
        cache.assume(node, far(app(name, "shy"), term("web")).info());
    }
    let error = schedule(&cache, &app("p", "web")).unwrap_err();
    assert_eq!(
        error.message,
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules. \
         preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    );
    assert!(schedule(&cache, &app("p", "other")).is_ok());
    // Of who is more important they are not safe.
    match schedule(&cache, &app("p", "web").priority(1))
        .unwrap_err()
        .nomination
    {
        Nomination::Preempt(preemption) => assert_eq!(preemption.victims.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn terms_reach_into_namespaces_by_name_and_by_label() {
    let listers = Listers::default();
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some("team".to_owned()),
            labels: Some([("kind".to_owned(), "team".to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    listers.namespaces.insert(namespace.into());
    let mut cache = cluster();
    cache.assume("nb", app("db", "db").namespace("team").info());
    let try_with = |term| schedule_over(listers.clone(), &cache, &near(app("p", "web"), term));
    assert!(try_with(term("db")).is_err(), "its own namespace");
    let by_name = PodAffinityTerm {
        namespaces: Some(vec!["team".to_owned()]),
        ..term("db")
    };
    assert_eq!(try_with(by_name).unwrap().node, "nb");
    let by_label = PodAffinityTerm {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([("kind".to_owned(), "team".to_owned())].into()),
            match_expressions: None,
        }),
        ..term("db")
    };
    assert_eq!(try_with(by_label).unwrap().node, "nb");
    let everywhere = PodAffinityTerm {
        namespace_selector: Some(LabelSelector::default()),
        ..term("db")
    };
    assert_eq!(try_with(everywhere).unwrap().node, "nb");
}

#[test]
fn preferences_of_both_sides_count() {
    let prefer = |builder: PodBuilder, app: &str, near: bool| {
        let weighted = WeightedPodAffinityTerm {
            pod_affinity_term: term(app),
            weight: 50,
        };
        builder.edit(|spec| {
            let terms = Some(vec![weighted]);
            let affinity = if near {
                Affinity {
                    pod_affinity: Some(PodAffinity {
                        preferred_during_scheduling_ignored_during_execution: terms,
                        ..PodAffinity::default()
                    }),
                    ..Affinity::default()
                }
            } else {
                Affinity {
                    pod_anti_affinity: Some(PodAntiAffinity {
                        preferred_during_scheduling_ignored_during_execution: terms,
                        ..PodAntiAffinity::default()
                    }),
                    ..Affinity::default()
                }
            };
            spec.affinity = Some(affinity);
        })
    };
    let mut cache = cluster();
    cache.assume("nb", app("db", "db").info());
    for (pod, expected) in [
        (prefer(app("p", "web"), "db", true), "nb"),
        (prefer(app("p", "web"), "db", false), "na"),
    ] {
        assert_eq!(schedule(&cache, &pod).unwrap().node, expected);
    }
    for (near, expected) in [(true, "nb"), (false, "na")] {
        let mut cache = cluster();
        cache.assume("nb", prefer(app("db", "db"), "web", near).info());
        assert_eq!(schedule(&cache, &app("p", "web")).unwrap().node, expected);
    }
}
