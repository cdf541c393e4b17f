//! A resize granted, deferred, carried out and told; records that outlive a kubelet.

use std::{path::PathBuf, sync::Arc};

use base::Clock;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{
    AllocationManager, ContainerResize, IN_PROGRESS, PENDING, PodResources, container_resize,
};
use crate::{admission::Refusal, events::PodEvents, paths::Paths, pod::containers};

struct Fixture {
    manager: AllocationManager,
    root: PathBuf,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn fixture(name: &str) -> Fixture {
    let root = std::env::temp_dir().join(format!("allocation-{name}-{}", std::process::id()));
    Fixture {
        manager: manager(&root),
        root,
    }
}

fn manager(root: &std::path::Path) -> AllocationManager {
    let paths = Paths::new(root, root.join("logs"));
    AllocationManager::new(paths, PodEvents::new(None), Clock::system())
}

fn pod(cpu: &str, generation: i64) -> Arc<Pod> {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u1", "generation": generation},
        "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn cpu(pod: &Pod) -> String {
    let resources = containers(pod)[0].resources.clone().unwrap();
    resources.requests.unwrap()["cpu"].0.clone()
}

fn refusal() -> Refusal {
    Refusal {
        reason: "OutOfcpu",
        message: "too much".to_owned(),
    }
}

#[test]
fn a_resize_is_granted_carried_out_and_ended() {
    let fixture = fixture("granted");
    let manager = &fixture.manager;
    manager.add(&pod("100m", 1));
    let new = pod("200m", 2);
    assert_eq!(cpu(&manager.allocated(&new)), "100m");
    assert!(manager.judge(&new, |_| Ok(())));
    assert_eq!(cpu(&manager.allocated(&new)), "200m");
    let conditions = manager.conditions("u1");
    assert_eq!(conditions.len(), 1);
    assert_eq!(
        (
            conditions[0].type_.as_str(),
            conditions[0].observed_generation
        ),
        (IN_PROGRESS, Some(2))
    );
    manager.fail(&new, "no");
    assert_eq!(manager.conditions("u1")[0].reason.as_deref(), Some("Error"));
    // Trying again does not hide the error.
    manager.progress(&new, true);
    assert_eq!(manager.conditions("u1")[0].message.as_deref(), Some("no"));
    manager.progress(&new, false);
    assert!(manager.conditions("u1").is_empty());
}

#[test]
fn a_resize_that_does_not_fit_waits_until_it_does_or_is_taken_back() {
    let fixture = fixture("deferred");
    let manager = &fixture.manager;
    manager.add(&pod("100m", 1));
    let new = pod("8", 2);
    assert!(manager.judge(&new, |_| Err(refusal())));
    // Told once.
    assert!(!manager.judge(&new, |_| Err(refusal())));
    let condition = &manager.conditions("u1")[0];
    assert_eq!(condition.type_, PENDING);
    assert_eq!(condition.reason.as_deref(), Some("Deferred"));
    assert_eq!(condition.message.as_deref(), Some("too much"));
    assert_eq!(cpu(&manager.allocated(&new)), "100m");
    // What means the same is no resize.
    let back = pod("0.1", 3);
    assert!(!manager.wants_resize(&back));
    assert!(!manager.judge(&back, |_| panic!("nothing to judge")));
    assert!(manager.conditions("u1").is_empty());
}

#[test]
fn what_was_granted_outlives_the_kubelet() {
    let fixture = fixture("restart");
    fixture.manager.add(&pod("100m", 1));
    let next = manager(&fixture.root);
    let new = pod("200m", 2);
    next.add(&new);
    assert!(next.wants_resize(&new));
    assert_eq!(cpu(&next.allocated(&new)), "100m");
    // A torn record is as good as none.
    let file = Paths::new(&fixture.root, "").resources("u1");
    std::fs::write(file, "{\"alloc").unwrap();
    let third = manager(&fixture.root);
    third.add(&new);
    assert!(!third.wants_resize(&new));
}

#[test]
fn resize_policies_decide_about_restarts() {
    let with = |resources: serde_json::Value| -> k8s_openapi::api::core::v1::Container {
        serde_json::from_value(json!({"name": "a", "resources": resources,
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}))
        .unwrap()
    };
    let mut actuated = PodResources::default();
    assert_eq!(container_resize(&with(json!({})), &actuated), None);
    let before = with(json!({"requests": {"cpu": "1"}, "limits": {"memory": "20Mi"}}));
    actuated
        .containers
        .insert("a".to_owned(), before.resources.clone().unwrap());
    assert_eq!(container_resize(&before, &actuated), None);
    let cpu = with(json!({"requests": {"cpu": "2"}, "limits": {"memory": "20Mi"}}));
    assert_eq!(
        container_resize(&cpu, &actuated),
        Some(ContainerResize::InPlace { memory_below: None })
    );
    let memory = with(json!({"requests": {"cpu": "1"}, "limits": {"memory": "10Mi"}}));
    assert_eq!(
        container_resize(&memory, &actuated),
        Some(ContainerResize::Restart)
    );
    let mut quiet = memory.clone();
    quiet.resize_policy = None;
    assert_eq!(
        container_resize(&quiet, &actuated),
        Some(ContainerResize::InPlace {
            memory_below: Some(10 << 20)
        })
    );
}
