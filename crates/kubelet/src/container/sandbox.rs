//! The sandbox's configuration.

use std::collections::{BTreeMap, HashMap};

use cri::v1::{
    DnsConfig, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol,
    UserNamespace,
};
use k8s_openapi::api::core::v1::Pod;

use super::sandbox_security;
use crate::{
    config::KubeletConfig,
    observed::label,
    paths::Paths,
    pod::{containers, host_network, init_containers, is_sidecar, name, namespace, spec, uid},
    resources::{cgroup_parent, pod_resources},
};

/// What the sandbox's configuration needs beside the pod.
pub struct SandboxInputs<'a> {
    /// The kubelet's configuration.
    pub config: &'a KubeletConfig,
    /// Directories.
    pub paths: &'a Paths,
    /// Number of the try.
    pub attempt: u32,
    /// Host name.
    pub hostname: String,
    /// Resolver.
    pub dns: DnsConfig,
    /// Its user namespace, if not the node's.
    pub users: Option<UserNamespace>,
}

/// The labels of a pod's sandbox.
pub(super) fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    HashMap::from([
        (label::POD_NAME.to_owned(), name(pod).to_owned()),
        (label::POD_NAMESPACE.to_owned(), namespace(pod).to_owned()),
        (label::POD_UID.to_owned(), uid(pod).to_owned()),
    ])
}

/// The configuration of a pod's sandbox.
pub fn sandbox_config(pod: &Pod, inputs: &SandboxInputs<'_>) -> PodSandboxConfig {
    let mut labels: HashMap<_, _> = pod
        .metadata
        .labels
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    labels.extend(pod_labels(pod));
    let sysctls: BTreeMap<_, _> = spec(pod)
        .security_context
        .iter()
        .flat_map(|context| context.sysctls.iter().flatten())
        // The kernel's file names have slashes where sysctl(8) has dots; the runtime takes the dotted form.
        .map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone()))
        .collect();
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name(pod).to_owned(),
            uid: uid(pod).to_owned(),
            namespace: namespace(pod).to_owned(),
            attempt: inputs.attempt,
        }),
        // The node's UTS namespace goes with its network.
        hostname: if host_network(pod) {
            String::new()
        } else {
            inputs.hostname.clone()
        },
        log_directory: inputs.paths.pod_logs(pod).to_string_lossy().into_owned(),
        dns_config: Some(inputs.dns.clone()),
        port_mappings: port_mappings(pod),
        labels,
        annotations: pod
            .metadata
            .annotations
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: if inputs.config.cgroups_per_qos {
                cgroup_parent(inputs.config, pod)
            } else {
                String::new()
            },
            security_context: Some(sandbox_security(
                pod,
                inputs.config.seccomp_default,
                inputs.users.clone(),
            )),
            sysctls: sysctls.into_iter().collect(),
            overhead: None,
            resources: Some(pod_resources(inputs.config, pod)),
        }),
    }
}

/// Host ports, and container ports for the runtime's information. On the node's network there is nothing to map.
fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    if host_network(pod) {
        return Vec::new();
    }
    containers(pod)
        .iter()
        .chain(
            init_containers(pod)
                .iter()
                .filter(|container| is_sidecar(container)),
        )
        .flat_map(|container| container.ports.iter().flatten())
        .map(|port| PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp as i32,
                Some("SCTP") => Protocol::Sctp as i32,
                _ => Protocol::Tcp as i32,
            },
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or_default(),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}
