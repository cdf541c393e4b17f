//! What one metric of an autoscaler asks for, and how its status shows it.

use apimachinery::quantity::Quantity;
use k8s_openapi::{
    api::autoscaling::v2::{
        HPAScalingRules, HorizontalPodAutoscaler, MetricIdentifier, MetricSpec, MetricTarget,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde_json::{Value, json};

use super::{
    Autoscalers,
    replicas::{Measurements, Proposal, Scaled, Tolerances},
};

impl Autoscalers {
    /// What one metric asks for, and its name; or the reason of the failure and the complaint.
    pub(super) async fn measure(
        &self,
        namespace: &str,
        selector: &str,
        scaled: &Scaled<'_>,
        there: i32,
        spec: &MetricSpec,
    ) -> Result<(Proposal, String), (&'static str, String)> {
        let metrics = &self.metrics;
        if let Some(source) = &spec.resource {
            let failed = |complaint| ("FailedGetResourceMetric", complaint);
            let asked = metrics
                .resource(namespace, selector, &source.name, None)
                .await;
            return by_resource(scaled, asked, &source.name, None, &source.target).map_err(failed);
        }
        if let Some(source) = &spec.container_resource {
            let failed = |complaint| ("FailedGetContainerResourceMetric", complaint);
            let container = Some(source.container.as_str());
            let asked = metrics
                .resource(namespace, selector, &source.name, container)
                .await;
            return by_resource(scaled, asked, &source.name, container, &source.target)
                .map_err(failed);
        }
        if let Some(source) = &spec.pods {
            let failed = |complaint| ("FailedGetPodsMetric", complaint);
            let name = &source.metric.name;
            let of = selector_of(&source.metric);
            let asked = metrics.of_pods(namespace, selector, name, &of).await;
            let asked =
                asked.map_err(|error| failed(format!("unable to get metric {name}: {error}")))?;
            let aim = milli(source.target.average_value.as_ref());
            let proposal = scaled.by_average(&asked, None, aim).map_err(failed)?;
            return Ok((proposal, format!("pods metric {name}")));
        }
        if let Some(source) = &spec.object {
            let failed = |complaint| ("FailedGetObjectMetric", complaint);
            let name = &source.metric.name;
            let (kind, object) = (&source.described_object.kind, &source.described_object.name);
            let version = source.described_object.api_version.as_deref();
            let resource = self.resource_of(version.unwrap_or_default(), kind).await;
            let resource = resource.map_err(failed)?;
            let group_resource = resource.gvr.group_resource().to_string();
            let described = (kind != "Namespace").then_some((&*group_resource, &**object));
            let of = selector_of(&source.metric);
            let usage = metrics.of_object(namespace, described, name, &of).await;
            let usage = usage.map_err(|error| {
                let complaint =
                    format!("unable to get metric {name}: {kind} on {namespace} {object}/{error}");
                failed(complaint)
            })?;
            let proposal = by_total(scaled, usage, there, &source.target, "object");
            let named = format!("{kind} metric {name}");
            return Ok((proposal.map_err(failed)?, named));
        }
        if let Some(source) = &spec.external {
            let failed = |complaint| ("FailedGetExternalMetric", complaint);
            let name = &source.metric.name;
            let of = selector_of(&source.metric);
            let usage = metrics.external(namespace, name, &of).await;
            let usage = usage.map_err(|error| {
                failed(format!(
                    "unable to get external metric {namespace}/{name}/{of}: {error}"
                ))
            })?;
            let proposal = by_total(scaled, usage, there, &source.target, "external");
            return Ok((
                proposal.map_err(failed)?,
                format!("external metric {name}({of})"),
            ));
        }
        let complaint = format!("unknown metric source type {:?}", spec.type_);
        Err(("InvalidMetricSourceType", complaint))
    }
}

fn milli(written: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity>) -> i64 {
    let parsed = written.and_then(|written| written.0.parse::<Quantity>().ok());
    parsed.map_or(0, |quantity| quantity.milli_value())
}

/// How far usage may be off, by the behavior's own word or the configured default.
pub(super) fn tolerances(autoscaler: &HorizontalPodAutoscaler, default: f64) -> Tolerances {
    let behavior = autoscaler.spec.behavior.as_ref();
    let named = |rules: Option<&HPAScalingRules>| {
        let tolerance = rules.and_then(|rules| rules.tolerance.as_ref());
        tolerance.map_or(default, |tolerance| milli(Some(tolerance)) as f64 / 1000.0)
    };
    Tolerances {
        down: named(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        up: named(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
    }
}

/// A selector as queries carry it.
fn selector_of(metric: &MetricIdentifier) -> String {
    let Some(LabelSelector {
        match_labels,
        match_expressions,
    }) = &metric.selector
    else {
        return String::new();
    };
    let equal = match_labels
        .iter()
        .flatten()
        .map(|(label, value)| format!("{label}={value}"));
    let others = match_expressions.iter().flatten().map(|requirement| {
        let values = requirement.values.clone().unwrap_or_default().join(",");
        let label = &requirement.key;
        match requirement.operator.as_str() {
            "In" => format!("{label} in ({values})"),
            "NotIn" => format!("{label} notin ({values})"),
            "DoesNotExist" => format!("!{label}"),
            _ => label.clone(),
        }
    });
    equal.chain(others).collect::<Vec<_>>().join(",")
}

fn by_resource(
    scaled: &Scaled<'_>,
    asked: Result<Measurements, String>,
    resource: &str,
    container: Option<&str>,
    target: &MetricTarget,
) -> Result<(Proposal, String), String> {
    let what = if target.average_value.is_some() {
        "usage"
    } else {
        "utilization"
    };
    let failed = |error| format!("failed to get {resource} {what}: {error}");
    let asked = asked.map_err(|error| {
        failed(format!(
            "unable to get metrics for resource {resource}: {error}"
        ))
    })?;
    if target.average_value.is_some() {
        let aim = milli(target.average_value.as_ref());
        let proposal = scaled
            .by_average(&asked, Some(resource), aim)
            .map_err(failed)?;
        return Ok((proposal, format!("{resource} resource")));
    }
    let Some(percent) = target.average_utilization else {
        return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".to_owned());
    };
    let proposal = scaled
        .by_utilization(&asked, resource, container, percent)
        .map_err(failed)?;
    let of = if container.is_some() {
        "container resource"
    } else {
        "resource"
    };
    Ok((
        proposal,
        format!("{resource} {of} utilization (percentage of request)"),
    ))
}

/// By one figure for all pods: a value, or a share for each of the pods that there are.
fn by_total(
    scaled: &Scaled<'_>,
    usage: i64,
    there: i32,
    target: &MetricTarget,
    source: &str,
) -> Result<Proposal, String> {
    if target.average_value.is_some() {
        let aim = milli(target.average_value.as_ref());
        return Ok(scaled.by_share(usage, aim, there));
    }
    if target.value.is_some() {
        return scaled.by_value(usage, milli(target.value.as_ref()));
    }
    Err(format!(
        "invalid {source} metric source: neither a value target nor an average value target was set"
    ))
}

/// A metric as the status shows it.
pub(super) fn current_metric(spec: &MetricSpec, proposal: &Proposal) -> Value {
    let usage = if proposal.usage % 1000 == 0 {
        (proposal.usage / 1000).to_string()
    } else {
        format!("{}m", proposal.usage)
    };
    let mut current = json!({});
    let total = spec.object.as_ref().map(|source| &source.target);
    let total = total.or(spec.external.as_ref().map(|source| &source.target));
    let by_value = total.is_some_and(|target| target.average_value.is_none());
    let field = if by_value { "value" } else { "averageValue" };
    current[field] = json!(usage);
    if let Some(percent) = proposal.utilization {
        current["averageUtilization"] = json!(percent);
    }
    let mut metric = json!({"type": spec.type_});
    if let Some(source) = &spec.resource {
        metric["resource"] = json!({"name": source.name, "current": current});
    } else if let Some(source) = &spec.container_resource {
        metric["containerResource"] =
            json!({"name": source.name, "container": source.container, "current": current});
    } else if let Some(source) = &spec.pods {
        metric["pods"] = json!({"metric": source.metric, "current": current});
    } else if let Some(source) = &spec.object {
        metric["object"] = json!({
            "metric": source.metric, "describedObject": source.described_object, "current": current,
        });
    } else if let Some(source) = &spec.external {
        metric["external"] = json!({"metric": source.metric, "current": current});
    }
    metric
}
