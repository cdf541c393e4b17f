//! The `kube` crate, which Rust's operators are written with: typed and dynamic APIs, a reflector, server-side apply, exec.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, future};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{AttachParams, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    discovery::{self, Scope},
    runtime::{WatchStreamExt as _, conditions, reflector, wait, watcher},
};
use serde_json::json;
use testing::{Cluster, Options};
use tokio::io::AsyncReadExt as _;

const NAMESPACE: &str = "rust";
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn kube() {
    let cluster = Cluster::start(Options::default()).expect("the cluster starts");
    let run = || -> anyhow::Result<()> {
        // The cluster's addresses exist in its network namespace alone.
        cluster.netns().door()?.enter()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, Box::pin(steps(&cluster))).await? })
    };
    run().unwrap_or_else(|error| panic!("{error:#}\nserver's log:\n{}", cluster.log()));
}

async fn steps(cluster: &Cluster) -> anyhow::Result<()> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))?;
    namespaces
        .create(&PostParams::default(), &namespace)
        .await?;

    typed(&client).await?;
    reflected(&client).await?;
    applied(&client).await?;
    dynamic(&client).await?;
    pod(&client).await?;
    namespaces
        .delete(NAMESPACE, &DeleteParams::default())
        .await?;
    Ok(())
}

fn settings(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([("app".to_owned(), "typed".to_owned())])),
            ..Default::default()
        },
        data: Some(BTreeMap::from([("a".to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    }
}

/// Writes, conflicts, pages.
async fn typed(client: &Client) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let stale = api
        .create(&PostParams::default(), &settings("one", "1"))
        .await?;
    let mut fresh = stale.clone();
    fresh.data = Some(BTreeMap::new());
    api.replace("one", &PostParams::default(), &fresh).await?;
    let conflict = api.replace("one", &PostParams::default(), &stale).await;
    assert!(matches!(conflict, Err(kube::Error::Api(status)) if status.is_conflict()));
    assert!(api.get_opt("nothing").await?.is_none());

    for name in ["two", "three"] {
        api.create(&PostParams::default(), &settings(name, "1"))
            .await?;
    }
    let mut pages = ListParams::default().labels("app=typed").limit(2);
    let first = api.list(&pages).await?;
    assert_eq!(
        first.metadata.remaining_item_count, None,
        "upstream counts no selected lists"
    );
    pages = pages.continue_token(first.metadata.continue_.as_deref().unwrap_or_default());
    let second = api.list(&pages).await?;
    let names = first.iter().chain(second.iter()).map(|one| one.name_any());
    assert_eq!(names.collect::<Vec<_>>(), ["one", "three", "two"]);
    let metadata = api
        .list_metadata(&ListParams::default().labels("app=typed"))
        .await?;
    assert_eq!(metadata.items.len(), 3);
    api.delete_collection(
        &DeleteParams::default(),
        &ListParams::default().labels("app=typed"),
    )
    .await?;
    Ok(())
}

/// A reflector, by list and watch and by a streaming list, sees what is there and what comes.
async fn reflected(client: &Client) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        api.create(&PostParams::default(), &settings("before", "1"))
            .await?;
        let (reader, writer) = reflector::store();
        let mut changes = reflector(writer, watcher(api.clone(), config.labels("app=typed")))
            .touched_objects()
            .boxed();
        assert_eq!(
            changes
                .try_next()
                .await?
                .map(|one| one.name_any())
                .as_deref(),
            Some("before")
        );
        api.create(&PostParams::default(), &settings("after", "1"))
            .await?;
        while let Some(changed) = changes.try_next().await? {
            if changed.name_any() == "after" {
                break;
            }
        }
        assert_eq!(reader.len(), 2);
        for name in ["before", "after"] {
            api.delete(name, &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

/// Server-side apply by two managers, and the conflict between them.
async fn applied(client: &Client) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deployment = |replicas: u32| {
        Patch::Apply(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "applied" },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": "applied" } },
                "template": {
                    "metadata": { "labels": { "app": "applied" } },
                    "spec": { "containers": [{ "name": "main", "image": "busybox.test/busybox:1" }] },
                },
            },
        }))
    };
    let one = PatchParams::apply("one");
    api.patch("applied", &one, &deployment(0)).await?;
    let two = api
        .patch("applied", &PatchParams::apply("two"), &deployment(1))
        .await;
    assert!(
        matches!(&two, Err(kube::Error::Api(status)) if status.message.contains("conflict with \"one\": .spec.replicas")),
        "{two:?}"
    );
    let forced = api
        .patch(
            "applied",
            &PatchParams::apply("two").force(),
            &deployment(0),
        )
        .await?;
    let applied = forced.managed_fields().iter();
    let applied = applied.filter(|entry| entry.operation.as_deref() == Some("Apply"));
    // Who changed nothing has no time, and stands before those who have one.
    let managers = applied.filter_map(|entry| entry.manager.as_deref());
    assert_eq!(managers.collect::<Vec<_>>(), ["two", "one"]);
    let scale = api.get_scale("applied").await?;
    // Zero is left out, as upstream has it.
    assert_eq!(scale.spec.map(|spec| spec.replicas), Some(None));
    api.delete("applied", &DeleteParams::foreground()).await?;
    wait::await_condition(
        api,
        "applied",
        conditions::is_deleted(&forced.uid().unwrap_or_default()),
    )
    .await?;
    Ok(())
}

/// Kinds found by discovery.
async fn dynamic(client: &Client) -> anyhow::Result<()> {
    let group = discovery::group(client, "rbac.authorization.k8s.io").await?;
    let (role, capabilities) = group
        .recommended_kind("Role")
        .ok_or_else(|| anyhow::anyhow!("no Role in discovery"))?;
    assert_eq!(capabilities.scope, Scope::Namespaced);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &role);
    let made = DynamicObject::new("reader", &role).data(json!({
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }],
    }));
    api.create(&PostParams::default(), &made).await?;
    let patch = json!({ "metadata": { "labels": { "a": "b" } } });
    let patched = api
        .patch("reader", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    assert_eq!(patched.labels().get("a").map(String::as_str), Some("b"));
    Ok(())
}

/// A pod runs; its log is read and a command runs in it.
async fn pod(client: &Client) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pod = serde_json::from_value(json!({
        "metadata": { "name": "rust" },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main",
                "image": "busybox.test/busybox:1",
                "command": ["sh", "-c", "echo from the pod; sleep 1000"],
            }],
        },
    }))?;
    api.create(&PostParams::default(), &pod).await?;
    wait::await_condition(api.clone(), "rust", conditions::is_pod_running()).await?;
    let mut attached = api
        .exec(
            "rust",
            ["sh", "-c", "echo $((6 * 7))"],
            &AttachParams::default(),
        )
        .await?;
    let mut said = String::new();
    let mut stdout = attached
        .stdout()
        .ok_or_else(|| anyhow::anyhow!("no standard output"))?;
    let (read, ended) = future::join(stdout.read_to_string(&mut said), async {
        match attached.take_status() {
            Some(status) => status.await,
            None => None,
        }
    })
    .await;
    read?;
    assert_eq!(said, "42\n");
    assert_eq!(
        ended.and_then(|status| status.status).as_deref(),
        Some("Success")
    );
    let log = api.logs("rust", &kube::api::LogParams::default()).await?;
    assert_eq!(log, "from the pod\n");
    Ok(())
}
