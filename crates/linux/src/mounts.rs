//! Mounts by descriptor: the mount API of Linux 5.2 and `mount_setattr` of 5.12.
//!
//! A mount is made or cloned detached, given its attributes, and only then attached, to a directory that is a descriptor too. Nobody
//! sees it half-made, and no path is resolved twice.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
        open_tree, unmount,
    },
    path::Arg,
};

/// How mounts made below a mount spread to the mount's peers, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// From the peers to here.
    Slave,
    /// Both ways.
    Shared,
}

/// Attributes of a mount that can be changed after it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes {
    /// `ro`
    pub readonly: bool,
    /// `nosuid`
    pub nosuid: bool,
    /// `nodev`
    pub nodev: bool,
    /// `noexec`
    pub noexec: bool,
    /// `noatime`
    pub noatime: bool,
    /// `nodiratime`
    pub nodiratime: bool,
}

impl Attributes {
    fn flags(self) -> MountAttrFlags {
        let mut flags = MountAttrFlags::empty();
        flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.readonly);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.nosuid);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.nodev);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.noexec);
        flags.set(MountAttrFlags::MOUNT_ATTR_NOATIME, self.noatime);
        flags.set(MountAttrFlags::MOUNT_ATTR_NODIRATIME, self.nodiratime);
        flags
    }
}

/// Makes a detached mount of a new filesystem. An option without a value is a flag.
pub fn new_filesystem(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: Attributes,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Err(error) = configure(&context, options) {
        return Err(match kernel_message(context.as_fd()) {
            Some(message) => io::Error::new(io::Error::from(error).kind(), message),
            None => error.into(),
        });
    }
    Ok(fsmount(
        context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes.flags(),
    )?)
}

fn configure(context: &OwnedFd, options: &[(&str, Option<&str>)]) -> rustix::io::Result<()> {
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(context, *key, *value)?,
            None => fsconfig_set_flag(context, *key)?,
        }
    }
    fsconfig_create(context)
}

/// What the kernel says about a failed filesystem context; one message a read, with a one-letter severity before it.
fn kernel_message(context: BorrowedFd<'_>) -> Option<String> {
    let mut buffer = [0_u8; 512];
    let length = rustix::io::read(context, &mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
}

/// Clones the mount at a path, detached; with `recursive` all that is mounted below it as well.
pub fn clone_tree(path: impl Arg, recursive: bool) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, path, tree_flags(recursive))?)
}

/// Clones the mount of an open file or directory, detached.
pub fn clone_tree_of(fd: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    Ok(open_tree(
        fd,
        c"",
        tree_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH,
    )?)
}

fn tree_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags | OpenTreeFlags::AT_RECURSIVE
    } else {
        flags
    }
}

/// Attaches a detached mount to an open file or directory.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_mount(
        mount,
        c"",
        target,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )?)
}

/// Adds attributes, and sets the propagation if given, of a mount; with `recursive` of all mounts below it too.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    propagation: Option<Propagation>,
    recursive: bool,
) -> io::Result<()> {
    let argument = libc::mount_attr {
        attr_set: u64::from(attributes.flags().bits()),
        // When times of access are written is one setting of several values: a new one takes the old one's place.
        attr_clr: if attributes.noatime {
            u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits())
        } else {
            0
        },
        propagation: match propagation {
            None => 0,
            Some(Propagation::Private) => libc::MS_PRIVATE,
            Some(Propagation::Slave) => libc::MS_SLAVE,
            Some(Propagation::Shared) => libc::MS_SHARED,
        },
        userns_fd: 0,
    };
    change(mount, &argument, recursive)
}

/// Shows what a detached mount holds as the mapping of `user_namespace` says: what belongs to 0 on the disk belongs to the namespace's
/// 0, and what its 0 makes is 0's on the disk. `EINVAL` from a filesystem that cannot (Linux 5.12 and up, one after the other).
pub fn map_owners(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let argument = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(user_namespace.as_raw_fd()).map_err(io::Error::other)?,
    };
    change(mount, &argument, false)
}

fn change(mount: BorrowedFd<'_>, argument: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let empty: &CStr = c"";
    // SAFETY: the descriptor is open, the path is a C string, and the kernel reads `size` bytes of a live struct of that size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            empty.as_ptr(),
            flags,
            std::ptr::from_ref(argument),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets the propagation of everything mounted at and below the root.
pub fn set_root_propagation(propagation: Propagation) -> io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    let flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
    };
    Ok(mount_change(c"/", flags | MountPropagationFlags::REC)?)
}

/// Mounts an overlay at `target`. Lower directories are topmost first, relative to the working directory if they are relative: the
/// kernel takes one page of options in all.
pub fn mount_overlay(lower: &[String], upper: &str, work: &str, target: &str) -> io::Result<()> {
    use rustix::mount::{MountFlags, mount};
    let mut options = String::from("lowerdir=");
    for (index, directory) in lower.iter().enumerate() {
        if index > 0 {
            options.push(':');
        }
        escape_into(directory, &mut options);
    }
    options.push_str(",upperdir=");
    escape_into(upper, &mut options);
    options.push_str(",workdir=");
    escape_into(work, &mut options);
    let options = std::ffi::CString::new(options)?;
    Ok(mount(
        c"overlay",
        target,
        c"overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )?)
}

/// Colons, commas and backslashes mean something in overlay's options.
fn escape_into(path: &str, into: &mut String) {
    for c in path.chars() {
        if matches!(c, ':' | ',' | '\\') {
            into.push('\\');
        }
        into.push(c);
    }
}

/// Makes the directory `root` (a mount point) the root of this mount namespace and lets go of the old one.
pub fn pivot_root(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // Both names are the new root: the old one is stacked on it, and taken off at once. No directory for it is needed.
    rustix::process::pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Unmounts whatever is at `path`, now or when it is not in use any more.
pub fn detach(path: impl Arg) -> io::Result<()> {
    Ok(unmount(
        path,
        UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
    )?)
}
