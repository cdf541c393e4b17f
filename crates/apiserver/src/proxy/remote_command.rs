//! Where exec, attach and port-forward go: the kubelet of the pod's node, with the options in the kubelet's own names.

use apimachinery::{Object, go, status::Status};

use super::{Location, ProxyConnector, path_escape, pod_container, query_of};
use crate::{context::Context, lookup, query::Query};

impl ProxyConnector {
    /// `/exec/NS/POD/CONTAINER` or `/attach/…`.
    pub(super) async fn remote_command_location(
        &self,
        context: &Context,
    ) -> Result<Location, Status> {
        let pod = self.pod(context).await?;
        let asked_for = context.query.get("container").unwrap_or_default();
        let container = pod_container::choose(&pod, asked_for)?;
        let segments = [
            context.info.subresource.as_str(),
            &context.info.namespace,
            &context.info.name,
            &container,
        ];
        self.on_node_of(&pod, context, &segments, stream_parameters(&context.query))
            .await
    }

    /// `/portForward/NS/POD`.
    pub(super) async fn port_forward_location(
        &self,
        context: &Context,
    ) -> Result<Location, Status> {
        let pod = self.pod(context).await?;
        let segments = ["portForward", &context.info.namespace, &context.info.name];
        let query = port_parameters(&context.query)?;
        self.on_node_of(&pod, context, &segments, query).await
    }

    async fn on_node_of(
        &self,
        pod: &Object,
        context: &Context,
        segments: &[&str],
        query: String,
    ) -> Result<Location, Status> {
        let node = lookup::text(pod, &["spec", "nodeName"]);
        if node.is_empty() {
            let message = format!("pod {} does not have a host assigned", context.info.name);
            return Err(Status::bad_request(message));
        }
        let kubelet = self.kubelet(context, node).await?;
        self.kubelets
            .location(kubelet, path_of(segments), query, true)
    }
}

/// A path of segments.
pub(super) fn path_of(segments: &[&str]) -> String {
    segments
        .iter()
        .map(|segment| format!("/{}", path_escape(segment)))
        .collect()
}

/// Of `PodExecOptions` and `PodAttachOptions`: which streams, a terminal, the command.
fn stream_parameters(query: &Query) -> String {
    let flags = [
        ("stdin", "input"),
        ("stdout", "output"),
        ("stderr", "error"),
        ("tty", "tty"),
    ];
    let mut pairs: Vec<(&str, String)> = flags
        .into_iter()
        .filter(|(name, _)| query.flag(name))
        .map(|(_, parameter)| (parameter, "1".to_owned()))
        .collect();
    pairs.extend(
        query
            .all("command")
            .map(|word| ("command", word.to_owned())),
    );
    query_of(&pairs)
}

/// Of `PodPortForwardOptions`: the ports, which only WebSocket clients of old name here.
fn port_parameters(query: &Query) -> Result<String, Status> {
    let mut ports = Vec::new();
    for port in query.all("ports").flat_map(|ports| ports.split(',')) {
        let number: u16 = go::parse_uint(port.trim()).map_err(Status::bad_request)?;
        ports.push(number.to_string());
    }
    if ports.is_empty() {
        return Ok(String::new());
    }
    Ok(query_of(&[("port", ports.join(","))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_get_the_kubelets_names() {
        let query = Query::parse(
            "container=c&stdin=true&stdout=1&stderr=false&tty=true&command=ls&command=-l%20a",
        );
        assert_eq!(
            stream_parameters(&query),
            "?input=1&output=1&tty=1&command=ls&command=-l%20a"
        );
        assert_eq!(
            port_parameters(&Query::parse("ports=80&ports=8080")).unwrap(),
            "?port=80%2C8080"
        );
        assert_eq!(port_parameters(&Query::parse("")).unwrap(), "");
        assert_eq!(
            port_parameters(&Query::parse("ports=http"))
                .unwrap_err()
                .code,
            400
        );
    }
}
