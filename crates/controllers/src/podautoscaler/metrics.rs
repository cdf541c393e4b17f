//! Where an autoscaler's figures come from: the metrics APIs (`metrics.k8s.io`, `custom.metrics.k8s.io`, `external.metrics.k8s.io`), which
//! add-ons serve behind the aggregation layer.

use std::fmt::Write as _;

use apimachinery::quantity::Quantity;
use client::{ApiError, Client};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::replicas::{Measured, Measurements};

/// The window of a measurement that names none.
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Asks the metrics APIs.
pub(super) struct Metrics {
    client: Client,
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn milli(value: &Value) -> Option<i64> {
    Some(value.as_str()?.parse::<Quantity>().ok()?.milli_value())
}

fn measured_at(item: &Value) -> Timestamp {
    let at = item["timestamp"]
        .as_str()
        .and_then(|text| text.parse().ok());
    at.unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Metrics {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    async fn items(&self, uri: &str) -> Result<Vec<Value>, ApiError> {
        let body = self.client.get_raw(uri).await?;
        let list: Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// What pods use of a resource; of one container, or all.
    pub(super) async fn resource(
        &self,
        namespace: &str,
        selector: &str,
        resource: &str,
        container: Option<&str>,
    ) -> Result<Measurements, String> {
        let uri = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={}",
            encoded(selector)
        );
        let failed = |error| format!("unable to fetch metrics from resource metrics API: {error}");
        let items = self.items(&uri).await.map_err(failed)?;
        if items.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        let measured = items.iter().filter_map(|item| {
            let containers = item["containers"].as_array()?;
            let wanted = containers
                .iter()
                .filter(|known| container.is_none_or(|name| known["name"] == name));
            let usages: Vec<Option<i64>> = wanted
                .map(|known| milli(&known["usage"][resource]))
                .collect();
            if usages.is_empty() {
                return None;
            }
            let value = usages.into_iter().sum::<Option<i64>>()?;
            let window = item["window"].as_str().and_then(|text| text.parse().ok());
            let measured = Measured {
                value,
                at: measured_at(item),
                window: window.unwrap_or(DEFAULT_WINDOW),
            };
            Some((item["metadata"]["name"].as_str()?.to_owned(), measured))
        });
        Ok(measured.collect())
    }

    /// A custom metric, by the newest version of the API that is served.
    async fn custom(&self, path: &str) -> Result<Vec<Value>, String> {
        let failed = |error| format!("unable to fetch metrics from custom metrics API: {error}");
        let uri = |version: &str| format!("/apis/custom.metrics.k8s.io/{version}/{path}");
        match self.items(&uri("v1beta2")).await {
            Err(error) if error.is_not_found() => self.items(&uri("v1beta1")).await.map_err(failed),
            items => items.map_err(failed),
        }
    }

    /// A metric of each pod.
    pub(super) async fn of_pods(
        &self,
        namespace: &str,
        selector: &str,
        metric: &str,
        metric_selector: &str,
    ) -> Result<Measurements, String> {
        let path = format!(
            "namespaces/{namespace}/pods/*/{}?labelSelector={}&metricLabelSelector={}",
            encoded(metric),
            encoded(selector),
            encoded(metric_selector)
        );
        let items = self.custom(&path).await?;
        if items.is_empty() {
            return Err("no metrics returned from custom metrics API".to_owned());
        }
        let measured = items.iter().filter_map(|item| {
            let window = item["windowSeconds"]
                .as_i64()
                .map(SignedDuration::from_secs);
            let measured = Measured {
                value: milli(&item["value"])?,
                at: measured_at(item),
                window: window.unwrap_or(DEFAULT_WINDOW),
            };
            Some((
                item["describedObject"]["name"].as_str()?.to_owned(),
                measured,
            ))
        });
        Ok(measured.collect())
    }

    /// A metric of one object; `resource` as `deployments.apps`, nothing for the namespace itself.
    pub(super) async fn of_object(
        &self,
        namespace: &str,
        object: Option<(&str, &str)>,
        metric: &str,
        metric_selector: &str,
    ) -> Result<i64, String> {
        let of = match object {
            None => "metrics".to_owned(),
            Some((resource, name)) => format!("{resource}/{}", encoded(name)),
        };
        let path = format!(
            "namespaces/{namespace}/{of}/{}?metricLabelSelector={}",
            encoded(metric),
            encoded(metric_selector)
        );
        let items = self.custom(&path).await?;
        let value = items.first().and_then(|item| milli(&item["value"]));
        value.ok_or_else(|| {
            "unable to fetch metrics from custom metrics API: the custom metrics API server returned no value"
                .to_owned()
        })
    }

    /// The sum of a metric from outside the cluster.
    pub(super) async fn external(
        &self,
        namespace: &str,
        metric: &str,
        selector: &str,
    ) -> Result<i64, String> {
        let uri = format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}?labelSelector={}",
            encoded(metric),
            encoded(selector)
        );
        let failed = |error| format!("unable to fetch metrics from external metrics API: {error}");
        let items = self.items(&uri).await.map_err(failed)?;
        if items.is_empty() {
            return Err("no metrics returned from external metrics API".to_owned());
        }
        let values = items.iter().filter_map(|item| milli(&item["value"]));
        Ok(values.fold(0_i64, i64::saturating_add))
    }
}
