//! The controllers against a real API server.

#![allow(
    clippy::unwrap_used,
    reason = "tests; the lint only knows functions marked as such"
)]

mod autoscaling;
mod harness;
mod late;
mod quotas;
mod schedules;
mod sets;
mod storage;

use std::{sync::Arc, time::Duration};

use client::{DeleteOptionsExt as _, Kind, Object as _, Patch};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        authentication::v1::TokenReview,
        batch::v1::Job,
        coordination::v1::Lease,
        core::v1::{
            ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
        },
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use self::{harness::ControlPlane, late::Late};

fn decode<K: Kind>(value: &Value) -> K {
    K::from_json(value.to_string().as_bytes()).unwrap()
}

fn deployment(name: &str, replicas: i32, image: &str) -> Deployment {
    decode(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
    }))
}

fn image_of(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.containers[0].image.as_deref())
        .unwrap_or_default()
}

fn is_complete(deployment: &Deployment, replicas: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == Some(replicas)
        && status.available_replicas == Some(replicas)
        && status.replicas == Some(replicas)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_is_undone_and_goes_with_all_it_owns() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let api = plane.client.api::<Deployment>("default");
    api.create(&deployment("web", 3, "image:1")).await.unwrap();
    let complete = |store: &client::Store<Deployment>| {
        store
            .get("default", "web")
            .is_some_and(|deployment| is_complete(&deployment, 3))
    };
    plane
        .wait::<Deployment>("the first rollout", complete)
        .await;

    let set_image = |image: &str| {
        Patch::Strategic(
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}),
        )
    };
    api.patch("web", &set_image("image:2")).await.unwrap();
    let all_run = |image: &'static str| {
        move |store: &client::Store<Pod>| {
            let pods = store.list_namespace("default");
            pods.len() == 3 && pods.iter().all(|pod| image_of(pod) == image)
        }
    };
    plane
        .wait::<Pod>("pods of the second template", all_run("image:2"))
        .await;
    plane
        .wait::<Deployment>("the second rollout", |store| {
            complete(store)
                && store
                    .get("default", "web")
                    .unwrap()
                    .annotation("deployment.kubernetes.io/revision")
                    == Some("2")
        })
        .await;
    let sets = plane
        .client
        .api::<ReplicaSet>("default")
        .list(&client::ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(sets.len(), 2);

    api.patch("web", &set_image("image:1")).await.unwrap();
    plane
        .wait::<Pod>("pods of the first template again", all_run("image:1"))
        .await;
    plane
        .wait::<Deployment>("the rollback", |store| {
            store
                .get("default", "web")
                .unwrap()
                .annotation("deployment.kubernetes.io/revision")
                == Some("3")
        })
        .await;
    plane
        .wait::<Event>("the scaling is told", |store| {
            store.list().iter().any(|event| {
                event.reason.as_deref() == Some("ScalingReplicaSet")
                    && event
                        .message
                        .as_deref()
                        .is_some_and(|m| m.starts_with("Scaled up replica set web-"))
            })
        })
        .await;

    api.delete("web", &DeleteOptions::propagation("Foreground"))
        .await
        .unwrap();
    plane
        .wait::<Deployment>("the deployment is gone", |store| store.is_empty())
        .await;
    plane
        .wait::<ReplicaSet>("its replica sets are gone", |store| store.is_empty())
        .await;
    plane
        .wait::<Pod>("its pods are gone", |store| store.is_empty())
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn background_deletion_collects_and_orphaning_does_not() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let api = plane.client.api::<Deployment>("default");
    for name in ["kept", "dropped"] {
        api.create(&deployment(name, 2, "image:1")).await.unwrap();
    }
    plane
        .wait::<Deployment>("both rollouts", |store| {
            store.len() == 2
                && store
                    .list()
                    .iter()
                    .all(|deployment| is_complete(deployment, 2))
        })
        .await;
    api.delete("kept", &DeleteOptions::propagation("Orphan"))
        .await
        .unwrap();
    api.delete("dropped", &DeleteOptions::propagation("Background"))
        .await
        .unwrap();
    plane
        .wait::<ReplicaSet>("one replica set is left, nobody's", |store| {
            let sets = store.list();
            sets.len() == 1
                && sets[0].owner_references().is_empty()
                && sets[0].label("app") == Some("kept")
        })
        .await;
    plane
        .wait::<Pod>("two pods are left", |store| {
            store.len() == 2
                && store
                    .list()
                    .iter()
                    .all(|pod| pod.label("app") == Some("kept"))
        })
        .await;
    plane
        .wait::<Deployment>("both deployments are gone", |store| store.is_empty())
        .await;
    // Made again, the deployment adopts them.
    api.create(&deployment("kept", 2, "image:1")).await.unwrap();
    plane
        .wait::<ReplicaSet>("the adoption", |store| {
            let sets = store.list();
            sets.len() == 1
                && sets[0]
                    .controller_ref()
                    .is_some_and(|owner| owner.name == "kept")
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_that_the_collector_has_not_heard_of_are_orphaned_too() {
    let (time, is_time) = watch::channel(true);
    let tasks = base::TaskGroup::default();
    let plane = ControlPlane::start_by(controllers::Config::default(), |transport| {
        Arc::new(Late {
            transport,
            resource: "/configmaps",
            is_time: is_time.clone(),
            tasks: tasks.clone(),
        })
    })
    .await;
    let owners = plane.client.api::<Secret>("default");
    let dependents = plane.client.api::<ConfigMap>("default");
    let make = async |name: &str, owner: &str, uid: &str| {
        let metadata = json!({"name": name, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Secret", "name": owner, "uid": uid},
        ]});
        let made = decode(&json!({ "metadata": metadata }));
        dependents.create(&made).await.unwrap();
    };
    let collected = async |name: &'static str| {
        let gone = |store: &client::Store<ConfigMap>| store.get("default", name).is_none();
        plane.wait::<ConfigMap>("garbage is collected", gone).await;
    };
    // The collector works; from now on it hears nothing of ConfigMaps.
    make("first", "nobody", "0").await;
    collected("first").await;
    time.send_replace(false);
    let owner = json!({"metadata": {"name": "owner"}});
    let owner = owners.create(&decode(&owner)).await.unwrap();
    make("kept", "owner", owner.uid()).await;
    owners
        .delete("owner", &DeleteOptions::propagation("Orphan"))
        .await
        .unwrap();
    plane
        .wait::<Secret>("the owner is gone", |store| store.is_empty())
        .await;
    // It catches up, and has looked at whatever came before what it collects now.
    time.send_replace(true);
    make("last", "nobody", "1").await;
    collected("last").await;
    let kept = dependents.get("kept").await.unwrap();
    assert_eq!(kept.owner_references(), []);
    tasks.shutdown().await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_its_pods() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    plane
        .client
        .api::<Deployment>("default")
        .create(&deployment("web", 3, "image:1"))
        .await
        .unwrap();
    let service: Service = decode(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }));
    plane
        .client
        .api::<Service>("default")
        .create(&service)
        .await
        .unwrap();
    let addresses = |store: &client::Store<EndpointSlice>| -> usize {
        let slices = store.list();
        let ours = slices
            .iter()
            .filter(|slice| slice.label("kubernetes.io/service-name") == Some("web"));
        ours.flat_map(|slice| slice.endpoints.iter().flatten())
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true))
            .count()
    };
    plane
        .wait::<EndpointSlice>("three endpoints", |store| addresses(store) == 3)
        .await;
    plane
        .wait::<Endpoints>("three addresses", |store| {
            let count = |endpoints: &Endpoints| -> usize {
                endpoints
                    .subsets
                    .iter()
                    .flatten()
                    .flat_map(|subset| subset.addresses.iter().flatten())
                    .count()
            };
            store
                .get("default", "web")
                .is_some_and(|endpoints| count(&endpoints) == 3)
        })
        .await;
    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    plane
        .client
        .api::<Deployment>("default")
        .patch("web", &scale)
        .await
        .unwrap();
    plane
        .wait::<EndpointSlice>("one endpoint", |store| addresses(store) == 1)
        .await;
    plane
        .client
        .api::<Service>("default")
        .delete("web", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<EndpointSlice>("no slice", |store| {
            store
                .list()
                .iter()
                .all(|slice| slice.label("kubernetes.io/service-name") != Some("web"))
        })
        .await;
    plane
        .wait::<Endpoints>("no endpoints", |store| {
            store.get("default", "web").is_none()
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_furnished_and_emptied() {
    let config = controllers::Config {
        root_ca: Some("PEM".to_owned()),
        ..controllers::Config::default()
    };
    let plane = ControlPlane::start(config).await;
    let namespaces = plane.client.api::<Namespace>("");
    let team: Namespace =
        decode(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}));
    namespaces.create(&team).await.unwrap();
    plane
        .wait::<ServiceAccount>("its service account", |store| {
            store.get("team", "default").is_some()
        })
        .await;
    plane
        .wait::<ConfigMap>("its root CA", |store| {
            let data = store
                .get("team", "kube-root-ca.crt")
                .and_then(|map| map.data.clone());
            data.is_some_and(|data| data.get("ca.crt").map(String::as_str) == Some("PEM"))
        })
        .await;
    let mut web = deployment("web", 2, "image:1");
    web.metadata.namespace = Some("team".to_owned());
    plane
        .client
        .api::<Deployment>("team")
        .create(&web)
        .await
        .unwrap();
    plane
        .wait::<Pod>("its pods", |store| store.list_namespace("team").len() == 2)
        .await;

    namespaces
        .delete("team", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<Namespace>("the namespace is gone", |store| {
            store.get("", "team").is_none()
        })
        .await;
    plane
        .wait::<Pod>("its pods are gone", |store| {
            store.list_namespace("team").is_empty()
        })
        .await;
    plane
        .wait::<ConfigMap>("its root CA is gone", |store| {
            store.list_namespace("team").is_empty()
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_left_by_its_pods() {
    let config = controllers::Config {
        node_monitor_period: Duration::from_millis(100),
        // Longer than the control plane takes to start: node-1 is heard of only after that.
        node_monitor_grace_period: Duration::from_secs(8),
        allocate_node_cidrs: true,
        cluster_cidr: vec!["10.244.0.0/16".to_owned()],
        ..controllers::Config::default()
    };
    let plane = ControlPlane::start(config).await;
    plane.keep_alive("node-1");
    plane.create_node("node-2").await;
    let pod: Pod = decode(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "stranded", "namespace": "default"},
        "spec": {
            "nodeName": "node-2",
            "containers": [{"name": "c", "image": "i"}],
            "tolerations": [{
                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1,
            }],
        },
    }));
    plane
        .client
        .api::<Pod>("default")
        .create(&pod)
        .await
        .unwrap();
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    plane
        .client
        .api::<Pod>("default")
        .patch_status("stranded", &Patch::Strategic(ready))
        .await
        .unwrap();

    let tainted = |store: &client::Store<Node>, name: &str| -> usize {
        let node = store.get("", name);
        let taints = node
            .and_then(|node| node.spec.clone())
            .and_then(|spec| spec.taints)
            .unwrap_or_default();
        taints
            .iter()
            .filter(|taint| taint.key == "node.kubernetes.io/unreachable")
            .count()
    };
    plane
        .wait::<Node>(
            "both taints on the silent node, none on the other",
            |store| tainted(store, "node-2") == 2 && tainted(store, "node-1") == 0,
        )
        .await;
    plane
        .wait::<Pod>("its pod is neither ready nor wanted", |store| {
            let pod = store.get("default", "stranded").unwrap();
            let conditions = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            pod.is_being_deleted()
                && conditions
                    .iter()
                    .any(|c| c.type_ == "Ready" && c.status == "False")
        })
        .await;
    plane
        .wait::<Node>("a range for each", |store| {
            let ranges: std::collections::BTreeSet<String> = store
                .list()
                .iter()
                .filter_map(|node| node.spec.as_ref()?.pod_cidr.clone())
                .collect();
            ranges.len() == 2 && ranges.iter().all(|range| range.ends_with(".0/24"))
        })
        .await;
    plane.keep_alive("node-2");
    let back = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-02-01T00:00:00Z"},
    ]}});
    plane
        .client
        .api::<Node>("")
        .patch_status("node-2", &Patch::Strategic(back))
        .await
        .unwrap();
    plane
        .wait::<Node>("no taint on the node that is back", |store| {
            tainted(store, "node-2") == 0
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_finishes_what_the_last_one_began() {
    let elected = |identity: &str| controllers::Config {
        leader_election: Some(client::LeaderElectionConfig::new(
            "kube-controller-manager",
            identity,
        )),
        ..controllers::Config::default()
    };
    // The harness' own wait for the service account ends only once there is a leader.
    let none = controllers::Config {
        controllers: vec!["serviceaccount-controller".to_owned()],
        ..controllers::Config::default()
    };
    let plane = ControlPlane::start(none).await;
    let first = plane.run_controllers(elected("first"));
    let api = plane.client.api::<Deployment>("default");
    api.create(&deployment("web", 10, "image:1")).await.unwrap();
    plane
        .wait::<Deployment>("the first rollout", |store| {
            store
                .get("default", "web")
                .is_some_and(|deployment| is_complete(&deployment, 10))
        })
        .await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "image:2"}]}}}});
    api.patch("web", &Patch::Strategic(image)).await.unwrap();
    plane
        .wait::<Pod>("the second rollout has begun", |store| {
            store.list().iter().any(|pod| image_of(pod) == "image:2")
        })
        .await;
    first.shutdown().await;
    let _second = plane.run_controllers(elected("second"));
    plane
        .wait::<Deployment>("the second rollout is through", |store| {
            let deployment = store.get("default", "web").unwrap();
            is_complete(&deployment, 10)
                && deployment.annotation("deployment.kubernetes.io/revision") == Some("2")
        })
        .await;
    plane
        .wait::<Pod>("ten pods, all new", |store| {
            let pods = store.list();
            pods.len() == 10 && pods.iter().all(|pod| image_of(pod) == "image:2")
        })
        .await;
    let lease = plane
        .client
        .api::<Lease>("kube-system")
        .get("kube-controller-manager")
        .await
        .unwrap();
    assert_eq!(
        lease.spec.unwrap().holder_identity.as_deref(),
        Some("second")
    );
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_counts_each_pod_once() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let job: Job = decode(&json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {
            "completions": 5, "parallelism": 2,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
        },
    }));
    plane
        .client
        .api::<Job>("default")
        .create(&job)
        .await
        .unwrap();
    // Its kubelet ends what runs.
    let client = plane.client.clone();
    let ended = plane.wait::<Job>("the job is complete", |store| {
        let status = store
            .get("default", "work")
            .and_then(|job| job.status.clone())
            .unwrap_or_default();
        let complete = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Complete" && c.status == "True");
        complete && status.succeeded == Some(5) && status.active.is_none()
    });
    let end_pods = async {
        loop {
            let pods = client
                .api::<Pod>("default")
                .list(&client::ListParams::default())
                .await
                .unwrap()
                .items;
            let running = |pod: &&Pod| {
                pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
            };
            for pod in pods.iter().filter(running) {
                let status = json!({"status": {"phase": "Succeeded"}});
                client
                    .api::<Pod>("default")
                    .patch_status(pod.name(), &Patch::Strategic(status))
                    .await
                    .unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = end_pods => {}
    }
    plane
        .wait::<Pod>("five pods, none held", |store| {
            store.len() == 5
                && store
                    .list()
                    .iter()
                    .all(|pod| pod.metadata.finalizers.is_none())
        })
        .await;
    plane
        .client
        .api::<Job>("default")
        .delete("work", &DeleteOptions::propagation("Background"))
        .await
        .unwrap();
    plane
        .wait::<Pod>("its pods are gone", |store| store.is_empty())
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_ones_own_are_mirrored() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let service: Service = decode(&json!({
        "metadata": {"name": "outside"}, "spec": {"ports": [{"name": "http", "port": 80}]},
    }));
    let services = plane.client.api::<Service>("default");
    services.create(&service).await.unwrap();
    let endpoints: Endpoints = decode(&json!({
        "metadata": {"name": "outside", "labels": {"from": "hand"}},
        "subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"name": "http", "port": 80}]}],
    }));
    let api = plane.client.api::<Endpoints>("default");
    api.create(&endpoints).await.unwrap();
    let mirrored = |address: &'static str| {
        move |store: &client::Store<EndpointSlice>| {
            let slices = store.list_namespace("default");
            let mut ours = slices
                .iter()
                .filter(|slice| slice.label("kubernetes.io/service-name") == Some("outside"));
            ours.next().is_some_and(|slice| {
                let endpoints = slice.endpoints.as_deref().unwrap_or_default();
                slice.label("from") == Some("hand")
                    && endpoints.iter().any(|e| e.addresses == [address])
            }) && ours.next().is_none()
        }
    };
    plane
        .wait::<EndpointSlice>("the mirror", mirrored("10.1.2.3"))
        .await;
    let moved = json!({"subsets": [{"addresses": [{"ip": "10.1.2.4"}], "ports": [{"name": "http", "port": 80}]}]});
    api.patch("outside", &Patch::Strategic(moved))
        .await
        .unwrap();
    plane
        .wait::<EndpointSlice>("the mirror follows", mirrored("10.1.2.4"))
        .await;
    api.delete("outside", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<EndpointSlice>("the mirror goes", |store| {
            let mut all = store.list_namespace("default").into_iter();
            !all.any(|slice| slice.label("kubernetes.io/service-name") == Some("outside"))
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_gets_the_token_of_its_account() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let accounts = plane.client.api::<ServiceAccount>("default");
    accounts
        .create(&decode(&json!({"metadata": {"name": "robot"}})))
        .await
        .unwrap();
    let secret: Secret = decode(&json!({
        "metadata": {"name": "robot-token", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token",
    }));
    let secrets = plane.client.api::<Secret>("default");
    secrets.create(&secret).await.unwrap();
    let token = |store: &client::Store<Secret>| {
        let secret = store.get("default", "robot-token")?;
        String::from_utf8(secret.data.as_ref()?.get("token")?.0.clone()).ok()
    };
    plane
        .wait::<Secret>("the token", |store| token(store).is_some())
        .await;
    let token = token(plane.informers.informer::<Secret>().store()).unwrap();
    let review: TokenReview = decode(&json!({"metadata": {}, "spec": {"token": token}}));
    let reviewed = plane.client.api::<TokenReview>("").create(&review).await;
    let user = reviewed.unwrap().status.and_then(|status| status.user);
    assert_eq!(
        user.and_then(|user| user.username).as_deref(),
        Some("system:serviceaccount:default:robot")
    );
    accounts
        .delete("robot", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<Secret>("the secret goes with the account", |store| {
            store.get("default", "robot-token").is_none()
        })
        .await;
    plane.stop().await;
}
