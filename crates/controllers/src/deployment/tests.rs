//! The plan of a Deployment, by tables.

use std::sync::Arc;

use client::Object as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{
            Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet,
            ReplicaSetStatus, RollingUpdateDeployment,
        },
        core::v1::{Container, Pod, PodSpec, PodStatus, PodTemplateSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta, Time},
        util::intstr::IntOrString,
    },
};

use super::{
    annotations,
    plan::{Action, Plan, plan},
    status, template,
};

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn labels() -> std::collections::BTreeMap<String, String> {
    [("app".to_owned(), "web".to_owned())].into()
}

/// A Deployment as the server defaults it: 25 % surge and unavailability.
pub(super) fn deployment(replicas: i32) -> Deployment {
    let quarter = || Some(IntOrString::String("25%".to_owned()));
    Deployment {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("ns".to_owned()),
            uid: Some("d-uid".to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some(labels()),
                match_expressions: None,
            },
            template: template_of("image:1"),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: quarter(),
                    max_unavailable: quarter(),
                }),
            }),
            progress_deadline_seconds: Some(600),
            revision_history_limit: Some(10),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn template_of(image: &str) -> PodTemplateSpec {
    let container = Container {
        name: "c".to_owned(),
        image: Some(image.to_owned()),
        ..Container::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            ..PodSpec::default()
        }),
    }
}

/// A ReplicaSet of the Deployment's template, of this size, with so many pods available.
pub(super) fn replica_set(
    deployment: &Deployment,
    name: &str,
    size: i32,
    available: i32,
) -> ReplicaSet {
    let mut set = template::new_replica_set(deployment);
    set.metadata.name = Some(name.to_owned());
    set.metadata.uid = Some(format!("{name}-uid"));
    set.metadata.creation_timestamp = Some(Time(now()));
    set.spec.as_mut().unwrap().replicas = Some(size);
    set.status = Some(ReplicaSetStatus {
        replicas: size,
        available_replicas: Some(available),
        ready_replicas: Some(available),
        ..ReplicaSetStatus::default()
    });
    set
}

/// One of an older template, `age` steps back.
fn old_set(deployment: &Deployment, age: u8, size: i32, available: i32) -> ReplicaSet {
    let mut past = deployment.clone();
    past.spec.as_mut().unwrap().template = template_of(&format!("image:old-{age}"));
    let mut set = replica_set(&past, &format!("web-old-{age}"), size, available);
    let created = now()
        .checked_sub(SignedDuration::from_secs(i64::from(age) * 60))
        .unwrap();
    set.metadata.creation_timestamp = Some(Time(created));
    annotations::set_new_replica_set_annotations(deployment, &mut set, i64::from(10 - age));
    annotations::set_replicas_annotations(deployment, &mut set);
    set
}

fn new_set(deployment: &Deployment, size: i32, available: i32) -> ReplicaSet {
    let mut set = replica_set(deployment, "web-new", size, available);
    annotations::set_new_replica_set_annotations(deployment, &mut set, 10);
    annotations::set_replicas_annotations(deployment, &mut set);
    set
}

fn plan_of(deployment: &Deployment, sets: &[&ReplicaSet]) -> Plan {
    let sets: Vec<Arc<ReplicaSet>> = sets.iter().map(|set| Arc::new((*set).clone())).collect();
    plan(deployment, &sets, &[], now())
}

/// Sizes that the plan sets, by name; `+` marks a creation.
fn sizes(plan: &Plan) -> Vec<(String, i32)> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::CreateReplicaSet(set) => Some(("+".to_owned(), set.spec.as_ref()?.replicas?)),
            Action::UpdateReplicaSet { set, from } if set.spec.as_ref()?.replicas? != *from => {
                Some((set.name().to_owned(), set.spec.as_ref()?.replicas?))
            }
            _ => None,
        })
        .collect()
}

fn status_of(plan: &Plan) -> DeploymentStatus {
    let written = plan.actions.iter().find_map(|action| match action {
        Action::UpdateStatus(deployment) => deployment.status.clone(),
        _ => None,
    });
    written.expect("the plan writes a status")
}

fn expect(plan: &Plan, expected: &[(&str, i32)]) {
    let expected: Vec<(String, i32)> = expected
        .iter()
        .map(|(name, size)| ((*name).to_owned(), *size))
        .collect();
    assert_eq!(sizes(plan), expected, "{plan:#?}");
}

#[test]
fn a_new_deployment_gets_a_replica_set_of_full_size() {
    let deployment = deployment(3);
    let plan = plan_of(&deployment, &[]);
    expect(&plan, &[("+", 3)]);
    let Action::CreateReplicaSet(set) = &plan.actions[0] else {
        panic!("{plan:?}")
    };
    let hash = set.label(template::HASH_LABEL).unwrap();
    assert_eq!(set.name(), format!("web-{hash}"));
    assert_eq!(set.annotation(annotations::REVISION), Some("1"));
    let selector = set
        .spec
        .as_ref()
        .unwrap()
        .selector
        .match_labels
        .as_ref()
        .unwrap();
    assert_eq!(selector[template::HASH_LABEL], hash);
    let progressing = status_of(&plan);
    let progressing = status::get(&progressing, status::PROGRESSING).unwrap();
    assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetCreated"));
}

#[test]
fn a_deployment_at_rest_needs_nothing() {
    let mut deployment = deployment(3);
    let set = new_set(&deployment, 3, 3);
    let first = plan_of(&deployment, &[&set]);
    let Some(Action::UpdateStatus(updated)) = first.actions.last() else {
        panic!("{first:?}")
    };
    deployment = (**updated).clone();
    let plan = plan_of(&deployment, &[&set]);
    assert_eq!(plan, Plan::default());
    let progressing = deployment.status.unwrap();
    let progressing = status::get(&progressing, status::PROGRESSING).unwrap();
    assert_eq!(
        progressing.reason.as_deref(),
        Some(status::NEW_RS_AVAILABLE)
    );
    assert_eq!(
        progressing.message.as_deref(),
        Some("ReplicaSet \"web-new\" has successfully progressed.")
    );
}

#[test]
fn a_rolling_update_step_by_step() {
    // 10 replicas, 25 %: at most 13 pods, at least 8 available.
    let deployment = deployment(10);
    /// Size and available pods.
    type Set = (i32, i32);
    type Sizes = &'static [(&'static str, i32)];
    let table: &[(Set, Set, Sizes)] = &[
        // (old size, available), (new size, available) → sizes
        ((10, 10), (0, 0), &[("web-new", 3)]),
        ((8, 8), (3, 0), &[("web-new", 5)]),
        ((8, 8), (5, 0), &[]),
        ((8, 8), (5, 2), &[("web-old-1", 6)]),
        ((6, 6), (5, 5), &[("web-new", 7)]),
        ((6, 4), (7, 7), &[("web-old-1", 1)]),
        ((1, 1), (9, 9), &[("web-new", 10)]),
        ((1, 1), (10, 9), &[("web-old-1", 0)]),
        ((0, 0), (10, 10), &[]),
    ];
    for (old, new, expected) in table {
        let old_set = old_set(&deployment, 1, old.0, old.1);
        let new_set = new_set(&deployment, new.0, new.1);
        let plan = plan_of(&deployment, &[&old_set, &new_set]);
        let mut got = sizes(&plan);
        let mut expected: Vec<(String, i32)> = expected
            .iter()
            .map(|(name, size)| ((*name).to_owned(), *size))
            .collect();
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "old {old:?} new {new:?}");
    }
}

#[test]
fn a_creation_and_the_first_removal_are_one_step() {
    let deployment = deployment(4);
    let old = old_set(&deployment, 1, 4, 4);
    expect(
        &plan_of(&deployment, &[&old]),
        &[("web-old-1", 3), ("+", 1)],
    );
}

#[test]
fn unhealthy_old_pods_go_first() {
    let deployment = deployment(4); // at most 5, at least 3
    let sick = old_set(&deployment, 2, 2, 0);
    let healthy = old_set(&deployment, 1, 2, 2);
    let new = new_set(&deployment, 1, 0);
    expect(
        &plan_of(&deployment, &[&sick, &healthy, &new]),
        &[("web-old-2", 1)],
    );
}

#[test]
fn recreate_waits_for_the_old_pods() {
    let mut deployment = deployment(2);
    deployment.spec.as_mut().unwrap().strategy = Some(DeploymentStrategy {
        type_: Some("Recreate".to_owned()),
        rolling_update: None,
    });
    let mut old = old_set(&deployment, 1, 2, 2);
    expect(&plan_of(&deployment, &[&old]), &[("web-old-1", 0)]);

    old.spec.as_mut().unwrap().replicas = Some(0);
    expect(&plan_of(&deployment, &[&old]), &[]);

    old.status.as_mut().unwrap().replicas = 0;
    let owner = client::Kind::controller_owner_reference(&old);
    let mut pod = Pod {
        metadata: ObjectMeta {
            name: Some("p".to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        status: Some(PodStatus {
            phase: Some("Running".to_owned()),
            ..PodStatus::default()
        }),
        ..Pod::default()
    };
    let sets = [Arc::new(old.clone())];
    let with_pod = |pod: &Pod| plan(&deployment, &sets, &[Arc::new(pod.clone())], now());
    expect(&with_pod(&pod), &[]);
    pod.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
    expect(&with_pod(&pod), &[("+", 2)]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    // At 10 (13 with surge) it had 8 old and 5 new; now it is to have 20 (25 with surge).
    let before = deployment(10);
    let old = old_set(&before, 1, 8, 8);
    let new = new_set(&before, 5, 0);
    let mut after = deployment(20);
    expect(
        &plan_of(&after, &[&old, &new]),
        &[("web-old-1", 15), ("web-new", 10)],
    );

    after = deployment(5); // 7 with surge
    expect(
        &plan_of(&after, &[&old, &new]),
        &[("web-old-1", 4), ("web-new", 3)],
    );

    after = deployment(0);
    expect(
        &plan_of(&after, &[&old, &new]),
        &[("web-old-1", 0), ("web-new", 0)],
    );
}

#[test]
fn scaling_at_rest_resizes_the_one() {
    let before = deployment(3);
    let set = new_set(&before, 3, 3);
    expect(&plan_of(&deployment(5), &[&set]), &[("web-new", 5)]);
    expect(&plan_of(&deployment(0), &[&set]), &[("web-new", 0)]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut deployment = deployment(4);
    deployment.spec.as_mut().unwrap().paused = Some(true);
    let old = old_set(&deployment, 1, 4, 4);
    let plan = plan_of(&deployment, &[&old]);
    expect(&plan, &[]);
    let status = status_of(&plan);
    let progressing = status::get(&status, status::PROGRESSING).unwrap();
    assert_eq!(
        (progressing.status.as_str(), progressing.reason.as_deref()),
        ("Unknown", Some("DeploymentPaused"))
    );
}

#[test]
fn a_rollout_without_progress_times_out() {
    let mut deployment = deployment(1);
    let new = new_set(&deployment, 1, 0);
    let first = plan_of(&deployment, &[&new]);
    let Some(Action::UpdateStatus(updated)) = first.actions.last() else {
        panic!("{first:?}")
    };
    deployment = (**updated).clone();
    assert_eq!(first.recheck_after.unwrap().as_secs(), 601);
    let later = |seconds| {
        now()
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap()
    };
    let sets = [Arc::new(new)];
    let waiting = plan(&deployment, &sets, &[], later(600));
    assert_eq!(
        (
            waiting.actions.len(),
            waiting.recheck_after.unwrap().as_secs()
        ),
        (0, 1)
    );
    let over = plan(&deployment, &sets, &[], later(601));
    let status = status_of(&over);
    let progressing = status::get(&status, status::PROGRESSING).unwrap();
    assert_eq!(progressing.reason.as_deref(), Some(status::TIMED_OUT));
    assert_eq!(progressing.status, "False");
    assert_eq!(over.recheck_after, None);
}

#[test]
fn history_beyond_the_limit_is_deleted_oldest_first() {
    let mut deployment = deployment(1);
    deployment.spec.as_mut().unwrap().revision_history_limit = Some(1);
    let new = new_set(&deployment, 1, 1);
    let first = plan_of(&deployment, &[&new]);
    let Some(Action::UpdateStatus(updated)) = first.actions.last() else {
        panic!("{first:?}")
    };
    deployment = (**updated).clone();
    let old: Vec<ReplicaSet> = (1..4).map(|age| old_set(&deployment, age, 0, 0)).collect();
    let plan = plan_of(&deployment, &[&old[0], &old[1], &old[2], &new]);
    let deleted: Vec<_> = plan
        .actions
        .iter()
        .filter(|action| matches!(action, Action::DeleteReplicaSet { .. }))
        .collect();
    assert_eq!(
        deleted,
        [
            &Action::DeleteReplicaSet {
                name: "web-old-3".to_owned()
            },
            &Action::DeleteReplicaSet {
                name: "web-old-2".to_owned()
            },
        ]
    );
}

#[test]
fn a_rollback_takes_the_old_replica_set_under_a_new_revision() {
    // The template is that of the old set again: `kubectl rollout undo` put it back.
    let current = deployment(2);
    let mut undone = deployment(2);
    undone.spec.as_mut().unwrap().template = template_of("image:old-1");
    let was_new = new_set(&current, 2, 2);
    let target = old_set(&current, 1, 0, 0);
    let plan = plan_of(&undone, &[&target, &was_new]);
    let update = plan.actions.iter().find_map(|action| match action {
        Action::UpdateReplicaSet { set, .. } if set.name() == "web-old-1" => Some(set),
        _ => None,
    });
    let set = update.expect("it grows");
    assert_eq!(set.annotation(annotations::REVISION), Some("11"));
    assert_eq!(set.spec.as_ref().unwrap().replicas, Some(1));
    let Some(Action::UpdateStatus(updated)) = plan.actions.last() else {
        panic!("{plan:?}")
    };
    assert_eq!(updated.annotation(annotations::REVISION), Some("11"));
}
