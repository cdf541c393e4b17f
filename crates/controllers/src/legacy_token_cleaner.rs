//! The cleaner of legacy service account tokens: Secrets with tokens that were made by old versions for each account, and that nobody has used
//! for a year (`--legacy-service-account-token-clean-up-period`), are first marked as invalid and, a year later, deleted (KEP-2799).

use std::{collections::HashSet, sync::Arc, time::Duration};

use client::{ApiError, DeleteOptionsExt as _, Informer, Object as _, Patch};
use jiff::{Span, Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::json;
use tracing::warn;

use crate::{
    context::ControllerContext,
    reconcile::Error,
    service_account_tokens::{ACCOUNT_NAME, ACCOUNT_UID, TYPE, token_secrets},
};

pub(crate) const NAME: &str = "legacy-serviceaccount-token-cleaner-controller";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const SYNC_PERIOD: Duration = Duration::from_secs(24 * 3600);

struct Cleaner {
    ctx: ControllerContext,
    accounts: Informer<ServiceAccount>,
    secrets: Informer<Secret>,
    pods: Informer<Pod>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let cleaner = Arc::new(Cleaner {
        accounts: ctx.informers.informer(),
        secrets: ctx.informers.scoped(token_secrets()),
        pods: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    ctx.tasks.spawn_cancellable(NAME, async move {
        cleaner.accounts.has_synced().await;
        cleaner.secrets.has_synced().await;
        cleaner.pods.has_synced().await;
        let clock = cleaner.ctx.clock.clone();
        loop {
            if let Err(error) = cleaner.look().await {
                warn!(controller = NAME, %error, "cleaning failed");
            }
            clock.sleep_until(clock.now() + SYNC_PERIOD).await;
        }
    });
}

/// What becomes of a token.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    MarkInvalid,
    Delete,
}

/// The day so long before `now`, on which or after which a use counts.
fn days_ago(now: Timestamp, period: Duration) -> Date {
    let days = i64::try_from(period.as_secs() / 86_400).unwrap_or(i64::MAX);
    let today = now.to_zoned(TimeZone::UTC).date();
    let span: Span = days.days();
    today.checked_sub(span).unwrap_or(Date::MIN)
}

fn date(label: Option<&str>) -> Option<Date> {
    label?.parse().ok()
}

/// Decides about a token that no pod mounts and that its account lists.
fn fate(secret: &Secret, now: Timestamp, period: Duration) -> Fate {
    let limit = days_ago(now, period);
    let created = secret.metadata.creation_timestamp.as_ref();
    let old = created.is_some_and(|time| time.0 + period < now);
    if !old || secret.is_being_deleted() {
        return Fate::Keep;
    }
    if let Some(used) = secret.label(LAST_USED) {
        // What cannot be read is not known to be unused.
        match date(Some(used)) {
            Some(used) if used < limit => {}
            _ => return Fate::Keep,
        }
    }
    match date(secret.label(INVALID_SINCE)) {
        None => Fate::MarkInvalid,
        Some(since) if since >= limit => Fate::Keep,
        Some(_) => Fate::Delete,
    }
}

/// The Secrets that a pod names anywhere.
fn secrets_of(pod: &Pod) -> HashSet<String> {
    fn collect(value: &serde_json::Value, names: &mut HashSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("secretName", serde_json::Value::String(name)) => {
                            names.insert(name.clone());
                        }
                        (
                            "secret" | "secretRef" | "secretKeyRef" | "nodePublishSecretRef",
                            value,
                        ) => {
                            if let Some(name) = value.get("name").and_then(|name| name.as_str()) {
                                names.insert(name.to_owned());
                            }
                            collect(value, names);
                        }
                        ("imagePullSecrets", serde_json::Value::Array(list)) => {
                            let named = list.iter().filter_map(|item| item.get("name")?.as_str());
                            names.extend(named.map(str::to_owned));
                        }
                        (_, value) => collect(value, names),
                    }
                }
            }
            serde_json::Value::Array(list) => list.iter().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut names = HashSet::new();
    collect(&json!(pod.spec), &mut names);
    names
}

impl Cleaner {
    async fn look(&self) -> Result<(), Error> {
        let now = self.ctx.clock.now();
        let period = self.ctx.config.legacy_token_clean_up_period;
        let Some(tracked) = self.tracked_since().await? else {
            return Ok(());
        };
        if days_ago(now, period) < tracked {
            // What was used before nobody knows.
            return Ok(());
        }
        for secret in self.secrets.store().list() {
            if secret.type_.as_deref() != Some(TYPE) || !self.is_generated(&secret) {
                continue;
            }
            let fate = fate(&secret, now, period);
            if fate == Fate::Keep || self.is_mounted(&secret) {
                continue;
            }
            if let Err(error) = self.carry_out(&secret, &fate, now).await {
                warn!(controller = NAME, secret = %secret.key(), %error, "not cleaned");
            }
        }
        Ok(())
    }

    /// The day after tracking began.
    async fn tracked_since(&self) -> Result<Option<Date>, Error> {
        let maps = self.ctx.client.api::<ConfigMap>("kube-system");
        let map = maps.get_opt(TRACKING).await?;
        let since = map.and_then(|map| map.data?.get("since").cloned());
        Ok(date(since.as_deref()).and_then(|date| date.tomorrow().ok()))
    }

    /// Whether it is listed by its account, as those are that were made by the server.
    fn is_generated(&self, secret: &Secret) -> bool {
        let name = secret.annotation(ACCOUNT_NAME).unwrap_or_default();
        let uid = secret.annotation(ACCOUNT_UID).unwrap_or_default();
        let account = self.accounts.store().get(secret.namespace(), name);
        account.is_some_and(|account| {
            let mut listed = account.secrets.iter().flatten();
            (uid.is_empty() || account.uid() == uid)
                && listed.any(|listed| listed.name.as_deref() == Some(secret.name()))
        })
    }

    fn is_mounted(&self, secret: &Secret) -> bool {
        let pods = self.pods.store().list_namespace(secret.namespace());
        pods.iter()
            .any(|pod| secrets_of(pod).contains(secret.name()))
    }

    async fn carry_out(&self, secret: &Secret, fate: &Fate, now: Timestamp) -> Result<(), Error> {
        let api = self.ctx.client.api::<Secret>(secret.namespace());
        match fate {
            Fate::Keep => {}
            Fate::MarkInvalid => {
                let today = now.to_zoned(TimeZone::UTC).date().to_string();
                let patch =
                    json!({"metadata": {"uid": secret.uid(), "labels": {INVALID_SINCE: today}}});
                api.patch(secret.name(), &Patch::Merge(patch)).await?;
            }
            Fate::Delete => {
                let options =
                    DeleteOptions::default().with_resource_version(secret.resource_version());
                match api.delete(secret.name(), &options).await {
                    // It was used after all, or changed.
                    Err(error) if error.is_conflict() => {}
                    deleted => drop(ApiError::not_found_is_none(deleted)?),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    #[test]
    fn a_token_is_marked_then_deleted() {
        let now: Timestamp = "2026-06-15T12:00:00Z".parse().unwrap();
        let fate_of = |created: &str, labels: &[(&str, &str)]| {
            let labels: serde_json::Map<String, serde_json::Value> = labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), json!(v)))
                .collect();
            let secret =
                json!({"metadata": {"name": "t", "creationTimestamp": created, "labels": labels}});
            fate(&serde_json::from_value(secret).unwrap(), now, YEAR)
        };
        let old = "2024-01-01T00:00:00Z";
        assert_eq!(fate_of("2026-01-01T00:00:00Z", &[]), Fate::Keep);
        assert_eq!(fate_of(old, &[]), Fate::MarkInvalid);
        assert_eq!(fate_of(old, &[(LAST_USED, "2025-06-15")]), Fate::Keep);
        assert_eq!(
            fate_of(old, &[(LAST_USED, "2025-06-14")]),
            Fate::MarkInvalid
        );
        assert_eq!(fate_of(old, &[(LAST_USED, "yesterday")]), Fate::Keep);
        assert_eq!(fate_of(old, &[(INVALID_SINCE, "2025-12-01")]), Fate::Keep);
        assert_eq!(fate_of(old, &[(INVALID_SINCE, "2025-06-01")]), Fate::Delete);
    }

    #[test]
    fn secrets_that_a_pod_names() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "env"}}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "volume"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "part"}}]}}],
        }}))
        .unwrap();
        let mut names: Vec<String> = secrets_of(&pod).into_iter().collect();
        names.sort();
        assert_eq!(names, ["env", "key", "part", "pull", "volume"]);
    }
}
