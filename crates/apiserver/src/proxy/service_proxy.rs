//! `services/[SCHEME:]NAME[:PORT]/proxy`: one of the service's ready endpoints, by the port's name or number.
//!
//! An endpoint is used only if it is the address of the pod that it names: whoever may write Endpoints must not be able to send the
//! server anywhere.

use apimachinery::{Object, status::Status};

use super::{
    ENDPOINTS, Location, PODS, ProxyConnector, SERVICES, kubelet_client::unverified_tls,
    pod_proxy::check_proxyable, redirect, scheme_name_port::SchemeNamePort,
};
use crate::{context::Context, lookup};

impl ProxyConnector {
    pub(super) async fn service_location(&self, context: &Context) -> Result<Location, Status> {
        let info = &context.info;
        let id = SchemeNamePort::parse(&info.name).ok_or_else(|| {
            Status::bad_request(format!("invalid service request {:?}", info.name))
        })?;
        let service = self.get(&SERVICES, &info.namespace, id.name).await?;
        let port_name = port_name(&service, id)?;
        let endpoints = self.get(&ENDPOINTS, &info.namespace, id.name).await;
        let endpoints = endpoints.map_err(|status| {
            if status.is_not_found() {
                Status::not_found(&SERVICES, id.name)
            } else {
                status
            }
        })?;
        if lookup::list(&endpoints, &["subsets"]).is_empty() {
            let message = format!("no endpoints available for service {:?}", id.name);
            return Err(Status::service_unavailable(message));
        }
        let mut choices = addresses(&endpoints, &port_name);
        if !choices.is_empty() {
            // Spread over the endpoints; a random id is as good as a random number.
            let random = usize::try_from(uuid::Uuid::new_v4().as_u128() >> 96).unwrap_or(0);
            let first = random % choices.len();
            choices.rotate_left(first);
        }
        let chosen = choices
            .into_iter()
            .find(|choice| self.is_valid(choice, &info.namespace));
        let chosen = chosen.ok_or_else(|| {
            let message = format!("no endpoints available for service {:?}", info.name);
            Status::service_unavailable(message)
        })?;
        Ok(Location {
            host: chosen.ip,
            port: chosen.port.to_string(),
            path: redirect::split_path(&info.path, info).1.to_owned(),
            query: String::new(),
            tls: if id.is_https() {
                Some(unverified_tls()?)
            } else {
                None
            },
            server_name: None,
        })
    }

    fn is_valid(&self, choice: &Choice, namespace: &str) -> bool {
        if check_proxyable(&choice.ip).is_err() {
            return false;
        }
        let Some(pod_name) = &choice.pod else {
            return true;
        };
        self.reader
            .get(&PODS, namespace, pod_name)
            .is_some_and(|pod| {
                lookup::text(&pod, &["status", "podIP"]) == choice.ip
                    || lookup::objects(&pod, &["status", "podIPs"])
                        .any(|ip| lookup::text(ip, &["ip"]) == choice.ip)
            })
    }
}

/// One address and port.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    ip: String,
    port: i64,
    pod: Option<String>,
}

/// A port given by number is looked up among the service's.
fn port_name(service: &Object, id: SchemeNamePort<'_>) -> Result<String, Status> {
    let Ok(number) = id.port.parse::<u16>() else {
        return Ok(id.port.to_owned());
    };
    let ports = lookup::objects(service, &["spec", "ports"]);
    let named = ports
        .into_iter()
        .find(|port| lookup::number(port, &["port"]) == Some(number.into()));
    let port = named.ok_or_else(|| {
        let message = format!("no service port {number} found for service {:?}", id.name);
        Status::service_unavailable(message)
    })?;
    Ok(lookup::text(port, &["name"]).to_owned())
}

/// All ready addresses whose subset has the port. An empty name takes any.
fn addresses(endpoints: &Object, port_name: &str) -> Vec<Choice> {
    let mut choices = Vec::new();
    for subset in lookup::objects(endpoints, &["subsets"]) {
        let port = lookup::objects(subset, &["ports"])
            .find(|port| port_name.is_empty() || lookup::text(port, &["name"]) == port_name)
            .and_then(|port| lookup::number(port, &["port"]));
        let Some(port) = port else { continue };
        for address in lookup::objects(subset, &["addresses"]) {
            let is_pod = lookup::text(address, &["targetRef", "kind"]) == "Pod";
            choices.push(Choice {
                ip: lookup::text(address, &["ip"]).to_owned(),
                port,
                pod: is_pod.then(|| lookup::text(address, &["targetRef", "name"]).to_owned()),
            });
        }
    }
    choices
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_by_name_or_number() {
        let object = |value: serde_json::Value| value.as_object().unwrap().clone();
        let service = object(
            json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "admin", "port": 81}]}}),
        );
        let name = |id| port_name(&service, SchemeNamePort::parse(id).unwrap());
        assert_eq!(name("s:81").unwrap(), "admin");
        assert_eq!(name("s:web").unwrap(), "web");
        assert_eq!(name("s").unwrap(), "");
        let missing = name("s:82").unwrap_err();
        assert_eq!(
            (missing.code, missing.message.as_str()),
            (503, "no service port 82 found for service \"s\"")
        );

        let endpoints = object(json!({"subsets": [{
            "addresses": [{"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "p"}}, {"ip": "10.0.0.2"}],
            "ports": [{"name": "web", "port": 8080}, {"name": "admin", "port": 9090}],
        }]}));
        let choice = |ip: &str, port, pod: Option<&str>| Choice {
            ip: ip.to_owned(),
            port,
            pod: pod.map(str::to_owned),
        };
        assert_eq!(
            addresses(&endpoints, "admin"),
            [
                choice("10.0.0.1", 9090, Some("p")),
                choice("10.0.0.2", 9090, None)
            ]
        );
        assert_eq!(addresses(&endpoints, "other"), []);
    }
}
