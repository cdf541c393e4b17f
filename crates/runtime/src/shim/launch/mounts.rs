//! A container's filesystem: the overlay, the standard mounts, the volumes, the devices, and what is hidden.
//!
//! It happens in a mount namespace of the container's own, so no mount is ever seen on the node, and none is left when the container has
//! gone. The one path to the node is a volume with bidirectional propagation.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use linux::{
    mounts::{
        Attributes, Propagation, attach, clone_tree, clone_tree_of, map_owners, mount_overlay,
        new_filesystem, pivot_root, set_attributes, set_root_propagation,
    },
    process::unshare,
    root::{Root, file_type},
};
use rustix::{
    fs::{FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mknodat, symlinkat},
    process::umask,
    thread::{
        CapabilitiesSecureBits, UnshareFlags, set_capabilities_secure_bits, set_thread_res_gid,
        set_thread_res_uid,
    },
};

use super::{Context, LaunchError};
use crate::shim::{
    sandbox::Users,
    spec::{ContainerSpec, DeviceNode, ImageVolumeSpec, MountSpec, PropagationSpec, RootfsSpec},
};

/// The group that terminals belong to, in every distribution.
const TTY_GROUP: u32 = 5;

/// What statfs says of a devpts.
pub(super) const DEVPTS_MAGIC: i64 = 0x1cd1;

/// The container's root, mounted and not yet entered.
pub(super) struct Prepared {
    pub(super) root: Root,
    pub(super) devpts: OwnedFd,
}

/// Standard device nodes: name, major, minor; readable and writable by all.
const DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Standard links in /dev.
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

const HARDENED: Attributes = Attributes {
    readonly: false,
    nosuid: true,
    nodev: true,
    noexec: true,
    noatime: false,
    nodiratime: false,
};

/// Moves into a new mount namespace and mounts everything in it, but does not enter the root.
pub(super) fn prepare(
    spec: &ContainerSpec,
    shm: Option<OwnedFd>,
    users: Option<&Users>,
) -> Result<Prepared, LaunchError> {
    unshare(UnshareFlags::NEWNS).context("unshare the mount namespace")?;
    // Sources are cloned while they still are peers of the node's mounts: bidirectional propagation lives from that.
    let sources = spec
        .mounts
        .iter()
        .map(|mount| match mount.image {
            Some(_) => Ok(None),
            None => bind(mount, users).map(Some),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let host_shm = if spec.host_ipc {
        Some(clone_tree("/dev/shm", false).context("bind the node's /dev/shm")?)
    } else {
        None
    };
    let cgroups = clone_cgroups(spec)?;
    set_root_propagation(Propagation::Slave).context("separate the mounts from the node's")?;

    if let Some(users) = users {
        map_images(spec, users)?;
        act_as_root_of(users).context("act as the root of the pod's user namespace")?;
    }
    let root = mount_files(&spec.rootfs).context("mount the root filesystem")?;
    umask(Mode::empty());
    let replaced = |path: &str| {
        spec.mounts
            .iter()
            .any(|mount| mount.destination == Path::new(path))
    };
    let at = |path: &str, mount: &OwnedFd| attach_at(&root, Path::new(path), mount, true);

    at("/proc", &filesystem("proc", &[], HARDENED)?)?;
    let dev = filesystem(
        "tmpfs",
        &[("mode", Some("0755")), ("size", Some("65536k"))],
        Attributes {
            nosuid: true,
            ..Attributes::default()
        },
    )?;
    fill_dev(dev.as_fd(), &spec.devices, users)?;
    at("/dev", &dev)?;
    let terminals = outside(users, TTY_GROUP).unwrap_or(TTY_GROUP).to_string();
    let devpts = filesystem(
        "devpts",
        &[
            ("newinstance", None),
            ("ptmxmode", Some("0666")),
            ("mode", Some("0620")),
            ("gid", Some(&terminals)),
        ],
        Attributes {
            nosuid: true,
            noexec: true,
            ..Attributes::default()
        },
    )?;
    at("/dev/pts", &devpts)?;
    if !replaced("/dev/shm") {
        let shm = match (shm, host_shm) {
            (Some(shm), _) | (None, Some(shm)) => shm,
            (None, None) => filesystem(
                "tmpfs",
                &[("mode", Some("1777")), ("size", Some("65536k"))],
                HARDENED,
            )?,
        };
        at("/dev/shm", &shm)?;
    }
    if !replaced("/dev/mqueue") {
        at("/dev/mqueue", &filesystem("mqueue", &[], HARDENED)?)?;
    }
    if !replaced("/sys") {
        let attributes = Attributes {
            readonly: !spec.privileged,
            ..HARDENED
        };
        at("/sys", &filesystem("sysfs", &[], attributes)?)?;
    }
    if !replaced("/sys/fs/cgroup") {
        attach_cgroups(&root, spec, cgroups)?;
    }
    for (mount, source) in spec.mounts.iter().zip(sources) {
        let source = match (source, &mount.image) {
            (Some(source), _) => source,
            (None, Some(image)) => image_files(image).context(format_args!(
                "mount image at {}",
                mount.destination.display()
            ))?,
            (None, None) => continue,
        };
        attach_volume(&root, mount, &source)?;
    }
    Ok(Prepared { root, devpts })
}

/// Clones what is to be mounted from the node.
fn bind(mount: &MountSpec, users: Option<&Users>) -> Result<OwnedFd, LaunchError> {
    let source = mount.source.display();
    let clone = clone_tree(&mount.source, true).context(format_args!("bind {source}"))?;
    if let Some(users) = users.filter(|_| mount.map_owners) {
        map_owners(clone.as_fd(), users.namespace.as_fd()).context(format_args!(
            "map the owners in {source} to those of the pod's user namespace (not every filesystem can)"
        ))?;
    }
    Ok(clone)
}

/// Covers the directories of image layers with views in which what is root's belongs to the pod's root. What containers write lies
/// beside the layers and belongs to whom it belongs on the node.
fn map_images(spec: &ContainerSpec, users: &Users) -> Result<(), LaunchError> {
    let images = spec.mounts.iter().filter_map(|mount| mount.image.as_ref());
    let bases: BTreeSet<&Path> = std::iter::once(&spec.rootfs)
        .chain(images.map(|image| &image.files))
        .map(|files| files.lower_base.as_path())
        .collect();
    for base in bases {
        let cover = || -> io::Result<()> {
            let view = clone_tree(base, false)?;
            map_owners(view.as_fd(), users.namespace.as_fd())?;
            attach(view.as_fd(), Root::open(base)?.as_dir())
        };
        cover().context(format_args!(
            "map the owners in {} to those of the pod's user namespace (not every filesystem can)",
            base.display()
        ))?;
    }
    Ok(())
}

/// What this process makes from now on belongs to the pod's root. It keeps its privileges.
fn act_as_root_of(users: &Users) -> io::Result<()> {
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    let (uid, gid) = (Uid::from_raw(users.map.host), Gid::from_raw(users.map.host));
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// What an id of the container is on the node; none if it has no such id.
fn outside(users: Option<&Users>, id: u32) -> Option<u32> {
    users.map_or(Some(id), |users| users.map.outside(id))
}

fn filesystem(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: Attributes,
) -> Result<OwnedFd, LaunchError> {
    new_filesystem(kind, options, attributes).context(format_args!("mount {kind}"))
}

/// Mounts the files of an image.
fn mount_files(files: &RootfsSpec) -> io::Result<Root> {
    let text = |path: &Path| -> io::Result<String> {
        let text = path
            .to_str()
            .ok_or_else(|| io::Error::other("a path is not UTF-8"))?;
        Ok(text.to_owned())
    };
    rustix::process::chdir(&files.lower_base)?;
    mount_overlay(
        &files.lower,
        &text(&files.upper)?,
        &text(&files.work)?,
        &text(&files.target)?,
    )?;
    Root::open(&files.target)
}

/// The files of an image, or the part that is asked for, ready to be attached. Links inside lead nowhere else.
fn image_files(image: &ImageVolumeSpec) -> io::Result<OwnedFd> {
    let root = mount_files(&image.files)?;
    let part = root.open_at(&image.sub_path, OFlags::PATH, Mode::empty())?;
    clone_tree_of(part.as_fd(), false)
}

/// Attaches a mount at a path of the container, making the path.
fn attach_at(
    root: &Root,
    path: &Path,
    mount: &OwnedFd,
    directory: bool,
) -> Result<(), LaunchError> {
    let target = root
        .make_mount_point(path, directory)
        .context(format_args!("make mount point {}", path.display()))?;
    attach(mount.as_fd(), target.as_fd()).context(format_args!("mount {}", path.display()))
}

fn attach_volume(root: &Root, mount: &MountSpec, source: &OwnedFd) -> Result<(), LaunchError> {
    let path = &mount.destination;
    let propagation = match mount.propagation {
        PropagationSpec::Private => Propagation::Private,
        PropagationSpec::HostToContainer => Propagation::Slave,
        PropagationSpec::Bidirectional => Propagation::Shared,
    };
    set_attributes(
        source.as_fd(),
        Attributes::default(),
        Some(propagation),
        true,
    )
    .context(format_args!("set the propagation of {}", path.display()))?;
    if mount.readonly {
        let readonly = Attributes {
            readonly: true,
            ..Attributes::default()
        };
        set_attributes(source.as_fd(), readonly, None, mount.recursive_readonly)
            .context(format_args!("make {} read-only", path.display()))?;
    }
    let directory = file_type(source.as_fd()).context(path.display())? == FileType::Directory;
    attach_at(root, path, source, directory)
}

fn fill_dev(
    dev: BorrowedFd<'_>,
    devices: &[DeviceNode],
    users: Option<&Users>,
) -> Result<(), LaunchError> {
    let mode = Mode::from_raw_mode(0o666);
    for (name, major, minor) in DEVICES {
        mknodat(
            dev,
            *name,
            FileType::CharacterDevice,
            mode,
            makedev(*major, *minor),
        )
        .context(format_args!("make /dev/{name}"))?;
    }
    for (target, name) in LINKS {
        symlinkat(*target, dev, *name).context(format_args!("link /dev/{name}"))?;
    }
    let dev = Root::from_fd(rustix::io::dup(dev).context("open /dev")?);
    for device in devices {
        let Ok(path) = device.path.strip_prefix("/dev") else {
            return Err(LaunchError::message(format!(
                "device {} is not below /dev",
                device.path.display()
            )));
        };
        make_device(&dev, path, device, users)
            .context(format_args!("make {}", device.path.display()))?;
    }
    Ok(())
}

fn make_device(
    dev: &Root,
    path: &Path,
    device: &DeviceNode,
    users: Option<&Users>,
) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    let parent = dev.make_dirs(parent, Mode::from_raw_mode(0o755))?;
    let kind = if device.block {
        FileType::BlockDevice
    } else {
        FileType::CharacterDevice
    };
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    match mknodat(
        &parent,
        name,
        kind,
        mode,
        makedev(device.major, device.minor),
    ) {
        // A standard one, asked for once more.
        Err(rustix::io::Errno::EXIST) => return Ok(()),
        result => result?,
    }
    let uid = outside(users, device.uid).map(Uid::from_raw);
    let gid = outside(users, device.gid).map(Gid::from_raw);
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    Ok(chownat(&parent, name, uid, gid, flags)?)
}

/// The cgroups to be shown: cloned from the node for version 1.
fn clone_cgroups(spec: &ContainerSpec) -> Result<Vec<(PathBuf, OwnedFd)>, LaunchError> {
    let named = spec.cgroup.v1.iter().map(|(name, source)| {
        let mount = clone_tree(source, false).context(format_args!("bind {}", source.display()))?;
        Ok((Path::new("/sys/fs/cgroup").join(name), mount))
    });
    named.collect()
}

fn attach_cgroups(
    root: &Root,
    spec: &ContainerSpec,
    cgroups: Vec<(PathBuf, OwnedFd)>,
) -> Result<(), LaunchError> {
    let attributes = Attributes {
        readonly: !spec.privileged,
        ..HARDENED
    };
    let base = Path::new("/sys/fs/cgroup");
    if spec.cgroup.unified {
        return attach_at(root, base, &filesystem("cgroup2", &[], attributes)?, true);
    }
    if cgroups.is_empty() {
        return Ok(());
    }
    let tmpfs = filesystem(
        "tmpfs",
        &[("mode", Some("0755")), ("size", Some("1m"))],
        HARDENED,
    )?;
    attach_at(root, base, &tmpfs, true)?;
    for (path, mount) in cgroups {
        set_attributes(mount.as_fd(), attributes, Some(Propagation::Private), false)
            .context(path.display())?;
        attach_at(root, &path, &mount, true)?;
    }
    set_attributes(tmpfs.as_fd(), attributes, None, false).context(base.display())
}

/// Shows the container's terminal as /dev/console.
pub(super) fn bind_console(
    prepared: &Prepared,
    terminal: BorrowedFd<'_>,
) -> Result<(), LaunchError> {
    let console = clone_tree_of(terminal, false).context("bind /dev/console")?;
    attach_at(&prepared.root, Path::new("/dev/console"), &console, false)
}

/// Hides what is to be hidden, then makes the container's root the root.
pub(super) fn finish(spec: &ContainerSpec, prepared: Prepared) -> Result<(), LaunchError> {
    let root = prepared.root;
    let cwd = Path::new(&spec.process.cwd);
    if !spec.process.cwd.is_empty() {
        root.make_dirs(cwd, Mode::from_raw_mode(0o755))
            .context(format_args!("make working directory {}", cwd.display()))?;
    }
    for path in &spec.readonly_paths {
        let Some(target) = existing(&root, path)? else {
            continue;
        };
        let copy = clone_tree_of(target.as_fd(), true).context(path)?;
        let readonly = Attributes {
            readonly: true,
            ..Attributes::default()
        };
        set_attributes(copy.as_fd(), readonly, None, true).context(path)?;
        attach(copy.as_fd(), target.as_fd()).context(format_args!("make {path} read-only"))?;
    }
    for path in &spec.masked_paths {
        let Some(target) = existing(&root, path)? else {
            continue;
        };
        let directory = file_type(target.as_fd()).context(path)? == FileType::Directory;
        let mask = if directory {
            let attributes = Attributes {
                readonly: true,
                ..HARDENED
            };
            filesystem(
                "tmpfs",
                &[("size", Some("0")), ("nr_inodes", Some("1"))],
                attributes,
            )?
        } else {
            null_device(&root)?
        };
        attach(mask.as_fd(), target.as_fd()).context(format_args!("mask {path}"))?;
    }
    if spec.rootfs.readonly {
        let readonly = Attributes {
            readonly: true,
            ..Attributes::default()
        };
        set_attributes(root.as_dir(), readonly, None, false)
            .context("make the root filesystem read-only")?;
    }
    pivot_root(root.as_dir()).context("change the root")
}

/// The path if it is there. Links are not followed: what is hidden stands where it is named.
fn existing(root: &Root, path: &str) -> Result<Option<OwnedFd>, LaunchError> {
    match root.open_without_links(Path::new(path), OFlags::PATH, Mode::empty()) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error).context(path),
    }
}

/// A clone of the container's /dev/null, after a look at whether it is that: a volume may be mounted there.
fn null_device(root: &Root) -> Result<OwnedFd, LaunchError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let null = root
        .open_without_links(Path::new("/dev/null"), flags, Mode::empty())
        .context("/dev/null")?;
    let stat = rustix::fs::fstat(&null).context("/dev/null")?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !character || stat.st_rdev != makedev(1, 3) {
        return Err(LaunchError::message("/dev/null is not the null device"));
    }
    clone_tree_of(null.as_fd(), false).context("clone /dev/null")
}

/// Refuses a directory that is not of the filesystem that it should be.
pub(super) fn require_filesystem(
    fd: BorrowedFd<'_>,
    magic: i64,
    path: &str,
) -> Result<(), LaunchError> {
    let found = rustix::fs::fstatfs(fd).context(path)?.f_type;
    if found == magic {
        return Ok(());
    }
    Err(LaunchError::message(format!(
        "{path} is not the filesystem that it should be"
    )))
}
