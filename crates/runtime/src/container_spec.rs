//! From the CRI's container configuration and the image's to what the shim carries out. Pure but for looking at devices of the node.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use cri::{
    CriError,
    v1::{
        ContainerConfig, IdMapping, LinuxContainerResources, LinuxContainerSecurityContext, Mount,
        MountPropagation, NamespaceMode, SecurityProfile, Signal, SupplementalGroupsPolicy,
        security_profile::ProfileType,
    },
};
use linux::{
    capability::Capabilities,
    cgroup::{Access, Cgroup, DeviceKind, DeviceRule, Hierarchy, Resources, Version},
};

use crate::{
    images::{UnpackedImage, manifest::ImageConfig},
    records::RecordDir,
    runtime::Sandbox,
    sandboxes::{id_map, namespaces},
    shim::spec::{
        CgroupSpec, ContainerSpec, DeviceNode, IdMap, ImageVolumeSpec, MountSpec, PidMode,
        ProcessSpec, PropagationSpec, RootfsSpec, SeccompSpec, UserSpec,
    },
};

/// What a container has unless it says otherwise: the set that containerd, CRI-O and Docker share.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const SIGTERM: i32 = 15;

/// Everything that a specification is made from.
pub(crate) struct SpecInput<'a> {
    pub(crate) config: &'a ContainerConfig,
    pub(crate) image: &'a UnpackedImage,
    /// Images that are mounted, by the name that the mount gives.
    pub(crate) image_volumes: &'a BTreeMap<String, UnpackedImage>,
    pub(crate) sandbox: &'a Arc<Sandbox>,
    pub(crate) dir: &'a RecordDir,
    pub(crate) cgroup: &'a Cgroup,
    pub(crate) hierarchy: &'a Hierarchy,
}

/// Makes the specification.
pub(crate) fn build(input: &SpecInput<'_>) -> Result<ContainerSpec, CriError> {
    let config = input.config;
    let context = security_context(config);
    let rootfs = RootfsSpec {
        lower_base: input.image.lower_base.clone(),
        lower: input.image.lower.clone(),
        upper: input.dir.path("upper"),
        work: input.dir.path("work"),
        target: input.dir.path("rootfs"),
        readonly: context.readonly_rootfs,
    };
    let shows_masked = context.privileged;
    let paths = |paths: &[String]| {
        if shows_masked {
            Vec::new()
        } else {
            paths.to_vec()
        }
    };
    let resources = config
        .linux
        .as_ref()
        .and_then(|linux| linux.resources.as_ref());
    Ok(ContainerSpec {
        rootfs,
        mounts: mounts(input)?,
        devices: devices(config, context.privileged)
            .map_err(|error| CriError::invalid(format!("failed to find a device: {error}")))?,
        privileged: context.privileged,
        host_ipc: namespaces(&input.sandbox.config).ipc() == NamespaceMode::Node,
        masked_paths: paths(&context.masked_paths),
        readonly_paths: paths(&context.readonly_paths),
        cgroup: cgroup_spec(input.cgroup, input.hierarchy),
        oom_score_adj: resources.map(|resources| resources.oom_score_adj),
        process: process(config, &input.image.config, &context)?,
    })
}

fn security_context(config: &ContainerConfig) -> LinuxContainerSecurityContext {
    let linux = config.linux.as_ref();
    linux
        .and_then(|linux| linux.security_context.clone())
        .unwrap_or_default()
}

/// In which PID namespace a container's process is.
pub(crate) fn pid_mode(config: &ContainerConfig) -> PidMode {
    let options = security_context(config)
        .namespace_options
        .unwrap_or_default();
    match options.pid() {
        NamespaceMode::Pod => PidMode::Sandbox,
        NamespaceMode::Container => PidMode::Own,
        NamespaceMode::Node => PidMode::Host,
        NamespaceMode::Target => PidMode::Target(options.target_id),
    }
}

fn process(
    config: &ContainerConfig,
    image: &ImageConfig,
    context: &LinuxContainerSecurityContext,
) -> Result<ProcessSpec, CriError> {
    let run = &image.config;
    // A command replaces both of the image's; arguments alone replace its arguments.
    let mut args = if config.command.is_empty() {
        &run.entrypoint
    } else {
        &config.command
    }
    .clone();
    if !config.args.is_empty() {
        args.extend(config.args.iter().cloned());
    } else if config.command.is_empty() {
        args.extend(run.cmd.iter().cloned());
    }
    if args.is_empty() {
        return Err(CriError::invalid(
            "failed to generate spec: no command specified",
        ));
    }
    let mut env: Vec<String> = run.env.clone();
    for variable in &config.envs {
        let value = String::from_utf8_lossy(&variable.value);
        let prefix = format!("{}=", variable.key);
        env.retain(|entry| !entry.starts_with(&prefix));
        env.push(format!("{prefix}{value}"));
    }
    if !env.iter().any(|entry| entry.starts_with("HOSTNAME=")) {
        // The shim's UTS namespace knows it; programs expect it in the environment as well.
        if let Some(hostname) = config.labels.get("io.kubernetes.pod.name") {
            env.push(format!(
                "HOSTNAME={}",
                hostname.chars().take(63).collect::<String>()
            ));
        }
    }
    let cwd = [&config.working_dir, &run.working_dir]
        .into_iter()
        .find(|dir| !dir.is_empty());
    Ok(ProcessSpec {
        args,
        env,
        cwd: cwd.cloned().unwrap_or_else(|| "/".to_owned()),
        user: user(context, image)?,
        capabilities: capabilities(context)?.0,
        ambient: ambient(context)?.0,
        no_new_privs: context.no_new_privs,
        seccomp: seccomp(context)?,
        rlimits: Vec::new(),
        tty: config.tty,
    })
}

fn user(
    context: &LinuxContainerSecurityContext,
    image: &ImageConfig,
) -> Result<UserSpec, CriError> {
    let id = |number: i64| {
        u32::try_from(number)
            .map_err(|_| CriError::invalid(format!("{number} is not a user or group")))
    };
    if context.run_as_group.is_some()
        && context.run_as_user.is_none()
        && context.run_as_username.is_empty()
    {
        return Err(CriError::invalid(
            "runAsGroup is specified without runAsUser or runAsUsername",
        ));
    }
    let user = match (&context.run_as_user, context.run_as_username.as_str()) {
        (Some(uid), _) => id(uid.value)?.to_string(),
        (None, "") => image.config.user.clone(),
        (None, name) => name.to_owned(),
    };
    Ok(UserSpec {
        user,
        gid: context.run_as_group.map(|gid| id(gid.value)).transpose()?,
        supplemental_groups: context
            .supplemental_groups
            .iter()
            .map(|gid| id(*gid))
            .collect::<Result<_, _>>()?,
        strict_groups: context.supplemental_groups_policy() == SupplementalGroupsPolicy::Strict,
    })
}

fn by_name(name: &str) -> Result<Capabilities, CriError> {
    Capabilities::by_name(name)
        .ok_or_else(|| CriError::invalid(format!("unknown capability {name:?}")))
}

/// `ALL` among the additions or drops stands for the beginning; single names then change it.
fn capabilities(context: &LinuxContainerSecurityContext) -> Result<Capabilities, CriError> {
    if context.privileged {
        return Ok(Capabilities::ALL);
    }
    let change = context.capabilities.clone().unwrap_or_default();
    let has_all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("all"));
    let mut set = Capabilities::default();
    for name in DEFAULT_CAPABILITIES {
        set = set.with(by_name(name)?);
    }
    if has_all(&change.add_capabilities) {
        set = Capabilities::ALL;
    }
    if has_all(&change.drop_capabilities) {
        set = Capabilities::default();
    }
    let single = |name: &&String| !name.eq_ignore_ascii_case("all");
    for name in change.add_capabilities.iter().filter(single) {
        set = set.with(by_name(name)?);
    }
    for name in change.drop_capabilities.iter().filter(single) {
        set = set.without(by_name(name)?);
    }
    Ok(set)
}

fn ambient(context: &LinuxContainerSecurityContext) -> Result<Capabilities, CriError> {
    let names = context
        .capabilities
        .iter()
        .flat_map(|change| &change.add_ambient_capabilities);
    names
        .map(|name| by_name(name))
        .try_fold(Capabilities::default(), |set, one| Ok(set.with(one?)))
}

fn seccomp(context: &LinuxContainerSecurityContext) -> Result<SeccompSpec, CriError> {
    if context.privileged {
        return Ok(SeccompSpec::Unconfined);
    }
    let Some(SecurityProfile {
        profile_type,
        localhost_ref,
    }) = &context.seccomp
    else {
        return Ok(SeccompSpec::RuntimeDefault);
    };
    match ProfileType::try_from(*profile_type) {
        Ok(ProfileType::RuntimeDefault) => Ok(SeccompSpec::RuntimeDefault),
        Ok(ProfileType::Unconfined) => Ok(SeccompSpec::Unconfined),
        Ok(ProfileType::Localhost) => {
            let text = fs::read_to_string(localhost_ref).map_err(|error| {
                CriError::invalid(format!(
                    "cannot load seccomp profile {localhost_ref:?}: {error}"
                ))
            })?;
            Ok(SeccompSpec::Profile(text))
        }
        Err(_) => Err(CriError::invalid("unknown seccomp profile type")),
    }
}

/// The kubelet's mounts and the files that every container of a pod has, parents before children.
fn mounts(input: &SpecInput<'_>) -> Result<Vec<MountSpec>, CriError> {
    let mut mounts = Vec::new();
    let own = [
        ("/etc/hostname", "hostname"),
        ("/etc/resolv.conf", "resolv.conf"),
    ];
    let readonly = security_context(input.config).readonly_rootfs;
    for (destination, file) in own {
        mounts.push(MountSpec {
            source: input.sandbox.dir.path(file),
            destination: destination.into(),
            readonly,
            recursive_readonly: false,
            propagation: PropagationSpec::Private,
            image: None,
            map_owners: true,
        });
    }
    for (index, mount) in input.config.mounts.iter().enumerate() {
        mounts.push(match image_of(mount) {
            Some(name) => image_volume(input, index, mount, name)?,
            None => volume(mount, id_map(&input.sandbox.config)?)?,
        });
    }
    // The last of several for one place wins; it is the kubelet's.
    let mut by_place: BTreeMap<PathBuf, MountSpec> = BTreeMap::new();
    for mount in mounts {
        by_place.insert(mount.destination.clone(), mount);
    }
    let mut mounts: Vec<MountSpec> = by_place.into_values().collect();
    mounts.sort_by_key(|mount| mount.destination.components().count());
    Ok(mounts)
}

/// The image that is to be mounted, if it is one.
pub(crate) fn image_of(mount: &Mount) -> Option<&str> {
    let name = mount.image.as_ref()?.image.as_str();
    (!name.is_empty()).then_some(name)
}

/// The directory of a container's image volume, by the place of its mount in the configuration.
pub(crate) fn image_volume_dir(dir: &RecordDir, index: usize) -> PathBuf {
    dir.path("image-volumes").join(index.to_string())
}

/// An image's files are the volume, read-only whatever the mount says (KEP-4639).
fn image_volume(
    input: &SpecInput<'_>,
    index: usize,
    mount: &Mount,
    name: &str,
) -> Result<MountSpec, CriError> {
    let image = input.image_volumes.get(name).ok_or_else(|| {
        CriError::not_found(format!("failed to get image volume {name:?}: not found"))
    })?;
    let sub_path = Path::new(&mount.image_sub_path);
    let inside = |part: std::path::Component<'_>| {
        use std::path::Component::{CurDir, Normal};
        matches!(part, Normal(_) | CurDir)
    };
    if !sub_path.components().all(inside) {
        return Err(CriError::invalid(format!(
            "image sub path {:?} leaves the image",
            mount.image_sub_path
        )));
    }
    let place = image_volume_dir(input.dir, index);
    Ok(MountSpec {
        source: PathBuf::new(),
        image: Some(ImageVolumeSpec {
            files: RootfsSpec {
                lower_base: image.lower_base.clone(),
                lower: image.lower.clone(),
                upper: place.join("upper"),
                work: place.join("work"),
                target: place.join("files"),
                readonly: true,
            },
            sub_path: sub_path.to_owned(),
        }),
        destination: Path::new("/").join(&mount.container_path),
        readonly: true,
        recursive_readonly: false,
        propagation: PropagationSpec::Private,
        map_owners: false,
    })
}

fn volume(mount: &Mount, users: Option<IdMap>) -> Result<MountSpec, CriError> {
    let invalid =
        |what: &str| CriError::invalid(format!("mount at {:?}: {what}", mount.container_path));
    if mount.recursive_read_only
        && (!mount.readonly || mount.propagation() != MountPropagation::PropagationPrivate)
    {
        return Err(invalid(
            "recursive read-only needs a read-only mount with private propagation",
        ));
    }
    let is_pods = |mappings: &[IdMapping]| match (mappings, users) {
        ([], _) => true,
        ([one], Some(users)) => {
            (one.host_id, one.container_id, one.length) == (users.host, 0, users.length)
        }
        _ => false,
    };
    if !is_pods(&mount.uid_mappings) || mount.uid_mappings != mount.gid_mappings {
        return Err(invalid(
            "the id mapping of a mount must be that of the pod's user namespace",
        ));
    }
    if mount.container_path.is_empty() || mount.host_path.is_empty() {
        return Err(invalid("source and destination must be given"));
    }
    let source = Path::new(&mount.host_path);
    match fs::metadata(source) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(source).map_err(|error| {
                CriError::internal(format!("failed to mkdir {:?}: {error}", mount.host_path))
            })?;
        }
        Err(error) => return Err(invalid(&error.to_string())),
    }
    Ok(MountSpec {
        source: source.to_owned(),
        image: None,
        destination: Path::new("/").join(&mount.container_path),
        readonly: mount.readonly,
        recursive_readonly: mount.recursive_read_only,
        propagation: match mount.propagation() {
            MountPropagation::PropagationPrivate => PropagationSpec::Private,
            MountPropagation::PropagationHostToContainer => PropagationSpec::HostToContainer,
            MountPropagation::PropagationBidirectional => PropagationSpec::Bidirectional,
        },
        map_owners: !mount.uid_mappings.is_empty(),
    })
}

fn devices(config: &ContainerConfig, privileged: bool) -> io::Result<Vec<DeviceNode>> {
    let mut nodes = Vec::new();
    if privileged {
        collect_devices(Path::new("/dev"), &mut nodes)?;
    }
    for device in &config.devices {
        nodes.push(device_node(
            Path::new(&device.host_path),
            Path::new(&device.container_path),
        )?);
    }
    Ok(nodes)
}

/// The node's devices, but for terminals and what has a filesystem of its own in containers.
fn collect_devices(directory: &Path, nodes: &mut Vec<DeviceNode>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let own = ["pts", "shm", "mqueue", "console", "ptmx", "fd"];
        if own.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            collect_devices(&path, nodes)?;
        } else if kind.is_block_device() || kind.is_char_device() {
            nodes.push(device_node(&path, &path)?);
        }
    }
    Ok(())
}

fn device_node(host: &Path, container: &Path) -> io::Result<DeviceNode> {
    let metadata = fs::metadata(host)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", host.display())))?;
    let kind = metadata.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Err(io::Error::other(format!(
            "{} is not a device",
            host.display()
        )));
    }
    Ok(DeviceNode {
        path: container.to_owned(),
        block: kind.is_block_device(),
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// What a container that is not privileged may use: the standard devices, terminals, nodes of any, and what it was given.
pub(crate) fn device_rules(config: &ContainerConfig) -> io::Result<Vec<DeviceRule>> {
    let rule = |kind, major, minor, access| DeviceRule {
        kind,
        major,
        minor,
        access,
    };
    let mut rules = vec![
        rule(DeviceKind::Char, None, None, Access::MKNOD),
        rule(DeviceKind::Block, None, None, Access::MKNOD),
    ];
    // null, zero, full, random, urandom, tty, console, ptmx, and all pseudo-terminals.
    let standard = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(1)),
        (5, Some(2)),
        (136, None),
    ];
    for (major, minor) in standard {
        rules.push(rule(DeviceKind::Char, Some(major), minor, Access::ALL));
    }
    for device in &config.devices {
        let node = device_node(
            Path::new(&device.host_path),
            Path::new(&device.container_path),
        )?;
        let kind = if node.block {
            DeviceKind::Block
        } else {
            DeviceKind::Char
        };
        let access = Access::parse(&device.permissions);
        rules.push(rule(kind, Some(node.major), Some(node.minor), access));
    }
    Ok(rules)
}

/// Limits of the CRI as limits of a cgroup: there zero means unset.
pub(crate) fn resources(linux: &LinuxContainerResources) -> Resources {
    let some = |number: i64| (number != 0).then_some(number);
    let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let memory_limit = some(linux.memory_limit_in_bytes);
    Resources {
        cpu_shares: positive(linux.cpu_shares),
        cpu_quota_us: some(linux.cpu_quota),
        cpu_period_us: positive(linux.cpu_period),
        memory_limit,
        // Without a word about swap there is none beyond the memory.
        memory_swap_limit: some(linux.memory_swap_limit_in_bytes).or(memory_limit),
        oom_group: memory_limit.map(|_| true),
        pids_limit: None,
        cpuset_cpus: text(&linux.cpuset_cpus),
        cpuset_mems: text(&linux.cpuset_mems),
        hugepages: linux
            .hugepage_limits
            .iter()
            .map(|limit| (limit.page_size.clone(), limit.limit))
            .collect(),
        unified: linux.unified.clone().into_iter().collect(),
    }
}

fn cgroup_spec(cgroup: &Cgroup, hierarchy: &Hierarchy) -> CgroupSpec {
    let v1 = match cgroup.version() {
        Version::V2 => Vec::new(),
        Version::V1 => hierarchy
            .named_mounts()
            .map(|(mount, controllers)| {
                (
                    controllers.join(","),
                    mount.join(cgroup.path().trim_start_matches('/')),
                )
            })
            .collect(),
    };
    CgroupSpec {
        procs_files: cgroup.procs_files(),
        unified: cgroup.version() == Version::V2,
        v1,
    }
}

/// The signal that asks a container to end: its own, its image's, SIGTERM.
pub(crate) fn stop_signal(config: &ContainerConfig, image: &ImageConfig) -> i32 {
    let asked = config.stop_signal();
    let asked = match asked {
        Signal::RuntimeDefault => None,
        signal => signal_number(
            &signal
                .as_str_name()
                .replace("SIGNAL_", "")
                .replace("PLUS", "+")
                .replace("MINUS", "-"),
        ),
    };
    asked
        .or_else(|| signal_number(&image.config.stop_signal))
        .unwrap_or(SIGTERM)
}

/// Signals by name (`SIGTERM`, `TERM`, `SIGRTMIN+3`) or number.
fn signal_number(text: &str) -> Option<i32> {
    const NAMES: &[(&str, i32)] = &[
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("IOT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("STKFLT", 16),
        ("CHLD", 17),
        ("CLD", 17),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("TTIN", 21),
        ("TTOU", 22),
        ("URG", 23),
        ("XCPU", 24),
        ("XFSZ", 25),
        ("VTALRM", 26),
        ("PROF", 27),
        ("WINCH", 28),
        ("IO", 29),
        ("POLL", 29),
        ("PWR", 30),
        ("SYS", 31),
        ("RTMIN", 34),
        ("RTMAX", 64),
    ];
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let find = |name: &str| {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, n)| *n)
    };
    if let Some((base, offset)) = name.split_once('+') {
        return Some(find(base)? + offset.parse::<i32>().ok()?);
    }
    if let Some((base, offset)) = name.split_once('-') {
        return Some(find(base)? - offset.parse::<i32>().ok()?);
    }
    find(name)
}

#[cfg(test)]
mod tests {
    use cri::v1::Capability;

    use super::*;

    #[test]
    fn capabilities_are_added_then_dropped() {
        let set = |privileged, add: &[&str], drop: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
            let context = LinuxContainerSecurityContext {
                privileged,
                capabilities: Some(Capability {
                    add_capabilities: names(add),
                    drop_capabilities: names(drop),
                    add_ambient_capabilities: Vec::new(),
                }),
                ..LinuxContainerSecurityContext::default()
            };
            capabilities(&context).map(|set| set.0)
        };
        assert_eq!(set(false, &[], &[]).unwrap(), 0xa804_25fb);
        assert_eq!(set(false, &["NET_ADMIN"], &["ALL"]).unwrap(), 1 << 12);
        assert_eq!(
            set(false, &["ALL"], &["CAP_CHOWN"]).unwrap(),
            Capabilities::ALL.0 & !1
        );
        assert_eq!(set(true, &[], &["ALL"]).unwrap(), Capabilities::ALL.0);
        assert!(set(false, &["NOPE"], &[]).is_err());
    }

    #[test]
    fn signals_by_all_their_names() {
        assert_eq!(signal_number("SIGTERM"), Some(15));
        assert_eq!(signal_number("quit"), Some(3));
        assert_eq!(signal_number("9"), Some(9));
        assert_eq!(signal_number("SIGRTMIN+3"), Some(37));
        assert_eq!(signal_number("SIGRTMAX-1"), Some(63));
        assert_eq!(signal_number("NOPE"), None);
        let config = ContainerConfig {
            stop_signal: Signal::Sigrtmaxminus14.into(),
            ..ContainerConfig::default()
        };
        assert_eq!(stop_signal(&config, &ImageConfig::default()), 50);
        let mut image = ImageConfig::default();
        assert_eq!(stop_signal(&ContainerConfig::default(), &image), SIGTERM);
        image.config.stop_signal = "SIGQUIT".to_owned();
        assert_eq!(stop_signal(&ContainerConfig::default(), &image), 3);
    }

    #[test]
    fn a_command_replaces_the_image_s() {
        let mut image = ImageConfig::default();
        image.config.entrypoint = vec!["/entry".to_owned()];
        image.config.cmd = vec!["one".to_owned()];
        let args = |command: &[&str], args: &[&str]| {
            let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
            let config = ContainerConfig {
                command: texts(command),
                args: texts(args),
                ..ContainerConfig::default()
            };
            process(&config, &image, &LinuxContainerSecurityContext::default())
                .unwrap()
                .args
        };
        assert_eq!(args(&[], &[]), ["/entry", "one"]);
        assert_eq!(args(&[], &["two"]), ["/entry", "two"]);
        assert_eq!(args(&["/other"], &[]), ["/other"]);
        assert_eq!(args(&["/other"], &["two"]), ["/other", "two"]);
    }
}
