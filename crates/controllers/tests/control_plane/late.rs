//! Controllers that hear of one resource late.

use std::sync::Arc;

use async_trait::async_trait;
use base::TaskGroup;
use bytes::Bytes;
use client::{Body, Transport, TransportError};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::{mpsc, watch};

/// Watches of a resource tell nothing as long as it is not time.
pub(crate) struct Late {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) resource: &'static str,
    pub(crate) is_time: watch::Receiver<bool>,
    pub(crate) tasks: TaskGroup,
}

#[async_trait]
impl Transport for Late {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let uri = request.uri();
        let is_watch = uri.query().is_some_and(|query| query.contains("watch="));
        let is_late = is_watch && uri.path().ends_with(self.resource);
        let response = self.transport.send(request).await?;
        Ok(match is_late {
            true => response.map(|body| self.late(body)),
            false => response,
        })
    }
}

impl Late {
    fn late(&self, mut body: Body) -> Body {
        let (told, mut heard) = mpsc::channel(1);
        let mut is_time = self.is_time.clone();
        self.tasks.spawn_cancellable("late", async move {
            while let Some(frame) = body.frame().await {
                let _ = is_time.wait_for(|is_time| *is_time).await;
                if told.send(frame).await.is_err() {
                    break;
                }
            }
        });
        StreamBody::new(stream::poll_fn(move |cx| heard.poll_recv(cx))).boxed()
    }
}
