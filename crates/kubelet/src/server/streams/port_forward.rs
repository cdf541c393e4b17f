//! port-forward: every connection that the client opens is one to a port on the pod's loopback address.

use std::io;

use cri::Streaming;
use http::Response;
use httpstream::{PortForward, PortStream, Upgrade};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};

use super::{
    super::{
        body::{Body, Refusal},
        idle::IdleTimeout,
        query::Query,
        router::{Call, Router},
    },
    Upgraded, switching,
};
use crate::pod::{format_pod, uid};

/// `/portForward/…`.
pub(in super::super) async fn port_forward(
    router: &Router,
    pod: Pod,
    mut call: Call,
) -> Result<Response<Body>, Refusal> {
    let upgrade = Upgrade::port_forward(call.request.headers())?;
    let ports = ports(&call.query)?;
    let sandbox = router.host.sandbox_id(&pod).await?.ok_or_else(|| {
        Refusal::internal(format!(
            "failed to find sandbox for pod {}",
            format_pod(&pod)
        ))
    })?;
    let upgraded = hyper::upgrade::on(&mut call.request);
    let (protocol, idle) = (upgrade.protocol, router.idle_timeout);
    let (tasks, streaming) = (router.tasks.clone(), router.host.streaming().clone());
    router.tasks.spawn_cancellable("port-forward", async move {
        let carried = async {
            let connection = upgraded.await.map_err(io::Error::other)?;
            let connection: Upgraded = IdleTimeout::new(TokioIo::new(connection), idle);
            let mut client = PortForward::accept(protocol, connection, &ports, &tasks).await?;
            let (pod, sandbox) = (Arc::new(pod), Arc::<str>::from(sandbox));
            while let Some(stream) = client.next().await {
                let (streaming, pod, sandbox) = (streaming.clone(), pod.clone(), sandbox.clone());
                tasks.spawn_cancellable("forwarded-port", async move {
                    forward(streaming.as_ref(), &sandbox, &pod, stream).await;
                });
            }
            Ok::<(), io::Error>(())
        };
        if let Err(error) = carried.await {
            tracing::debug!(%error, "a port-forward's connection broke");
        }
    });
    Ok(switching(upgrade))
}

/// Copies until both sides have ended. What goes wrong is told to the client on the error stream.
async fn forward(streaming: &dyn Streaming, sandbox: &str, pod: &Pod, stream: PortStream) {
    let PortStream {
        port,
        mut data,
        mut error,
    } = stream;
    let carried = async {
        let mut connection = streaming
            .port_forward(sandbox, port)
            .await
            .map_err(|error| error.message().to_owned())?;
        copy_bidirectional(&mut data, &mut connection)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    if let Err(reason) = carried.await {
        let (pod, uid) = (format_pod(pod), uid(pod));
        let message = format!("error forwarding port {port} to pod {pod}, uid {uid}: {reason}");
        tracing::debug!("{message}");
        // The client may have gone.
        let _ = error.write_all(message.as_bytes()).await;
    }
    let _ = error.shutdown().await;
}

/// Ports in the query, which only WebSocket clients of old name there: `port=80,81&port=82`.
fn ports(query: &Query) -> Result<Vec<u16>, Refusal> {
    query
        .all("port")
        .flat_map(|ports| ports.split(','))
        .filter(|port| !port.is_empty())
        .map(|port| {
            port.trim()
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| Refusal::bad_request(format!("unable to parse {port:?} as a port")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_query() {
        assert_eq!(
            ports(&Query::parse("port=80,81&port=82")).unwrap(),
            [80, 81, 82]
        );
        assert_eq!(ports(&Query::parse("")).unwrap(), Vec::<u16>::new());
        assert!(ports(&Query::parse("port=0")).is_err());
    }
}
