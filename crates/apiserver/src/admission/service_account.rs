//! ServiceAccount: every pod runs as a service account, and finds its token where clients look for it.
//!
//! The token is a projected volume `kube-api-access-*`: a bound token that the kubelet renews, the cluster's authority, and the namespace.

use std::{sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use async_trait::async_trait;
use base::Clock;
use serde_json::{Value, json};

use super::{Admission, Operation, Plugin};
use crate::{lookup, reader::ObjectReader};

const SERVICE_ACCOUNTS: GroupResource = GroupResource::new("", "serviceaccounts");
const DEFAULT_NAME: &str = "default";
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
const ENFORCE_ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// See `tokens::token_request`: this number marks the request as coming from here.
const TOKEN_SECONDS: i64 = 3607;
/// The default account comes moments after its namespace; how long a pod waits for it.
const DEFAULT_ACCOUNT_PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_STEP: Duration = Duration::from_millis(50);

pub(super) struct ServiceAccount {
    reader: Arc<dyn ObjectReader>,
    clock: Clock,
}

impl ServiceAccount {
    pub(super) fn new(reader: Arc<dyn ObjectReader>, clock: Clock) -> Self {
        Self { reader, clock }
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<Option<Arc<Object>>, Status> {
        if let Some(found) = self.reader.get(&SERVICE_ACCOUNTS, namespace, name) {
            return Ok(Some(found));
        }
        let deadline = self.clock.now() + DEFAULT_ACCOUNT_PATIENCE;
        loop {
            let found = self
                .reader
                .get_fresh(&SERVICE_ACCOUNTS, namespace, name)
                .await?;
            if found.is_some() || name != DEFAULT_NAME || self.clock.now() >= deadline {
                return Ok(found);
            }
            self.clock
                .sleep_until(self.clock.now() + PATIENCE_STEP)
                .await;
        }
    }
}

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if admission.operation != Operation::Create || !admission.is("", "pods") {
            return Ok(());
        }
        let Some(pod) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        if is_mirror(pod) {
            return check_mirror(pod).map_err(|reason| admission.forbidden(reason));
        }
        if lookup::text(pod, &["spec", "serviceAccountName"]).is_empty() {
            lookup::set(pod, &["spec", "serviceAccountName"], DEFAULT_NAME);
        }
        let name = lookup::text(pod, &["spec", "serviceAccountName"]).to_owned();
        // The older name of the same field.
        lookup::set(pod, &["spec", "serviceAccount"], name.as_str());
        let namespace = &admission.request.namespace;
        let Some(account) = self.account(namespace, &name).await? else {
            let reason = format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
            );
            return Err(admission.forbidden(reason));
        };
        let Some(pod) = admission.object.as_deref_mut() else {
            return Ok(());
        };
        let automount = lookup::flag(pod, &["spec", "automountServiceAccountToken"])
            .or_else(|| lookup::flag(&account, &["automountServiceAccountToken"]))
            .unwrap_or(true);
        if automount {
            mount_token(pod);
        }
        if lookup::list(pod, &["spec", "imagePullSecrets"]).is_empty() {
            let secrets = lookup::list(&account, &["imagePullSecrets"]);
            if !secrets.is_empty() {
                lookup::set(pod, &["spec", "imagePullSecrets"], secrets.to_vec());
            }
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let created = admission.operation == Operation::Create && admission.is("", "pods");
        let debugged = admission.operation == Operation::Update
            && admission.is_subresource("", "pods", "ephemeralcontainers");
        let Some(pod) = admission.new_object().filter(|_| created || debugged) else {
            return Ok(());
        };
        if is_mirror(pod) {
            return check_mirror(pod).map_err(|reason| admission.forbidden(reason));
        }
        let name = lookup::text(pod, &["spec", "serviceAccountName"]);
        let Some(account) = self.account(&admission.request.namespace, name).await? else {
            return Ok(());
        };
        if meta::annotation(&account, ENFORCE_ANNOTATION) == Some("true") {
            check_secrets(pod, &account).map_err(|reason| match created {
                true => admission.forbidden(reason),
                // Upstream takes what a debugger may not for its own failure.
                false => Status::unclassified(reason),
            })?;
        }
        Ok(())
    }
}

fn is_mirror(pod: &Object) -> bool {
    meta::annotation(pod, MIRROR_ANNOTATION).is_some()
}

/// Adds the token volume, and mounts it in every container that has nothing at its path.
fn mount_token(pod: &mut Object) {
    let existing = lookup::objects(pod, &["spec", "volumes"])
        .map(|volume| lookup::text(volume, &["name"]))
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let has_volume = existing.is_some();
    let name = existing.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", random_suffix()));
    let mut mounted = false;
    for field in ["initContainers", "containers"] {
        if lookup::list(pod, &["spec", field]).is_empty() {
            continue;
        }
        for container in lookup::list_mut(pod, &["spec"], field)
            .iter_mut()
            .filter_map(Value::as_object_mut)
        {
            let taken = lookup::objects(container, &["volumeMounts"])
                .any(|mount| lookup::text(mount, &["mountPath"]) == MOUNT_PATH);
            if !taken {
                let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH});
                lookup::list_mut(container, &[], "volumeMounts").push(mount);
                mounted = true;
            }
        }
    }
    if mounted && !has_volume {
        lookup::list_mut(pod, &["spec"], "volumes").push(token_volume(&name));
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ],
        "defaultMode": 0o644,
    }})
}

/// Five characters of the alphabet that generated names use (no vowels, nothing that looks like another).
fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4();
    random.as_bytes()[..5]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

/// A static pod runs whether or not the API server is there: its mirror may depend on nothing in it.
fn check_mirror(pod: &Object) -> Result<(), &'static str> {
    if !lookup::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Err("a mirror pod may not reference service accounts");
    }
    if secret_volumes(pod).next().is_some() || environment_secrets(pod).next().is_some() {
        return Err("a mirror pod may not reference secrets");
    }
    let projects_token = lookup::objects(pod, &["spec", "volumes"]).any(|volume| {
        lookup::objects(volume, &["projected", "sources"])
            .any(|source| lookup::map(source, &["serviceAccountToken"]).is_some())
    });
    if projects_token {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// An account that asks for it lets its pods use no other secrets than its own.
fn check_secrets(pod: &Object, account: &Object) -> Result<(), String> {
    let owner = meta::name(account);
    let listed = |field: &'static str, name: &str| {
        lookup::objects(account, &[field])
            .any(|reference| lookup::text(reference, &["name"]) == name)
    };
    if let Some(secret) = secret_volumes(pod).find(|name| !listed("secrets", name)) {
        return Err(format!(
            "volume with secret.secretName={secret:?} is not allowed because service account {owner} does not reference that secret"
        ));
    }
    if let Some((container, field, secret)) =
        environment_secrets(pod).find(|(_, _, name)| !listed("secrets", name))
    {
        return Err(format!(
            "{container} with {field}={secret:?} is not allowed because service account {owner} does not reference that secret"
        ));
    }
    let pulls = lookup::objects(pod, &["spec", "imagePullSecrets"])
        .map(|secret| lookup::text(secret, &["name"]));
    for (index, secret) in pulls.enumerate() {
        if !listed("imagePullSecrets", secret) {
            return Err(format!(
                "imagePullSecrets[{index}].name={secret:?} is not allowed because service account {owner} does not reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

fn secret_volumes(pod: &Object) -> impl Iterator<Item = &str> {
    lookup::objects(pod, &["spec", "volumes"])
        .map(|volume| lookup::text(volume, &["secret", "secretName"]))
        .filter(|name| !name.is_empty())
}

/// Secrets in environments: a container's description, the field, the secret.
fn environment_secrets(pod: &Object) -> impl Iterator<Item = (String, String, &str)> {
    const SORTS: [(&str, &str); 3] = [
        ("initContainers", "init container"),
        ("containers", "container"),
        ("ephemeralContainers", "ephemeral container"),
    ];
    SORTS.into_iter().flat_map(move |(field, noun)| {
        lookup::objects(pod, &["spec", field]).flat_map(move |container| {
            let described = format!("{noun} {}", lookup::text(container, &["name"]));
            let described_too = described.clone();
            let variables = lookup::objects(container, &["env"]).map(move |variable| {
                let at = format!(
                    "envVar {} referencing secret.secretName",
                    lookup::text(variable, &["name"])
                );
                (
                    described.clone(),
                    at,
                    lookup::text(variable, &["valueFrom", "secretKeyRef", "name"]),
                )
            });
            let sources = lookup::objects(container, &["envFrom"]).map(move |source| {
                let at = "envFrom referencing secret.secretName".to_owned();
                (
                    described_too.clone(),
                    at,
                    lookup::text(source, &["secretRef", "name"]),
                )
            });
            variables
                .chain(sources)
                .filter(|(_, _, name)| !name.is_empty())
        })
    })
}
