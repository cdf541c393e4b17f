//! Who has to go, from where, and what is said when nobody can.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time},
};

use crate::{
    algorithm::{FitError, Nomination},
    cache::Cache,
    listers::Listers,
    testing::{self, PodBuilder},
};

/// Nodes of four cores.
fn cluster(nodes: &[&str]) -> Cache {
    let mut cache = Cache::default();
    for name in nodes {
        cache.set_node(testing::node(name).allocatable("4", "8Gi").build());
    }
    cache
}

fn running(name: &str, priority: i32, cpu: &str) -> PodBuilder {
    testing::pod(name).priority(priority).requests(cpu, "0")
}

/// The node, and the victims, of what preemption decides for a pod that asks for `cpu`.
fn preempt(listers: Listers, cache: &Cache, pod: &PodBuilder) -> (String, Vec<String>) {
    match testing::schedule_over(listers, cache, pod)
        .unwrap_err()
        .nomination
    {
        Nomination::Preempt(preemption) => {
            let victims = preemption.victims.iter().map(|pod| pod.name.clone());
            (preemption.node, victims.collect())
        }
        other => panic!("{other:?}"),
    }
}

fn refused(cache: &Cache, pod: &PodBuilder) -> FitError {
    testing::schedule(cache, pod).unwrap_err()
}

fn budget(label: (&str, &str), allowed: i32) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: ObjectMeta {
            name: Some("budget".to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(LabelSelector {
                match_labels: Some([(label.0.to_owned(), label.1.to_owned())].into()),
                match_expressions: None,
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: Some(PodDisruptionBudgetStatus {
            disruptions_allowed: Some(allowed),
            ..PodDisruptionBudgetStatus::default()
        }),
    }
}

#[test]
fn as_few_as_possible_go_and_the_least_important_ones() {
    let mut cache = cluster(&["n1"]);
    cache.assume("n1", running("low", 1, "1").info());
    cache.assume("n1", running("lower", 0, "1").info());
    cache.assume("n1", running("high", 50, "1").info());
    cache.assume("n1", running("equal", 100, "1").info());
    let pod = running("p", 100, "1");
    assert_eq!(
        preempt(Listers::default(), &cache, &pod),
        ("n1".to_owned(), vec!["lower".to_owned()])
    );
    let pod = running("p", 100, "2");
    assert_eq!(
        preempt(Listers::default(), &cache, &pod).1,
        ["low", "lower"]
    );
}

#[test]
fn of_equal_priority_who_started_last_goes() {
    let mut cache = cluster(&["n1"]);
    cache.assume("n1", running("old", 1, "2").started(10).info());
    cache.assume("n1", running("young", 1, "2").started(20).info());
    let pod = running("p", 100, "2");
    assert_eq!(preempt(Listers::default(), &cache, &pod).1, ["young"]);
}

#[test]
fn the_node_where_it_costs_least_is_chosen() {
    // On n1 the highest victim is more important, on n2 more have to go, on n4 who started earlier.
    let mut cache = cluster(&["n1", "n2", "n3", "n4"]);
    cache.assume("n1", running("a", 5, "4").started(1).info());
    cache.assume("n2", running("b", 1, "2").started(1).info());
    cache.assume("n2", running("c", 1, "2").started(1).info());
    cache.assume("n3", running("d", 1, "4").started(9).info());
    cache.assume("n4", running("e", 1, "4").started(5).info());
    let pod = running("p", 100, "4");
    assert_eq!(
        preempt(Listers::default(), &cache, &pod),
        ("n3".to_owned(), vec!["d".to_owned()])
    );
}

#[test]
fn budgets_are_spared_where_that_is_possible() {
    let mut cache = cluster(&["n1", "n2"]);
    let guarded = running("a", 0, "4").labels(&[("app", "guarded")]);
    cache.assume("n1", guarded.info());
    cache.assume("n2", running("b", 9, "4").info());
    let pod = running("p", 100, "4");
    for (allowed, expected) in [(0, "n2"), (1, "n1")] {
        let listers = Listers::default();
        let budget = budget(("app", "guarded"), allowed);
        listers.disruption_budgets.insert(budget.into());
        assert_eq!(preempt(listers, &cache, &pod).0, expected);
    }
}

#[test]
fn nobody_is_moved_where_that_would_not_help() {
    let mut cache = cluster(&["n1", "n2"]);
    cache.set_node(testing::node("n3").cordoned().build());
    cache.assume("n1", running("a", 100, "4").info());
    cache.assume("n2", running("b", 0, "4").info());
    let error = refused(&cache, &running("p", 100, "5"));
    assert_eq!(
        error.message,
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. \
         preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    );
    assert!(matches!(error.nomination, Nomination::Clear));
    let error = refused(&cache, &running("p", 0, "4"));
    assert_eq!(
        error.message,
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. \
         preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, \
         2 No preemption victims found for incoming pod."
    );
}

#[test]
fn who_must_not_or_has_done_so_already_does_not_preempt() {
    let mut cache = cluster(&["n1"]);
    cache.assume("n1", running("a", 0, "4").info());
    let never = running("p", 100, "4").edit(|spec| {
        spec.preemption_policy = Some("Never".to_owned());
    });
    assert_eq!(
        refused(&cache, &never).message,
        "0/1 nodes are available: 1 Insufficient cpu. \
         preemption: not eligible due to preemptionPolicy=Never."
    );
    let leaving = running("a", 0, "4").with(|pod| {
        pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        let condition = serde_json::json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        });
        let condition = serde_json::from_value(condition).unwrap();
        pod.status.get_or_insert_default().conditions = Some(vec![condition]);
    });
    cache.assume("n1", leaving.info());
    let pod = running("p", 100, "4");
    cache.nominations().nominate(pod.info(), "n1");
    let error = refused(&cache, &pod);
    assert_eq!(
        error.message,
        "0/1 nodes are available: 1 Insufficient cpu. \
         preemption: not eligible due to a terminating pod on the nominated node."
    );
    assert!(matches!(error.nomination, Nomination::Keep));
}

#[test]
fn room_made_for_one_pod_is_not_taken_by_a_lesser_one() {
    let mut cache = cluster(&["n1"]);
    let important = running("important", 100, "3");
    cache.nominations().nominate(important.info(), "n1");
    let error = refused(&cache, &running("lesser", 50, "2"));
    assert!(error.message.contains("1 Insufficient cpu"), "{error:?}");
    assert!(testing::schedule(&cache, &running("greater", 200, "2")).is_ok());
    assert_eq!(testing::schedule(&cache, &important).unwrap().node, "n1");
}

#[test]
fn lesser_pods_that_wait_for_the_node_are_displaced() {
    let mut cache = cluster(&["n1"]);
    cache.assume("n1", running("a", 0, "4").info());
    cache
        .nominations()
        .nominate(running("lesser", 50, "2").info(), "n1");
    let error = refused(&cache, &running("p", 100, "4"));
    let Nomination::Preempt(preemption) = error.nomination else {
        panic!("{error:?}");
    };
    assert_eq!(preemption.displaced[0].name, "lesser");
}

#[test]
fn a_pod_that_is_in_the_way_by_its_port_goes() {
    let mut cache = cluster(&["n1"]);
    cache.assume("n1", testing::pod("web").host_port(80).info());
    cache.assume("n1", testing::pod("other").info());
    let pod = testing::pod("p").priority(1).host_port(80);
    assert_eq!(preempt(Listers::default(), &cache, &pod).1, ["web"]);
}
