//! Connect: exec, attach, port-forward, logs, proxies. The registry authorizes and admits; a [`Connector`] carries the bytes.

use std::sync::Arc;

use apimachinery::{Object, status::Status};
use async_trait::async_trait;
use http::{Request, Response};

use super::{Call, admit::Gate};
use crate::{admission::Operation, body::Body, context::Context};

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
        let connector = self.registry.plugs().connector.clone();
        let connector = connector.ok_or_else(|| {
            Status::service_unavailable("connections to nodes are not served here")
        })?;
        if self.context.info.subresource != "log" {
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
        let mut options: Object = self
            .context
            .query
            .iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        options.insert("kind".to_owned(), kind.kind.as_ref().into());
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
