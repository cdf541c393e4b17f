//! ComponentStatuses: how the other parts of the control plane on this machine are. Deprecated, and asked for by people all the same.
//!
//! Nothing is stored: each request asks the scheduler and the controller manager on their secure ports, and the store.

use std::{sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, meta, status::Status};
use base::tls::{Trust, client_config};
use etcd::{KeyRange, RangeRequest};
use http::{Request, Response, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Call, table};
use crate::{
    body::Body,
    negotiation::{Endpoint as Sort, Transform, respond_object},
};

/// As long as upstream waits for a component.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Names and secure ports.
const COMPONENTS: [(&str, u16); 2] = [("controller-manager", 10_257), ("scheduler", 10_259)];
const STORE: &str = "etcd-0";

impl Call<'_> {
    /// `GET componentstatuses`, or one of them.
    pub(super) async fn components(&self) -> Result<Response<Body>, Status> {
        let name = self.context.info.name.as_str();
        let is_list = self.context.info.verb == "list";
        let sort = if is_list { Sort::List } else { Sort::Object };
        let accept = self.accept(sort)?;
        let predicate = self.predicate()?;
        if is_list {
            self.check_fields(&predicate)?;
        }
        let [(manager, manager_port), (scheduler, scheduler_port)] = COMPONENTS;
        let (manager_health, scheduler_health, store_health) = tokio::join!(
            probe(manager_port),
            probe(scheduler_port),
            self.store_health()
        );
        let mut components = vec![
            component(manager, manager_health),
            component(scheduler, scheduler_health),
            component(STORE, store_health),
        ];
        if !is_list {
            let found = components.into_iter().find(|c| meta::name(c) == name);
            // Here alone upstream names the resource in the singular.
            let missing = || Status::not_found(&GroupResource::new("", "componentstatus"), name);
            let component = found.ok_or_else(missing)?;
            return self.respond_tree(component, accept, StatusCode::OK);
        }
        components.retain(|component| {
            let field = |field: &str| (field == "metadata.name").then(|| meta::name(component));
            predicate.labels.matches(meta::labels(component)) && predicate.fields.matches(field)
        });
        let (object, gvk) = match accept.transform {
            Transform::PartialObjectMetadata => return Err(self.is_a_list()),
            Transform::PartialObjectMetadataList => {
                let items = components.iter().map(|component| {
                    let (metadata, _) = table::metadata_of(self.endpoint, component);
                    metadata
                });
                table::metadata_list(items.collect(), json!({}))
            }
            Transform::None | Transform::Table => {
                for component in &mut components {
                    component.remove("kind");
                    component.remove("apiVersion");
                }
                let list = json!({
                    "kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": components,
                });
                let list = list.as_object().cloned().unwrap_or_default();
                if accept.transform == Transform::Table {
                    table::of_objects(self, &list)?
                } else {
                    let group_version = self.endpoint.row.gvk.group_version();
                    (list, group_version.kind("ComponentStatusList"))
                }
            }
        };
        respond_object(&self.context.headers, StatusCode::OK, accept, &object, &gvk)
    }

    async fn store_health(&self) -> Result<String, String> {
        let request = RangeRequest::new(KeyRange::key("/registry/health"));
        match tokio::time::timeout(TIMEOUT, self.registry.kv.range(request)).await {
            Ok(Ok(_)) => Ok("ok".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("context deadline exceeded".to_owned()),
        }
    }
}

fn component(name: &str, health: Result<String, String>) -> Object {
    let condition: Value = match health {
        Ok(message) => json!({"type": "Healthy", "status": "True", "message": message}),
        Err(message) => json!({"type": "Healthy", "status": "False", "message": message}),
    };
    let object = json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition],
    });
    object.as_object().cloned().unwrap_or_default()
}

/// What a component says of itself at `/healthz`.
async fn probe(port: u16) -> Result<String, String> {
    let address = format!("127.0.0.1:{port}");
    let failed = |error: String| format!("Get \"https://{address}/healthz\": {error}");
    match tokio::time::timeout(TIMEOUT, get(&address)).await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed("context deadline exceeded".to_owned())),
    }
}

async fn get(address: &str) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {address}: {reason}")
    })?;
    // Its certificate is for other names; whoever listens there could be asked by anybody on this machine.
    let config = client_config(Trust::Anything, None).map_err(|error| error.to_string())?;
    let name = ServerName::try_from("127.0.0.1").map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::get("/healthz")
        .header(http::header::HOST, address)
        .body(Body::Empty)
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = http_body_util::BodyExt::collect(response.into_body()).await?;
        Ok::<_, hyper::Error>((status, body.to_bytes()))
    };
    tokio::pin!(connection);
    let (status, body) = tokio::select! {
        answer = answer => answer.map_err(|error| error.to_string())?,
        ended = &mut connection => {
            return Err(ended.err().map_or_else(|| "EOF".to_owned(), |error| error.to_string()));
        }
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK {
        Ok(text)
    } else {
        Err(format!(
            "HTTP probe failed with statuscode: {}",
            status.as_u16()
        ))
    }
}
