//! The transport of components that share the API server's process: a function call with the same bytes, credentials, authorization and
//! admission as over the network.

use std::sync::Arc;

use apiserver::{authn::Peer, pipeline::Pipeline};
use async_trait::async_trait;
use bytes::Bytes;
use client::{Body, Transport, TransportError};
use http_body_util::BodyExt;

/// Calls the pipeline as one user.
pub(crate) struct InProcess {
    pipeline: Arc<Pipeline>,
    peer: Peer,
}

impl InProcess {
    /// As nobody: who uses it adds credentials of its own.
    pub(crate) fn bare(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            peer: Peer::default(),
        }
    }

    /// As whoever this certificate (DER) names.
    pub(crate) fn new(pipeline: Arc<Pipeline>, certificate: Vec<u8>) -> Self {
        Self {
            pipeline,
            peer: Peer {
                certificates: [certificate].into(),
                address: None,
            },
        }
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let request = request.map(apiserver::Body::from);
        let response = self.pipeline.serve(request, self.peer.clone()).await;
        Ok(response.map(BodyExt::boxed))
    }
}
