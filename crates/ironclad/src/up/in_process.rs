//! The transport of components that share the API server's process: a function call with the same bytes, credentials, authorization and
//! admission as over the network.

use std::sync::Arc;

use apiserver::{authn::Peer, body::Chunk, pipeline::Pipeline};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use base::Reloader;
use bootstrap::Identity;
use bytes::Bytes;
use client::{Body, Transport, TransportError};
use http_body_util::BodyExt;

/// Calls the pipeline: as one user, or with what credentials each request brings.
pub(crate) struct InProcess {
    pipeline: Arc<Pipeline>,
    peer: Arc<ArcSwap<Peer>>,
}

impl InProcess {
    /// As whoever this identity's certificate names, also when its file has been renewed: `reloader` follows it.
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        identity: &Identity,
        reloader: &mut Reloader,
    ) -> Self {
        let peer = Arc::new(ArcSwap::from_pointee(showing(identity.certificate_der())));
        let (path, shown) = (identity.certificate_path.clone(), Arc::clone(&peer));
        reloader.watch([identity.certificate_path.as_path()], move || {
            let pem = std::fs::read(&path).map_err(|error| error.to_string())?;
            let certificate = bootstrap::certificate_der(&pem)
                .ok_or_else(|| "there is no certificate in it".to_owned())?;
            shown.store(Arc::new(showing(certificate)));
            Ok(())
        });
        Self { pipeline, peer }
    }

    /// As whoever the bearer token of a request names, and otherwise as nobody.
    pub(crate) fn bare(pipeline: Arc<Pipeline>) -> Self {
        let peer = Arc::new(ArcSwap::from_pointee(Peer::default()));
        Self { pipeline, peer }
    }
}

fn showing(certificate: Vec<u8>) -> Peer {
    Peer {
        certificates: [certificate].into(),
        address: None,
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        let request = request.map(apiserver::Body::from);
        let response = self
            .pipeline
            .serve(request, Peer::clone(&self.peer.load()))
            .await;
        Ok(response.map(|body| {
            body.map_frame(|frame| frame.map_data(Chunk::into_bytes))
                .boxed()
        }))
    }
}
