//! Variables for services, as Docker links had them: `REDIS_SERVICE_HOST`, `REDIS_PORT_6379_TCP_ADDR`, …

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// The namespace of the service `kubernetes`, whose variables every pod gets.
const MASTER_NAMESPACE: &str = "default";

/// Variables for the services of the pod's namespace, if `links`, and always for the API server's.
pub fn service_variables(
    namespace: &str,
    services: &[Service],
    links: bool,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let is_master = |service: &Service| {
        service.metadata.name.as_deref() == Some("kubernetes")
            && service.metadata.namespace.as_deref() == Some(MASTER_NAMESPACE)
    };
    // The namespace's own service of that name wins, and so comes last.
    for service in services.iter().filter(|service| is_master(service)) {
        add(&mut env, service);
    }
    if links {
        let own = |service: &&Service| service.metadata.namespace.as_deref() == Some(namespace);
        for service in services.iter().filter(own) {
            add(&mut env, service);
        }
    }
    env
}

fn add(env: &mut BTreeMap<String, String>, service: &Service) {
    let (Some(name), Some(spec)) = (&service.metadata.name, &service.spec) else {
        return;
    };
    let Some(ip) = spec
        .cluster_ip
        .as_deref()
        .filter(|ip| !ip.is_empty() && *ip != "None")
    else {
        return;
    };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let prefix = variable_name(name);
    let host = if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    };
    env.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    env.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            env.insert(
                format!("{prefix}_SERVICE_PORT_{}", variable_name(port_name)),
                port.port.to_string(),
            );
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_ascii_lowercase(), port.port);
        if index == 0 {
            env.insert(format!("{prefix}_PORT"), url.clone());
        }
        let link = format!(
            "{prefix}_PORT_{}_{}",
            port.port,
            protocol.to_ascii_uppercase()
        );
        env.insert(format!("{link}_PROTO"), protocol.to_ascii_lowercase());
        env.insert(format!("{link}_PORT"), port.port.to_string());
        env.insert(format!("{link}_ADDR"), ip.to_owned());
        env.insert(link, url);
    }
}

fn variable_name(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
