//! Questions about a Pod object that all parts of the kubelet ask: what sort it is, its containers, its deadlines.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

/// Set on pods that do not come from the API: `file`.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// Set on mirror pods; the value is the static pod's hash.
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// Set on static pods: the hash of their manifest.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// Set on all pods in memory: when the kubelet first saw them.
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";

/// Upstream's `DefaultTerminationGracePeriodSeconds`, where neither the pod nor the API server's defaulting says one.
pub const DEFAULT_GRACE_PERIOD_SECONDS: i64 = 30;

/// `metadata.name`.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// `metadata.namespace`.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// `metadata.uid`.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`, as upstream's messages print a pod.
pub fn format_pod(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The spec; an object without one counts as empty.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// One annotation.
pub fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

/// Whether the pod comes from a manifest, not from the API.
pub fn is_static(pod: &Pod) -> bool {
    annotation(pod, CONFIG_SOURCE).is_some_and(|source| source != "api")
}

/// Whether the pod is the API's reflection of a static pod.
pub fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, CONFIG_MIRROR).is_some()
}

/// Whether the pod may not be evicted or preempted: static, mirror, or of system-critical priority.
pub fn is_critical(pod: &Pod) -> bool {
    const SYSTEM_CRITICAL: i32 = 2_000_000_000;
    is_static(pod)
        || is_mirror(pod)
        || spec(pod)
            .priority
            .is_some_and(|priority| priority >= SYSTEM_CRITICAL)
}

/// `spec.restartPolicy`, with its default.
pub fn restart_policy(pod: &Pod) -> &str {
    spec(pod).restart_policy.as_deref().unwrap_or("Always")
}

/// Whether the pod uses the node's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or_default()
}

/// Init containers, sidecars among them, in order.
pub fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}

/// Regular containers.
pub fn containers(pod: &Pod) -> &[Container] {
    &spec(pod).containers
}

/// Ephemeral containers.
pub fn ephemeral_containers(pod: &Pod) -> &[EphemeralContainer] {
    spec(pod)
        .ephemeral_containers
        .as_deref()
        .unwrap_or_default()
}

/// Whether this init container is a sidecar: one that runs on beside the regular containers.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Which list of the spec a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainerKind {
    /// `spec.initContainers`, sidecars included.
    Init,
    /// `spec.containers`.
    Regular,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

impl ContainerKind {
    /// The field path that events name: `spec.containers{web}`.
    pub fn field_path(self, name: &str) -> String {
        match self {
            Self::Init => format!("spec.initContainers{{{name}}}"),
            Self::Regular => format!("spec.containers{{{name}}}"),
            Self::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
        }
    }
}

/// Finds a container in any of the three lists.
pub fn find_container<'a>(pod: &'a Pod, name: &str) -> Option<(ContainerKind, Cow<'a, Container>)> {
    let by_name = |list: &'a [Container]| list.iter().find(|container| container.name == name);
    if let Some(container) = by_name(containers(pod)) {
        return Some((ContainerKind::Regular, Cow::Borrowed(container)));
    }
    if let Some(container) = by_name(init_containers(pod)) {
        return Some((ContainerKind::Init, Cow::Borrowed(container)));
    }
    let ephemeral = ephemeral_containers(pod)
        .iter()
        .find(|container| container.name == name)?;
    Some((
        ContainerKind::Ephemeral,
        Cow::Owned(as_container(ephemeral)),
    ))
}

/// An ephemeral container in the shape of the others; the fields are the same but for its target.
pub fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let ephemeral = ephemeral.clone();
    Container {
        args: ephemeral.args,
        command: ephemeral.command,
        env: ephemeral.env,
        env_from: ephemeral.env_from,
        image: ephemeral.image,
        image_pull_policy: ephemeral.image_pull_policy,
        lifecycle: ephemeral.lifecycle,
        liveness_probe: ephemeral.liveness_probe,
        name: ephemeral.name,
        ports: ephemeral.ports,
        readiness_probe: ephemeral.readiness_probe,
        resize_policy: ephemeral.resize_policy,
        resources: ephemeral.resources,
        restart_policy: ephemeral.restart_policy,
        restart_policy_rules: ephemeral.restart_policy_rules,
        security_context: ephemeral.security_context,
        startup_probe: ephemeral.startup_probe,
        stdin: ephemeral.stdin,
        stdin_once: ephemeral.stdin_once,
        termination_message_path: ephemeral.termination_message_path,
        termination_message_policy: ephemeral.termination_message_policy,
        tty: ephemeral.tty,
        volume_devices: ephemeral.volume_devices,
        volume_mounts: ephemeral.volume_mounts,
        working_dir: ephemeral.working_dir,
    }
}

/// How long the pod's containers may take to end: the deletion's grace period once it is being deleted, else the spec's.
pub fn grace_period_seconds(pod: &Pod) -> i64 {
    let of_spec = spec(pod)
        .termination_grace_period_seconds
        .unwrap_or(DEFAULT_GRACE_PERIOD_SECONDS);
    match pod.metadata.deletion_timestamp {
        Some(_) => pod
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or(of_spec),
        None => of_spec,
    }
}

/// Whether a pod of this start time has outlived its `activeDeadlineSeconds`; with the moment when it will.
pub fn active_deadline(pod: &Pod, start_time: Timestamp) -> Option<Timestamp> {
    let seconds = spec(pod).active_deadline_seconds?;
    start_time
        .checked_add(SignedDuration::from_secs(seconds))
        .ok()
}

/// Upstream's container hash: FNV-1a over the JSON of name and image. Only a change of these restarts a container.
pub fn container_hash(container: &Container) -> u32 {
    let text = format!(
        "{{\"image\":{},\"name\":{}}}",
        serde_json::Value::from(container.image.clone().unwrap_or_default()),
        serde_json::Value::from(container.name.clone()),
    );
    fnv1a(text.as_bytes())
}

/// 32-bit FNV-1a.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
