//! `pods/log`: what the kubelet reads from the container's log file, passed on as it comes, as text or in WebSocket messages.

use apimachinery::{gvk::GroupResource, status::Status};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use httpstream::{Protocol, Upgrade, send_body, wants_upgrade};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::{
    Location, ProxyConnector, log_options::LogOptions, pod_container, remote_command::path_of,
};
use crate::{
    body::{Body, Chunk},
    context::Context,
    lookup,
    upgraded::Upgraded,
};

/// So much of a refusal is read, in bytes.
const MAX_REFUSAL: usize = 10 << 10;
/// What refusals are about.
const LOG: GroupResource = GroupResource::new("", "pods/log");

impl ProxyConnector {
    /// Over WebSocket if the client asks for that, as browsers do.
    pub(super) async fn log(
        &self,
        context: &Context,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        if !wants_upgrade(&context.headers) {
            return self.log_text(context).await;
        }
        let log = self.log_text(context).await?;
        if log.status() == StatusCode::NO_CONTENT {
            return Ok(log);
        }
        let log = log.into_body().into_data_stream().map_ok(Chunk::into_bytes);
        let Upgrade { protocol, response } = Upgrade::body(&context.headers)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let base64 = protocol == Protocol::WebSocketBody { base64: true };
        let client = hyper::upgrade::on(&mut request);
        let upgraded = Upgraded::default();
        let held = upgraded.clone();
        self.tasks.spawn_cancellable("log-websocket", async move {
            let _held = held;
            match client.await {
                Ok(client) => send_body(TokioIo::new(client), base64, log).await,
                Err(error) => tracing::debug!(%error, "the upgrade did not come about"),
            }
        });
        let mut response = response.map(|()| Body::Empty);
        response.extensions_mut().insert(upgraded);
        Ok(response)
    }

    async fn log_text(&self, context: &Context) -> Result<Response<Body>, Status> {
        let info = &context.info;
        let options = LogOptions::parse(&context.query, &info.name)?;
        let pod = self.pod(context).await?;
        let container = pod_container::choose(&pod, &options.container)?;
        let node = lookup::text(&pod, &["spec", "nodeName"]);
        if node.is_empty() {
            // No node, no log yet.
            let mut nothing = Response::new(Body::Empty);
            *nothing.status_mut() = StatusCode::NO_CONTENT;
            return Ok(nothing);
        }
        let kubelet = self.kubelet(context, node).await?;
        let path = path_of(&["containerLogs", &info.namespace, &info.name, &container]);
        let verify = !options.insecure_skip_tls_verify;
        let location = self
            .kubelets
            .location(kubelet, path, options.kubelet_query(), verify)?;
        let response = location
            .send(kubelet_request(&location)?, &self.tasks)
            .await
            .map_err(|error| Status::unclassified(format!("Get {:?}: {error}", location.url())))?;
        if !response.status().is_success() {
            return Err(refusal(response, &info.name).await);
        }
        Ok(text(Body::from(response.into_body())))
    }
}

fn kubelet_request(location: &Location) -> Result<Request<Body>, Status> {
    Request::builder()
        .method(Method::GET)
        .uri(format!("{}{}", location.path, location.query))
        .header(header::HOST, location.authority())
        .header(header::USER_AGENT, "kube-apiserver")
        .body(Body::Empty)
        .map_err(Status::internal)
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// The kubelet's refusal as a `Status`.
async fn refusal(response: Response<Incoming>, pod_name: &str) -> Status {
    let code = response.status();
    let body = Limited::new(response.into_body(), MAX_REFUSAL)
        .collect()
        .await;
    let body = body
        .map(|body| body.to_bytes())
        .unwrap_or_else(|_| Bytes::new());
    let words = String::from_utf8_lossy(&body).into_owned();
    status_of(code, words, pod_name)
}

fn status_of(code: StatusCode, words: String, pod_name: &str) -> Status {
    match code {
        StatusCode::INTERNAL_SERVER_ERROR => Status::internal(words),
        StatusCode::BAD_REQUEST => Status::bad_request(words),
        // Upstream does not say the verb here.
        _ => Status::of_answer(code.as_u16(), "", &words).to_request("", &LOG, pod_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_words_reach_the_user() {
        let words = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating";
        let status = status_of(StatusCode::BAD_REQUEST, words.to_owned(), "p");
        assert_eq!(
            (status.code, status.reason.as_str(), status.message.as_str()),
            (400, "BadRequest", words)
        );
        let status = status_of(StatusCode::NOT_FOUND, String::new(), "p");
        assert_eq!(
            status.message,
            "the server could not find the requested resource ( pods/log p)"
        );
    }
}
