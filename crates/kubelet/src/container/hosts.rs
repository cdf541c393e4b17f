//! The pod's host name, and the `/etc/hosts` that the kubelet keeps for it.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::{host_network, name, namespace, spec};

/// What the kernel takes.
const MAX_HOST_NAME: usize = 64;
/// A DNS label, to which a pod's name is cut.
const MAX_LABEL: usize = 63;

/// Host name and fully qualified domain of a pod; the domain is empty without a subdomain. The error is a message for an event.
pub fn pod_hostname(pod: &Pod, cluster_domain: &str) -> Result<(String, String), String> {
    let spec = spec(pod);
    if let Some(name) = spec
        .hostname_override
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        return Ok((name.to_owned(), String::new()));
    }
    let hostname = match spec.hostname.as_deref().filter(|name| !name.is_empty()) {
        Some(hostname) => hostname.to_owned(),
        // A name that is cut may end in what no label may end in.
        None => name(pod)
            .get(..MAX_LABEL)
            .unwrap_or(name(pod))
            .trim_end_matches(['-', '.'])
            .to_owned(),
    };
    let domain = match spec.subdomain.as_deref().filter(|name| !name.is_empty()) {
        Some(subdomain) => format!("{subdomain}.{}.svc.{cluster_domain}", namespace(pod)),
        None => String::new(),
    };
    if spec.set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        let full = format!("{hostname}.{domain}");
        if full.len() > MAX_HOST_NAME {
            return Err(format!(
                "Failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long ({MAX_HOST_NAME} \
                 characters is the max, {} characters requested)",
                full.len()
            ));
        }
        return Ok((full, domain));
    }
    Ok((hostname, domain))
}

/// The content of a pod's `/etc/hosts`. `node` is the node's own file, for pods on its network.
pub fn hosts_file(
    pod: &Pod,
    pod_ips: &[String],
    hostname: &str,
    domain: &str,
    node: &str,
) -> String {
    let mut text = if host_network(pod) {
        format!("# Kubernetes-managed hosts file (host network).\n{node}")
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n\
             127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\n\
             fe00::1\tip6-allnodes\n\
             fe00::2\tip6-allrouters\n",
        );
        // With setHostnameAsFQDN the host name carries the domain already.
        let short = hostname
            .strip_suffix(domain)
            .map_or(hostname, |short| short.trim_end_matches('.'));
        for ip in pod_ips {
            let _ = match domain {
                "" => writeln!(text, "{ip}\t{hostname}"),
                _ => writeln!(text, "{ip}\t{short}.{domain}\t{short}"),
            };
        }
        text
    };
    let aliases = spec(pod).host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
            let _ = writeln!(text, "{}\t{names}", alias.ip);
        }
    }
    text
}
