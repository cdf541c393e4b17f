//! The controllers against a real API server.

mod harness;

use client::{DeleteOptionsExt as _, Kind, Object as _, Patch};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{ConfigMap, Endpoints, Event, Namespace, Pod, Service, ServiceAccount},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};

use self::harness::ControlPlane;

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
    for left in [
        plane
            .informers
            .informer::<Pod>()
            .store()
            .list_namespace("team")
            .len(),
        plane
            .informers
            .informer::<ConfigMap>()
            .store()
            .list_namespace("team")
            .len(),
    ] {
        assert_eq!(left, 0);
    }
    plane.stop().await;
}
