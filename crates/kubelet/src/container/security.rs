//! `securityContext`, pod's and container's together, as the runtime wants it.

use cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext,
    NamespaceMode, NamespaceOption, SeLinuxOption, SecurityProfile, SupplementalGroupsPolicy,
    UserNamespace, security_profile::ProfileType,
};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile,
    SecurityContext,
};

use crate::pod::{ContainerKind, ephemeral_containers, format_pod, host_network, spec};

/// What is hidden of `/proc` and `/sys` unless the container is privileged or asks for `procMount: Unmasked`.
const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// One more, which upstream masks as well.
const MASKED_POWERCAP: &str = "/sys/devices/virtual/powercap";
const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn pod_context(pod: &Pod) -> PodSecurityContext {
    spec(pod).security_context.clone().unwrap_or_default()
}

fn int64(value: Option<i64>) -> Option<Int64Value> {
    value.map(|value| Int64Value { value })
}

/// Namespaces that the whole pod shares.
fn namespaces(pod: &Pod, users: Option<UserNamespace>) -> NamespaceOption {
    let spec = spec(pod);
    let node_or_pod = |host: bool| {
        if host {
            NamespaceMode::Node
        } else {
            NamespaceMode::Pod
        }
    };
    let pid = match (
        spec.host_pid == Some(true),
        spec.share_process_namespace == Some(true),
    ) {
        (true, _) => NamespaceMode::Node,
        (false, true) => NamespaceMode::Pod,
        (false, false) => NamespaceMode::Container,
    };
    NamespaceOption {
        network: node_or_pod(host_network(pod)) as i32,
        ipc: node_or_pod(spec.host_ipc == Some(true)) as i32,
        pid: pid as i32,
        userns_options: users,
        ..NamespaceOption::default()
    }
}

fn seccomp(profile: Option<&SeccompProfile>, privileged: bool, default: bool) -> SecurityProfile {
    if privileged {
        return profile_of(ProfileType::Unconfined, "");
    }
    match profile.map(|profile| profile.type_.as_str()) {
        Some("RuntimeDefault") => profile_of(ProfileType::RuntimeDefault, ""),
        Some("Localhost") => {
            let file = profile
                .and_then(|profile| profile.localhost_profile.as_deref())
                .unwrap_or_default();
            profile_of(ProfileType::Localhost, file)
        }
        None if default => profile_of(ProfileType::RuntimeDefault, ""),
        _ => profile_of(ProfileType::Unconfined, ""),
    }
}

fn apparmor(profile: Option<&AppArmorProfile>) -> Option<SecurityProfile> {
    let profile = profile?;
    Some(match profile.type_.as_str() {
        "RuntimeDefault" => profile_of(ProfileType::RuntimeDefault, ""),
        "Localhost" => profile_of(
            ProfileType::Localhost,
            profile.localhost_profile.as_deref().unwrap_or_default(),
        ),
        _ => profile_of(ProfileType::Unconfined, ""),
    })
}

fn profile_of(profile: ProfileType, localhost: &str) -> SecurityProfile {
    SecurityProfile {
        profile_type: profile as i32,
        localhost_ref: localhost.to_owned(),
    }
}

fn selinux(options: Option<&SELinuxOptions>) -> Option<SeLinuxOption> {
    options.map(|options| SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    })
}

/// Supplemental groups of the pod, with its fsGroup.
fn groups(pod: &PodSecurityContext) -> Vec<i64> {
    pod.supplemental_groups
        .iter()
        .flatten()
        .copied()
        .chain(pod.fs_group)
        .collect()
}

fn groups_policy(pod: &PodSecurityContext) -> i32 {
    match pod.supplemental_groups_policy.as_deref() {
        Some("Strict") => SupplementalGroupsPolicy::Strict as i32,
        _ => SupplementalGroupsPolicy::Merge as i32,
    }
}

/// The sandbox's part.
pub fn sandbox_security(
    pod: &Pod,
    seccomp_default: bool,
    users: Option<UserNamespace>,
) -> LinuxSandboxSecurityContext {
    let context = pod_context(pod);
    let is_privileged =
        |context: Option<&SecurityContext>| context.is_some_and(|c| c.privileged == Some(true));
    let spec = spec(pod);
    let privileged = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .any(|container| is_privileged(container.security_context.as_ref()))
        || ephemeral_containers(pod)
            .iter()
            .any(|container| is_privileged(container.security_context.as_ref()));
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod, users)),
        selinux_options: selinux(context.se_linux_options.as_ref()),
        run_as_user: int64(context.run_as_user),
        run_as_group: int64(context.run_as_group),
        supplemental_groups: groups(&context),
        supplemental_groups_policy: groups_policy(&context),
        privileged,
        seccomp: Some(seccomp(
            context.seccomp_profile.as_ref(),
            false,
            seccomp_default,
        )),
        apparmor: apparmor(context.app_armor_profile.as_ref()),
        ..LinuxSandboxSecurityContext::default()
    }
}

/// A container's part. `target` is the id of the container whose processes an ephemeral container is to see.
pub fn container_security(
    pod: &Pod,
    container: &Container,
    kind: ContainerKind,
    target: Option<&str>,
    image_user: (Option<i64>, &str),
    seccomp_default: bool,
    users: Option<UserNamespace>,
) -> LinuxContainerSecurityContext {
    let of_pod = pod_context(pod);
    let own = container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let mut namespace_options = namespaces(pod, users);
    if let (ContainerKind::Ephemeral, Some(target)) = (kind, target) {
        namespace_options.pid = NamespaceMode::Target as i32;
        namespace_options.target_id = target.to_owned();
    }
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| {
        if unmasked {
            Vec::new()
        } else {
            list.iter().map(ToString::to_string).collect()
        }
    };
    let mut masked_paths: Vec<String> = paths(&MASKED_PATHS);
    masked_paths.extend(paths(&[MASKED_POWERCAP]));
    let run_as_user = own.run_as_user.or(of_pod.run_as_user);
    let capabilities = own.capabilities.map(|capabilities| Capability {
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        ..Capability::default()
    });
    LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options: Some(namespace_options),
        selinux_options: selinux(
            own.se_linux_options
                .as_ref()
                .or(of_pod.se_linux_options.as_ref()),
        ),
        run_as_user: int64(run_as_user.or(image_user.0)),
        run_as_username: if run_as_user.is_none() && image_user.0.is_none() {
            image_user.1.to_owned()
        } else {
            String::new()
        },
        run_as_group: int64(own.run_as_group.or(of_pod.run_as_group)),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(&of_pod),
        supplemental_groups_policy: groups_policy(&of_pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths,
        readonly_paths: paths(&READONLY_PATHS),
        seccomp: Some(seccomp(
            own.seccomp_profile
                .as_ref()
                .or(of_pod.seccomp_profile.as_ref()),
            privileged,
            seccomp_default,
        )),
        apparmor: if privileged {
            Some(profile_of(ProfileType::Unconfined, ""))
        } else {
            apparmor(
                own.app_armor_profile
                    .as_ref()
                    .or(of_pod.app_armor_profile.as_ref()),
            )
        },
        ..LinuxContainerSecurityContext::default()
    }
}

/// Refuses a container that promises not to run as root and would. `image_user` is the image's user: a number, or a name.
pub fn verify_run_as_non_root(
    pod: &Pod,
    container: &Container,
    image_user: (Option<i64>, &str),
) -> Result<(), String> {
    let of_pod = pod_context(pod);
    let own = container.security_context.clone().unwrap_or_default();
    if own.run_as_non_root.or(of_pod.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let place = || {
        format!(
            "(pod: \"{}\", container: {})",
            format_pod(pod),
            container.name
        )
    };
    match (own.run_as_user.or(of_pod.run_as_user), image_user) {
        (Some(0), _) => Err(format!(
            "container's runAsUser breaks non-root policy {}",
            place()
        )),
        (Some(_), _) => Ok(()),
        (None, (Some(0), _)) => Err(format!(
            "container has runAsNonRoot and image will run as root {}",
            place()
        )),
        (None, (None, name)) if !name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {}",
            place()
        )),
        _ => Ok(()),
    }
}
