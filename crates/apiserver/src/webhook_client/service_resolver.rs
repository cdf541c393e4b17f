//! From a Service's name and port to an address: the ClusterIP, as upstream's default resolver has it. The pods behind it are
//! kube-proxy's business.

use apimachinery::gvk::GroupResource;

use super::CallError;
use crate::{lookup, reader::ObjectReader};

const SERVICES: GroupResource = GroupResource::new("", "services");

/// Host (or address) and port behind which a Service's port is.
pub(crate) fn resolve(
    reader: &dyn ObjectReader,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<(String, u16), CallError> {
    let fail = |reason: String| Err(CallError::Resolve(reason));
    let Some(service) = reader.get(&SERVICES, namespace, name) else {
        return fail(format!("service {name:?} not found"));
    };
    let address = lookup::text(&service, &["spec", "clusterIP"]);
    match lookup::text(&service, &["spec", "type"]) {
        "ClusterIP" if address == "None" => {
            fail("cannot route to service with ClusterIP \"None\"".to_owned())
        }
        "ClusterIP" | "NodePort" | "LoadBalancer" => {
            let known = lookup::objects(&service, &["spec", "ports"])
                .any(|known| lookup::number(known, &["port"]) == Some(port.into()));
            if !known {
                return fail(format!("no service port {port} found for service {name:?}"));
            }
            Ok((address.to_owned(), port))
        }
        "ExternalName" => Ok((
            lookup::text(&service, &["spec", "externalName"]).to_owned(),
            port,
        )),
        other => fail(format!("unsupported service type {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::memory_reader::MemoryReader;

    #[test]
    fn only_what_has_an_address_is_resolved() {
        let service = |name: &str, spec: serde_json::Value| {
            (
                "services",
                json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec}),
            )
        };
        let reader = MemoryReader::with([
            service(
                "plain",
                json!({"type": "ClusterIP", "clusterIP": "10.0.0.9", "ports": [{"port": 443}]}),
            ),
            service(
                "headless",
                json!({"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 443}]}),
            ),
            service(
                "elsewhere",
                json!({"type": "ExternalName", "externalName": "example.com"}),
            ),
        ]);
        let resolve = |name, port| resolve(&*reader, "n", name, port).map_err(|e| e.to_string());
        assert_eq!(resolve("plain", 443), Ok(("10.0.0.9".to_owned(), 443)));
        assert_eq!(
            resolve("plain", 80),
            Err("no service port 80 found for service \"plain\"".to_owned())
        );
        assert_eq!(
            resolve("headless", 443),
            Err("cannot route to service with ClusterIP \"None\"".to_owned())
        );
        assert_eq!(
            resolve("elsewhere", 8443),
            Ok(("example.com".to_owned(), 8443))
        );
        assert_eq!(
            resolve("absent", 443),
            Err("service \"absent\" not found".to_owned())
        );
    }
}
