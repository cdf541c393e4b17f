//! Which container of a pod is meant: the one named, if it exists; the only one, if none is named.

use apimachinery::{Object, meta, status::Status};

use crate::lookup;

/// The container's name, or the 400 that names the choices.
pub(super) fn choose(pod: &Object, asked_for: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        lookup::objects(pod, &["spec", list])
            .map(|container| lookup::text(container, &["name"]).to_owned())
            .collect()
    };
    let [containers, init, ephemeral] =
        ["containers", "initContainers", "ephemeralContainers"].map(names);
    let pod_name = meta::name(pod);
    if !asked_for.is_empty() {
        let known = [&containers, &init, &ephemeral]
            .into_iter()
            .flatten()
            .any(|c| c == asked_for);
        return if known {
            Ok(asked_for.to_owned())
        } else {
            Err(Status::bad_request(format!(
                "container {asked_for} is not valid for pod {pod_name}"
            )))
        };
    }
    if let [only] = containers.as_slice() {
        return Ok(only.clone());
    }
    let mut message = format!("a container name must be specified for pod {pod_name}");
    if !containers.is_empty() {
        let all = [init, containers, ephemeral].concat();
        message.push_str(&format!(", choose one of: [{}]", all.join(" ")));
    }
    Err(Status::bad_request(message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_must_be_named_where_there_are_several() {
        let pod = |spec: serde_json::Value| {
            json!({ "metadata": {"name": "p"}, "spec": spec })
                .as_object()
                .unwrap()
                .clone()
        };
        let one = pod(json!({ "containers": [{"name": "a"}], "initContainers": [{"name": "i"}] }));
        assert_eq!(choose(&one, "").unwrap(), "a");
        assert_eq!(choose(&one, "i").unwrap(), "i");
        assert_eq!(
            choose(&one, "x").unwrap_err().message,
            "container x is not valid for pod p"
        );
        let two = pod(json!({
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}],
            "ephemeralContainers": [{"name": "e"}, {"name": "f"}],
        }));
        assert_eq!(
            choose(&two, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [i a b e f]"
        );
    }
}
