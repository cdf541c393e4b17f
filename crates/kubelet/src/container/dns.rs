//! `resolv.conf` of a pod, from `dnsPolicy`, `dnsConfig`, the cluster's and the node's resolver.

use std::net::IpAddr;

use cri::v1::DnsConfig;
use k8s_openapi::api::core::v1::Pod;

use crate::pod::{host_network, namespace, spec};

/// What the kernel's resolver takes.
const MAX_NAMESERVERS: usize = 3;

/// The node's own resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostResolver {
    /// `nameserver`.
    pub nameservers: Vec<String>,
    /// `search`, the last line of it.
    pub searches: Vec<String>,
    /// `options`, all lines together.
    pub options: Vec<String>,
}

/// Reads a `resolv.conf`.
pub fn parse_resolv_conf(text: &str) -> HostResolver {
    let mut resolver = HostResolver::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let keyword = words.next();
        let values = words.map(str::to_owned);
        match keyword {
            Some("nameserver") => resolver.nameservers.extend(values.take(1)),
            Some("search" | "domain") => {
                resolver.searches = values.filter(|search| search != ".").collect();
            }
            Some("options") => resolver.options.extend(values),
            _ => {}
        }
    }
    resolver
}

/// The resolver of one pod.
pub fn pod_dns(
    pod: &Pod,
    host: &HostResolver,
    cluster_dns: &[IpAddr],
    cluster_domain: &str,
) -> DnsConfig {
    let policy = spec(pod).dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !host_network(pod),
        _ => false,
    };
    let mut dns = if policy == "None" {
        DnsConfig::default()
    } else if cluster && !cluster_dns.is_empty() {
        let mut searches = Vec::new();
        if !cluster_domain.is_empty() {
            searches.push(format!("{}.svc.{cluster_domain}", namespace(pod)));
            searches.push(format!("svc.{cluster_domain}"));
            searches.push(cluster_domain.to_owned());
        }
        searches.extend(host.searches.iter().cloned());
        let servers = cluster_dns.iter().map(ToString::to_string).collect();
        DnsConfig {
            servers,
            searches,
            options: vec!["ndots:5".to_owned()],
        }
    } else {
        DnsConfig {
            servers: host.nameservers.clone(),
            searches: host.searches.clone(),
            options: host.options.clone(),
        }
    };
    if let Some(wanted) = &spec(pod).dns_config {
        dns.servers
            .extend(wanted.nameservers.iter().flatten().cloned());
        dns.searches
            .extend(wanted.searches.iter().flatten().cloned());
        for option in wanted.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            // An option of the pod replaces the same one of the policy.
            dns.options
                .retain(|old| old.split(':').next() != Some(name.as_str()));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    remove_duplicates(&mut dns.servers);
    remove_duplicates(&mut dns.searches);
    dns.servers.truncate(MAX_NAMESERVERS);
    dns
}

fn remove_duplicates(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"namespace": "ns"}, "spec": value}))
            .unwrap()
    }

    #[test]
    fn policies() {
        let host =
            parse_resolv_conf("# x\nnameserver 1.1.1.1\nsearch corp example\noptions timeout:1\n");
        let cluster = ["10.96.0.10".parse().unwrap()];
        let dns = |spec| pod_dns(&pod(spec), &host, &cluster, "cluster.local");
        let first = dns(serde_json::json!({"containers": []}));
        assert_eq!(first.servers, ["10.96.0.10"]);
        assert_eq!(
            first.searches,
            [
                "ns.svc.cluster.local",
                "svc.cluster.local",
                "cluster.local",
                "corp",
                "example"
            ]
        );
        assert_eq!(first.options, ["ndots:5"]);
        let host_net = dns(serde_json::json!({"containers": [], "hostNetwork": true}));
        assert_eq!(host_net.servers, ["1.1.1.1"]);
        assert_eq!(host_net.options, ["timeout:1"]);
        let own = dns(
            serde_json::json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["9.9.9.9"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
        );
        assert_eq!(
            (own.servers, own.searches),
            (vec!["9.9.9.9".to_owned()], vec!["a".to_owned()])
        );
        assert_eq!(own.options, ["ndots:2", "edns0"]);
        let both = dns(
            serde_json::json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
        );
        assert_eq!(both.options, ["ndots:1"]);
    }
}
