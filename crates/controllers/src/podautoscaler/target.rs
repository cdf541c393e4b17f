//! The target of an autoscaler: finding it by its kind, reading and writing its scale.

use std::sync::Arc;

use client::{ApiError, ApiResource, Discovery, EventType, Object as _, ObjectKey, Request};
use http::Method;
use k8s_openapi::{
    api::autoscaling::v2::HorizontalPodAutoscaler, apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use super::{Autoscalers, DISCOVERY_LIFE, Look, lock};

/// A target's scale, and where it is.
pub(super) struct Target {
    path: String,
    pub(super) scale: Value,
}

impl Target {
    pub(super) fn replicas(&self) -> i32 {
        let replicas = self.scale["spec"]["replicas"].as_i64().unwrap_or_default();
        i32::try_from(replicas).unwrap_or(i32::MAX)
    }
}

impl Autoscalers {
    async fn discovery(&self) -> Result<Arc<Discovery>, ApiError> {
        let now = self.ctx.clock.now();
        let mut known = self.discovery.lock().await;
        if let Some((at, discovery)) = &*known
            && *at + DISCOVERY_LIFE > now
        {
            return Ok(Arc::clone(discovery));
        }
        let fresh = Arc::new(self.ctx.client.discover().await?);
        *known = Some((now, Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// The resource of a kind: in the version that is named, otherwise in any of its group.
    pub(super) async fn resource_of(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<ApiResource, String> {
        let api_version = if api_version.is_empty() {
            "v1"
        } else {
            api_version
        };
        let discovery = self.discovery().await.map_err(|error| error.to_string())?;
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let exact = discovery.resource_of(api_version, kind);
        let any = || {
            let mut all = discovery.resources.iter();
            all.find(|resource| resource.gvk.kind == kind && resource.gvk.group == group)
        };
        exact.or_else(any).cloned().ok_or_else(|| {
            let group = if group.is_empty() {
                String::new()
            } else {
                format!(" in group {group:?}")
            };
            format!("no matches for kind {kind:?}{group}")
        })
    }

    pub(super) async fn target(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
    ) -> Result<Target, String> {
        let named = &autoscaler.spec.scale_target_ref;
        let version = named.api_version.as_deref().unwrap_or_default();
        let resource = self.resource_of(version, &named.kind).await?;
        let (group, version) = (&resource.gvr.group, &resource.gvr.version);
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let path = format!(
            "{root}/namespaces/{}/{}/{}/scale",
            autoscaler.namespace(),
            resource.gvr.resource,
            named.name
        );
        let body = self.ctx.client.get_raw(&path).await;
        let body = body.map_err(|error| error.to_string())?;
        let scale = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        Ok(Target { path, scale })
    }

    pub(super) async fn scale(
        &self,
        key: &ObjectKey,
        look: &mut Look<'_>,
        mut target: Target,
        wanted: i32,
        reason: &str,
    ) -> Result<(), String> {
        let from = target.replicas();
        target.scale["spec"]["replicas"] = json!(wanted);
        let put = |scale: &Value| Request::json(Method::PUT, &*target.path, scale.to_string());
        let mut written = self.ctx.client.request(put(&target.scale)).await;
        if matches!(&written, Err(error) if error.is_conflict())
            && let Ok(body) = self.ctx.client.get_raw(&target.path).await
            && let Ok(mut fresh) = serde_json::from_slice::<Value>(&body)
        {
            fresh["spec"]["replicas"] = json!(wanted);
            written = self.ctx.client.request(put(&fresh)).await;
        }
        if let Err(error) = written {
            let message = format!("New size: {wanted}; reason: {reason}; error: {error}");
            self.warn(look, "FailedRescale", &message);
            let message =
                format!("the HPA controller was unable to update the target scale: {error}");
            look.say("AbleToScale", "False", "FailedUpdateScale", &message);
            look.desired = look
                .autoscaler
                .status
                .as_ref()
                .map_or(0, |status| status.desired_replicas);
            return Err(message);
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        look.say("AbleToScale", "True", "SucceededRescale", &message);
        let message = format!("New size: {wanted}; reason: {reason}");
        let recorder = &self.ctx.recorder;
        recorder.event(
            look.autoscaler,
            EventType::Normal,
            "SuccessfulRescale",
            message,
        );
        look.scaled_at = Some(Time(look.now));
        lock(&self.memory)
            .entry(key.clone())
            .or_default()
            .scaled(from, wanted, look.now);
        Ok(())
    }
}
