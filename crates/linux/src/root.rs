//! A directory as the root of all resolution below it: `openat2` with `RESOLVE_IN_ROOT`.
//!
//! Symbolic links, absolute ones too, and `..` are resolved as if the directory were `/`. This holds at the instant of the call, so a
//! hostile process that moves things meanwhile gains nothing; that is why everything here takes and gives descriptors.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path},
};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2};

/// How often the kernel may ask us to try again (a rename raced with the resolution).
const MAX_ATTEMPTS: usize = 128;

/// A directory that cannot be left.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens a trusted path as a root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Takes an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens a path inside. Links are followed within the root.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.resolve(path, flags, mode, ResolveFlags::IN_ROOT)
    }

    /// Opens a path inside that must contain no symbolic link at all.
    pub fn open_without_links(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        self.resolve(
            path,
            flags,
            mode,
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
        )
    }

    fn resolve(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MAX_ATTEMPTS {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "path resolution raced too often",
        ))
    }

    /// Reads a small file whole; at most `limit` bytes, an error beyond.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        use std::io::Read as _;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = std::fs::File::from(self.open_at(path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "file is too large",
            ));
        }
        Ok(bytes)
    }

    /// Opens a directory inside, making it and its parents where they are missing. Existing links on the way are followed within the
    /// root.
    pub fn make_dirs(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_at(path, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let mut so_far = std::path::PathBuf::new();
        let mut current = self.open_at(Path::new("."), flags, Mode::empty())?;
        for component in normal_components(path) {
            so_far.push(component);
            current = match self.open_at(&so_far, flags, Mode::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match mkdirat(&current, component, mode) {
                        // A link that leads nowhere is there, too: then the open below says so.
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    self.open_at(&so_far, flags, Mode::empty())?
                }
                result => result?,
            };
        }
        Ok(current)
    }

    /// Opens a path inside as something to mount on: a directory, or an empty file, made where it is missing.
    pub fn make_mount_point(&self, path: &Path, directory: bool) -> io::Result<OwnedFd> {
        if directory {
            return self.make_dirs(path, Mode::from_raw_mode(0o755));
        }
        match self.open_at(path, OFlags::PATH, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let (parent, name) = split(path)?;
        let parent = self.make_dirs(parent, Mode::from_raw_mode(0o755))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o755)) {
            Ok(_) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.open_at(path, OFlags::PATH, Mode::empty())
    }

    /// The root itself.
    pub fn as_dir(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Lets go of the type, not of the descriptor.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// The type of an open file.
pub fn file_type(fd: BorrowedFd<'_>) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

fn normal_components(path: &Path) -> impl Iterator<Item = &Path> {
    // Leading slashes mean the root and `.` nothing. `..` stays: the kernel clamps it, and mkdir of it says EEXIST.
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(Path::new(name)),
        Component::ParentDir => Some(Path::new("..")),
        _ => None,
    })
}

fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path has no last name"))?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scratch() -> std::path::PathBuf {
        let unique = format!(
            "linux-root-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let path = std::env::temp_dir().join(unique);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let base = scratch();
        let inside = base.join("root");
        std::fs::create_dir_all(inside.join("etc")).unwrap();
        std::fs::write(base.join("secret"), "outside").unwrap();
        std::fs::write(inside.join("etc/passwd"), "inside").unwrap();
        symlink("/etc", inside.join("abs")).unwrap();
        symlink("../../../../secret", inside.join("up")).unwrap();
        let root = Root::open(&inside).unwrap();
        assert_eq!(root.read(Path::new("/abs/passwd"), 100).unwrap(), b"inside");
        assert_eq!(
            root.read(Path::new("up"), 100).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            root.read(Path::new("../secret"), 100).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        root.make_dirs(Path::new("/abs/a/b/../c"), Mode::from_raw_mode(0o755))
            .unwrap();
        assert!(inside.join("etc/a/b").is_dir() && inside.join("etc/a/c").is_dir());
        root.make_mount_point(Path::new("abs/x/file"), false)
            .unwrap();
        assert!(inside.join("etc/x/file").is_file());
        std::fs::remove_dir_all(base).unwrap();
    }
}
