//! Connect: exec, attach, port-forward, logs, proxies. The registry authorizes and admits; a [`Connector`] carries the bytes.

use std::sync::Arc;

use apimachinery::{Object, go, status::Status};
use async_trait::async_trait;
use http::{Request, Response};

use super::{Call, admit::Gate};
use crate::{
    admission::Operation, body::Body, context::Context, negotiation::Endpoint as Sort, query::Query,
};

/// Serves subresources that are connections. The request is whole: its body may be a stream, and its extensions hold the
/// connection's upgrade where there is one.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Answers, mostly with what the kubelet or the proxied server answers.
    async fn connect(
        &self,
        context: &Arc<Context>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status>;
}

impl Call<'_> {
    /// Any method of a connection's subresource.
    pub(super) async fn connect(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let is_log = self.context.info.subresource == "log";
        if !is_log && self.context.query.get("dryRun").is_some() {
            return Err(Status::bad_request("dryRun is not supported"));
        }
        let connector = self.registry.plugs().connector.clone();
        let connector = connector.ok_or_else(|| {
            Status::service_unavailable("connections to nodes are not served here")
        })?;
        if is_log {
            // Read like an object, and so what the client takes counts as if one came.
            self.accept(Sort::Answer)?;
        } else {
            self.admit_connect().await?;
        }
        connector.connect(self.context, request).await
    }

    async fn admit_connect(&self) -> Result<(), Status> {
        let kind = self
            .endpoint
            .row
            .subresources
            .iter()
            .find(|subresource| subresource.name == self.context.info.subresource)
            .map_or(&self.endpoint.row.gvk, |subresource| &subresource.gvk);
        let mut options = connect_options(&self.context.query)?;
        options.insert("kind".to_owned(), kind.kind.as_ref().into());
        options.insert(
            "apiVersion".to_owned(),
            kind.group_version().to_string().into(),
        );
        let empty = Object::new();
        let gate = Gate {
            operation: Operation::Connect,
            kind,
            dry_run: false,
            options: &empty,
        };
        self.admit(gate, Some(&mut options), None).await?;
        self.validate_admission(gate, Some(&mut options), None)
            .await
    }
}

/// `PodExecOptions`, `PodAttachOptions`, `PodPortForwardOptions`, `PodProxyOptions`, …: the query, typed as upstream's decoding of it does.
fn connect_options(query: &Query) -> Result<Object, Status> {
    let mut options = Object::new();
    for name in ["stdin", "stdout", "stderr", "tty"] {
        if query.flag(name) {
            options.insert(name.to_owned(), true.into());
        }
    }
    for name in ["container", "path"] {
        if let Some(value) = query.get(name).filter(|value| !value.is_empty()) {
            options.insert(name.to_owned(), value.into());
        }
    }
    let command: Vec<&str> = query.all("command").collect();
    if !command.is_empty() {
        options.insert("command".to_owned(), command.into());
    }
    let ports: Vec<i64> = query
        .all("ports")
        .flat_map(|ports| ports.split(','))
        .map(port)
        .collect::<Result<_, _>>()?;
    if !ports.is_empty() {
        options.insert("ports".to_owned(), ports.into());
    }
    Ok(options)
}

/// A port of a query, refused in Go's words.
fn port(text: &str) -> Result<i64, Status> {
    let port: Result<u16, _> = go::parse_uint(text);
    port.map(i64::from)
        .map_err(|error| Status::bad_request(format!("cannot convert to []int32: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers() {
        let options = |query: &str| connect_options(&Query::parse(query));
        assert_eq!(
            options("ports=80,81").unwrap()["ports"],
            serde_json::json!([80, 81])
        );
        for (query, why) in [
            ("ports=abc", "parsing \"abc\": invalid syntax"),
            ("ports=80,70000", "parsing \"70000\": value out of range"),
        ] {
            let message = options(query).unwrap_err().message;
            assert_eq!(
                message,
                format!("cannot convert to []int32: strconv.ParseUint: {why}")
            );
        }
    }
}
