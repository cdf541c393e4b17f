//! Applying manifests: each document by server-side apply, as `kubectl apply --server-side` does.

use std::time::Duration;

use anyhow::{Context as _, bail};
use client::{Client, Discovery, Patch, WatchEvent, WatchParams};
use k8s_openapi::api::apps::v1::Deployment;
use serde::Deserialize as _;
use serde_json::Value;

/// As whom fields are owned.
const FIELD_MANAGER: &str = "ironclad";
/// How long a rollout may take.
const ROLLOUT_PATIENCE: Duration = Duration::from_secs(300);

/// Something that was applied.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Applies all documents of `yaml`, in their order.
pub(crate) async fn apply(client: &Client, yaml: &str) -> anyhow::Result<Vec<Applied>> {
    let discovery = client
        .discover()
        .await
        .context("asking which resources there are")?;
    let mut applied = Vec::new();
    for document in documents(yaml)? {
        applied.push(apply_one(client, &discovery, document).await?);
    }
    Ok(applied)
}

fn documents(yaml: &str) -> anyhow::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for text in split(yaml) {
        let document =
            Value::deserialize(serde_saphyr::from_str::<Value>(&text).context("malformed YAML")?)?;
        match &document["items"] {
            Value::Array(items) if document["kind"] == "List" => {
                documents.extend(items.iter().cloned())
            }
            _ if document.is_null() => {}
            _ => documents.push(document),
        }
    }
    Ok(documents)
}

/// Documents are parted by lines of three dashes.
fn split(yaml: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in yaml.lines() {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let is_empty = |document: &String| {
        document
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    };
    documents
        .into_iter()
        .filter(|document| !is_empty(document))
        .collect()
}

async fn apply_one(
    client: &Client,
    discovery: &Discovery,
    object: Value,
) -> anyhow::Result<Applied> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let name = text(&object["metadata"]["name"]);
    let Some(resource) = discovery.resource_of(&api_version, &kind) else {
        bail!("no matches for kind {kind:?} in version {api_version:?}");
    };
    let namespace = match text(&object["metadata"]["namespace"]) {
        _ if !resource.namespaced => String::new(),
        none if none.is_empty() => "default".to_owned(),
        given => given,
    };
    let patch = Patch::Apply {
        object,
        field_manager: FIELD_MANAGER.to_owned(),
        force: true,
    };
    client
        .dynamic(&resource.gvr, namespace.as_str())
        .patch(&name, "", &patch)
        .await
        .with_context(|| format!("applying {kind} {name}"))?;
    Ok(Applied {
        kind,
        namespace,
        name,
    })
}

/// Waits until every Deployment among `applied` is available with all its replicas; `progress` hears how far it is.
pub(crate) async fn wait_available(
    client: &Client,
    applied: &[Applied],
    progress: impl Fn(&str),
) -> anyhow::Result<()> {
    for one in applied.iter().filter(|one| one.kind == "Deployment") {
        let rollout = wait_deployment(client, one, &progress);
        tokio::time::timeout(ROLLOUT_PATIENCE, rollout)
            .await
            .with_context(|| format!("Deployment {} was not available in time", one.name))??;
    }
    Ok(())
}

async fn wait_deployment(
    client: &Client,
    one: &Applied,
    progress: impl Fn(&str),
) -> anyhow::Result<()> {
    let deployments = client.api::<Deployment>(&one.namespace);
    let params = WatchParams {
        field_selector: Some(format!("metadata.name={}", one.name)),
        ..WatchParams::default()
    };
    loop {
        let mut watch = deployments.watch(&params).await?;
        while let Some(event) = watch.next().await {
            let (WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) = event? else {
                continue;
            };
            let wanted = deployment
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(1);
            let status = deployment.status.clone().unwrap_or_default();
            let available = status.available_replicas.unwrap_or(0);
            progress(&format!("{available} of {wanted} replicas available"));
            let is_seen = status.observed_generation >= deployment.metadata.generation;
            if is_seen && available >= wanted && status.updated_replicas.unwrap_or(0) >= wanted {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_and_lists_taken_apart() {
        let yaml =
            "# a comment\n---\nkind: A\n---\n\n---\nkind: List\nitems:\n  - kind: B\n  - kind: C\n";
        let kinds: Vec<String> = documents(yaml)
            .unwrap()
            .iter()
            .map(|d| d["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert!(documents("a: [").is_err());
    }
}
