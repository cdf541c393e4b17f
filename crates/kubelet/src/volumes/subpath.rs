//! `subPath`: a part of a volume, opened by descriptor inside it and bound to a place that containers cannot change.
//!
//! The volume's content belongs to the containers, which may swap a directory for a link at any moment; so the path is resolved by
//! the kernel beneath the volume's root, and what is mounted is the descriptor, not the path.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2},
    io::Errno,
    mount::mount_bind,
};

use super::tear_down::is_mount_point;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Binds `subpath` of `volume` to `target`, which is made; a subPath that is not there becomes a directory.
pub(super) fn bind(volume: &Path, subpath: &str, target: &Path) -> io::Result<PathBuf> {
    if target.exists() && is_mount_point(target)? {
        return Ok(target.to_path_buf());
    }
    let opened = open_beneath(volume, subpath)?;
    let directory = FileType::from_raw_mode(fstat(&opened)?.st_mode) == FileType::Directory;
    if directory {
        fs::create_dir_all(target)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(target)?;
    }
    mount_bind(format!("/proc/self/fd/{}", opened.as_raw_fd()), target)?;
    Ok(target.to_path_buf())
}

fn open_beneath(volume: &Path, subpath: &str) -> io::Result<OwnedFd> {
    let relative = Path::new(subpath);
    if relative
        .components()
        .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subPath {subpath:?} leaves the volume"),
        ));
    }
    let metadata = fs::metadata(volume)?;
    let root = open(volume, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let path = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(&root, relative, path, Mode::empty(), RESOLVE) {
        Ok(found) => return Ok(found),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    // The new directories get the volume's own permissions, as upstream's do.
    let mode = Mode::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777);
    let mut current: OwnedFd = root;
    for part in relative
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
    {
        let name = part.as_os_str();
        match mkdirat(current.as_fd(), name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        current = openat2(
            &current,
            name,
            path | OFlags::DIRECTORY,
            Mode::empty(),
            RESOLVE,
        )?;
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_volume_is_refused() {
        let volume = std::env::temp_dir().join(format!("subpath-{}", std::process::id()));
        fs::create_dir_all(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        assert!(open_beneath(&volume, "out/passwd").is_err());
        assert!(open_beneath(&volume, "../x").is_err());
        assert!(open_beneath(&volume, "a/b").is_ok());
        assert!(volume.join("a/b").is_dir());
        fs::remove_dir_all(volume).unwrap();
    }
}
