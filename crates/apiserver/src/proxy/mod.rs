//! Connections through the server: exec, attach, port-forward and logs by way of the kubelet; proxies to pods, services and nodes.
//!
//! What stands here decides where a request goes ([`Location`], one file a subresource) and hands it to one of two carriers:
//! [`log`] streams an answer, [`forward`] passes requests and upgraded connections through. The request has been authenticated,
//! authorized and admitted before; its credentials end here.

mod backend;
mod forward;
mod html;
mod kubelet_client;
mod log;
mod log_options;
mod node_proxy;
mod pod_container;
mod pod_proxy;
mod redirect;
mod remote_command;
mod scheme_name_port;
mod service_proxy;
mod tunnel;

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, status::Status};
use async_trait::async_trait;
use base::TaskGroup;
use http::{Request, Response};

use crate::{body::Body, context::Context, reader::ObjectReader, registry::Connector};

pub use kubelet_client::KubeletClientConfig;

pub(crate) use backend::Location;
pub(crate) use forward::pass;
use kubelet_client::KubeletClient;

const NODES: GroupResource = GroupResource::new("", "nodes");
const PODS: GroupResource = GroupResource::new("", "pods");
const SERVICES: GroupResource = GroupResource::new("", "services");
const ENDPOINTS: GroupResource = GroupResource::new("", "endpoints");

/// Serves all subresources that are connections.
pub struct ProxyConnector {
    reader: Arc<dyn ObjectReader>,
    kubelets: KubeletClient,
    /// Connections and tunnels; they end with the server.
    tasks: TaskGroup,
}

impl ProxyConnector {
    /// Finds pods, nodes and services through `reader`; connections live in `tasks`.
    pub fn new(
        kubelets: KubeletClientConfig,
        reader: Arc<dyn ObjectReader>,
        tasks: TaskGroup,
    ) -> Self {
        Self {
            reader,
            kubelets: KubeletClient::new(kubelets),
            tasks,
        }
    }

    /// An object as it is now, or the 404 that names it.
    async fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, Status> {
        let found = self.reader.get_fresh(resource, namespace, name).await?;
        found.ok_or_else(|| Status::not_found(resource, name))
    }

    async fn pod(&self, context: &Context) -> Result<Arc<Object>, Status> {
        self.get(&PODS, &context.info.namespace, &context.info.name)
            .await
    }

    /// The kubelet of a node. That there is none is said in the name of the resource that was asked for, as upstream.
    async fn kubelet(
        &self,
        context: &Context,
        node_name: &str,
    ) -> Result<kubelet_client::Kubelet, Status> {
        let asked_for = context.info.gvr().group_resource();
        let node = self.reader.get_fresh(&NODES, "", node_name).await?;
        let node = node.ok_or_else(|| Status::not_found(&asked_for, node_name))?;
        self.kubelets.of_node(&node)
    }
}

#[async_trait]
impl Connector for ProxyConnector {
    async fn connect(
        &self,
        context: &Arc<Context>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let info = &context.info;
        match (info.resource.as_str(), info.subresource.as_str()) {
            ("pods", "log") => self.log(context, request).await,
            ("pods", "exec" | "attach") => {
                let location = self.remote_command_location(context).await?;
                self.upgrade(context, location, request).await
            }
            ("pods", "portforward") => {
                let location = self.port_forward_location(context).await?;
                self.upgrade(context, location, request).await
            }
            ("pods", "proxy") => {
                let location = self.pod_location(context).await?;
                self.proxy(context, location, request).await
            }
            ("services", "proxy") => {
                let location = self.service_location(context).await?;
                self.proxy(context, location, request).await
            }
            ("nodes", "proxy") => {
                let location = self.node_location(context).await?;
                self.proxy(context, location, request).await
            }
            _ => Err(Status::unknown_path()),
        }
    }
}

/// Encodes one part of a query.
fn query_escape(text: &str) -> String {
    escape(text, b"-_.~")
}

/// Encodes one segment of a path.
fn path_escape(text: &str) -> String {
    escape(text, b"-_.~$&+:=@")
}

fn escape(text: &str, plain: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A query of pairs, with its question mark; empty without pairs.
fn query_of(pairs: &[(&str, String)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", query_escape(value)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let pairs = [
            ("command", "sh".to_owned()),
            ("command", "a b&c=ü".to_owned()),
        ];
        assert_eq!(query_of(&pairs), "?command=sh&command=a%20b%26c%3D%C3%BC");
        assert_eq!(query_of(&[]), "");
        assert_eq!(path_escape("a/b"), "a%2Fb");
    }
}
