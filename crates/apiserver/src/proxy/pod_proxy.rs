//! `pods/[SCHEME:]NAME[:PORT]/proxy`: the pod's address, at the port named or the first that a container declares.

use std::net::IpAddr;

use apimachinery::{Object, status::Status};

use super::{
    Location, PODS, ProxyConnector, kubelet_client::unverified_tls, redirect,
    scheme_name_port::SchemeNamePort,
};
use crate::{context::Context, lookup};

impl ProxyConnector {
    pub(super) async fn pod_location(&self, context: &Context) -> Result<Location, Status> {
        let info = &context.info;
        let id = SchemeNamePort::parse(&info.name)
            .ok_or_else(|| Status::bad_request(format!("invalid pod request {:?}", info.name)))?;
        let pod = self.get(&PODS, &info.namespace, id.name).await?;
        let port = match id.port {
            "" => first_port(&pod),
            port => port.to_owned(),
        };
        let host = lookup::text(&pod, &["status", "podIP"]);
        if host.parse::<IpAddr>().is_err() {
            return Err(not_allowed());
        }
        check_proxyable(host)?;
        let tls = if id.is_https() {
            Some(unverified_tls()?)
        } else {
            None
        };
        let default_port = if tls.is_some() { "443" } else { "80" };
        Ok(Location {
            host: host.to_owned(),
            port: if port.is_empty() {
                default_port.to_owned()
            } else {
                port
            },
            path: redirect::split_path(&info.path, info).1.to_owned(),
            query: String::new(),
            tls,
            server_name: None,
        })
    }
}

/// The first port that any container declares.
fn first_port(pod: &Object) -> String {
    lookup::objects(pod, &["spec", "containers"])
        .find_map(|container| {
            let port = lookup::objects(container, &["ports"]).next()?;
            lookup::number(port, &["containerPort"])
        })
        .map(|port| port.to_string())
        .unwrap_or_default()
}

fn not_allowed() -> Status {
    Status::bad_request("address not allowed")
}

/// Refuses addresses that would turn the proxy upon this machine itself or its link: loopback, link-local, multicast. Names pass: they
/// stand in Node objects, which nodes alone write.
pub(super) fn check_proxyable(host: &str) -> Result<(), Status> {
    let Ok(address) = host.parse::<IpAddr>() else {
        return Ok(());
    };
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() || is_link_local
    {
        return Err(not_allowed());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_unicast_addresses_are_proxied_to() {
        for refused in [
            "127.0.0.1",
            "169.254.169.254",
            "::1",
            "fe80::1",
            "224.0.0.1",
            "0.0.0.0",
        ] {
            assert_eq!(
                check_proxyable(refused).unwrap_err().message,
                "address not allowed",
                "{refused}"
            );
        }
        for allowed in ["10.0.0.1", "fd00::1", "node-1"] {
            assert!(check_proxyable(allowed).is_ok(), "{allowed}");
        }
    }
}
