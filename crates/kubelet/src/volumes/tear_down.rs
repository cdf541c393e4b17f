//! Takes a pod's volumes away: mounts first, from the deepest, then files. Nothing below a mount that stays is ever deleted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::mount::{UnmountFlags, unmount};

use crate::paths::Paths;

/// Whether something is mounted exactly there.
pub(super) fn is_mount_point(path: &Path) -> io::Result<bool> {
    let path = fs::canonicalize(path)?;
    Ok(mount_points()?.contains(&path))
}

/// Where anything is mounted.
pub(super) fn mount_points() -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .collect())
}

/// The kernel writes blanks and backslashes as `\040`.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes away whatever is mounted at or below a directory.
pub(crate) fn unmount_below(root: &Path) -> io::Result<()> {
    let Ok(root) = fs::canonicalize(root) else {
        return Ok(());
    };
    let mut points: Vec<_> = mount_points()?
        .into_iter()
        .filter(|point| point.starts_with(&root))
        .collect();
    // A deeper mount, and a later one on the same place, goes first.
    points.reverse();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in points {
        match unmount(&point, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(_) => unmount(&point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?,
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes the bind mounts of a pod's subPaths. Idempotent.
pub fn tear_down_subpaths(paths: &Paths, uid: &str) -> io::Result<()> {
    unmount_below(&paths.subpaths(uid))?;
    remove(&paths.subpaths(uid))
}

/// Removes all volumes of a pod, and its directory. Idempotent.
pub fn tear_down_pod(paths: &Paths, uid: &str) -> io::Result<()> {
    if !paths.pod(uid).exists() {
        return Ok(());
    }
    tear_down_subpaths(paths, uid)?;
    unmount_below(&paths.pod(uid))?;
    remove(&paths.pod(uid))
}
