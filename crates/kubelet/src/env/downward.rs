//! The downward API: fields of the pod and amounts of its containers, for variables and files.

use std::net::IpAddr;

use apimachinery::quantity::Quantity as Amount;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::EnvError;
use crate::{
    pod::{find_container, name, namespace, spec, uid},
    resources::amount,
};

/// What a pod object does not say of itself while it is being started.
#[derive(Clone, Debug, Default)]
pub struct FieldContext {
    /// The node's name.
    pub node_name: String,
    /// The node's addresses, primary first.
    pub host_ips: Vec<IpAddr>,
    /// The pod's addresses, primary first.
    pub pod_ips: Vec<String>,
    /// Allocatable thousandths of a CPU: the limit of those that have none.
    pub allocatable_milli_cpu: i64,
    /// Allocatable bytes of memory, likewise.
    pub allocatable_memory: i64,
    /// Allocatable bytes of ephemeral storage, likewise.
    pub allocatable_ephemeral_storage: i64,
}

/// The value of a field path such as `metadata.labels['app']`.
pub fn field_value(pod: &Pod, context: &FieldContext, path: &str) -> Result<String, EnvError> {
    let map = |map: Option<&std::collections::BTreeMap<String, String>>| {
        // One `key="value"` a line, in order of keys, as the volume's files have it.
        let lines: Vec<_> = map
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect();
        lines.join("\n")
    };
    let host_ip = || {
        context
            .host_ips
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    if let Some((field, key)) = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        let source = match field {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(source
            .as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => name(pod).to_owned(),
        "metadata.namespace" => namespace(pod).to_owned(),
        "metadata.uid" => uid(pod).to_owned(),
        "metadata.labels" => map(pod.metadata.labels.as_ref()),
        "metadata.annotations" => map(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => spec(pod)
            .node_name
            .clone()
            .unwrap_or_else(|| context.node_name.clone()),
        "spec.serviceAccountName" => spec(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => host_ip(),
        "status.hostIPs" => context
            .host_ips
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
        "status.podIP" => context.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => context.pod_ips.join(","),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> EnvError {
    EnvError::Invalid(format!("unsupported fieldPath: {path}"))
}

/// The value of a `resourceFieldRef`, in units of its divisor, rounded up. Without a limit, the node's allocatable amount counts.
pub fn resource_field_value(
    pod: &Pod,
    container: Option<&Container>,
    context: &FieldContext,
    selector: &ResourceFieldSelector,
) -> Result<String, EnvError> {
    let named = selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let found = named
        .and_then(|name| find_container(pod, name))
        .map(|(_, container)| container.into_owned());
    let container = match (named, &found) {
        (Some(name), None) => return Err(EnvError::Invalid(format!("container {name} not found"))),
        (Some(_), Some(found)) => found,
        (None, _) => {
            container.ok_or_else(|| EnvError::Invalid("containerName is required".to_owned()))?
        }
    };
    let (list, resource) = selector.resource.split_once('.').ok_or_else(|| {
        EnvError::Invalid(format!(
            "unsupported container resource : {}",
            selector.resource
        ))
    })?;
    let resources = container.resources.clone().unwrap_or_default();
    let limit = resources
        .limits
        .as_ref()
        .and_then(|limits| limits.get(resource));
    let request = resources
        .requests
        .as_ref()
        .and_then(|requests| requests.get(resource));
    let allocatable = match resource {
        "cpu" => context.allocatable_milli_cpu,
        "memory" => context.allocatable_memory,
        "ephemeral-storage" => context.allocatable_ephemeral_storage,
        _ => 0,
    };
    let value = match list {
        "limits" => limit.map_or(allocatable, |quantity| amount(resource, quantity)),
        "requests" => request
            .or(limit)
            .map_or(0, |quantity| amount(resource, quantity)),
        _ => {
            return Err(EnvError::Invalid(format!(
                "unsupported container resource : {}",
                selector.resource
            )));
        }
    };
    // Thousandths of a CPU against thousandths of the divisor; whole units of the rest.
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(|divisor| divisor.0.parse::<Amount>().ok())
        .map(|divisor| {
            if resource == "cpu" {
                divisor.milli_value()
            } else {
                divisor.value()
            }
        })
        .filter(|divisor| *divisor > 0)
        .unwrap_or(if resource == "cpu" { 1000 } else { 1 });
    Ok((value.div_euclid(divisor) + i64::from(value.rem_euclid(divisor) != 0)).to_string())
}
