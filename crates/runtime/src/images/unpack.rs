//! Unpacking of layers, which anybody may have made.
//!
//! Parents of every entry are resolved within the root by the kernel ([`linux::root::Root`]), and the last component is never followed: an
//! absolute path, `..`, or a link planted by an earlier entry leads nowhere but inside. A layer is applied to the merged view of the layers
//! below it, mounted in a mount namespace of the unpacking thread alone; whiteouts are deletions there, and overlay keeps its own marks.
//! Names that overlay or we would read as marks cannot come from a tar. Entries and bytes are bounded.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io::{self, BufReader, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

use linux::root::Root;
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
        fchmod, fchown, fsetxattr, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat,
        unlinkat, utimensat,
    },
    io::Errno,
};
use tar::{Archive, Entry, EntryType};

use super::digest::{Digest, HashingReader};

/// Bounds on what a layer may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after decompression, the tar's own included.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 4_000_000,
        }
    }
}

/// Marks a deletion: `.wh.NAME`.
const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory whose lower contents are all deleted.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Prefix of extended attributes in PAX headers.
const PAX_XATTR: &str = "SCHILY.xattr.";

/// Applies a layer, compressed or not, to the directory `root`; gives the digest of the uncompressed tar.
pub fn apply_layer(blob: impl Read, root: &Root, limits: Limits) -> io::Result<Digest> {
    let mut reader = HashingReader::new(decompress(blob)?, limits.bytes);
    let mut applied = Applied {
        root,
        entries: 0,
        limits,
        seen: HashSet::new(),
        times: Vec::new(),
    };
    applied.apply(&mut Archive::new(&mut reader))?;
    applied.set_directory_times()?;
    reader.finish()
}

/// Sees by the first bytes what a layer is compressed with; media types are not always true.
pub(super) fn decompress<'a>(blob: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut blob = BufReader::with_capacity(1 << 16, blob);
    let head = io::BufRead::fill_buf(&mut blob)?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(blob))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(blob)?)
    } else {
        Box::new(blob)
    })
}

struct Applied<'a> {
    root: &'a Root,
    entries: u64,
    limits: Limits,
    /// What this layer brought, for opaque directories: those of its entries stay.
    seen: HashSet<PathBuf>,
    /// Directories get their times last, when nothing is put into them any more.
    times: Vec<(PathBuf, u64)>,
}

impl Applied<'_> {
    fn apply<R: Read>(&mut self, archive: &mut Archive<R>) -> io::Result<()> {
        for entry in archive.entries()? {
            let mut entry = entry?;
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(invalid("layer has too many entries"));
            }
            let name = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
            self.entry(&mut entry, &name).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", name.display()))
            })?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>, name: &Path) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = clean(name)?;
        let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else {
            // The root itself: its mode counts, nothing else.
            return self.set_root_attributes(entry);
        };
        let directory = self.root.make_dirs(parent, Mode::from_raw_mode(0o755))?;
        let directory = reopen(&directory)?;
        if last.as_bytes() == OPAQUE {
            return self.make_opaque(directory.as_fd(), parent);
        }
        if let Some(gone) = last.as_bytes().strip_prefix(WHITEOUT) {
            return whiteout(directory.as_fd(), OsStr::from_bytes(gone));
        }
        self.remember(&path);
        self.place(entry, kind, directory.as_fd(), last, &path)
    }

    /// The path and all its parents are of this layer.
    fn remember(&mut self, path: &Path) {
        for ancestor in path.ancestors().take_while(|p| !p.as_os_str().is_empty()) {
            if !self.seen.insert(ancestor.to_owned()) {
                break;
            }
        }
    }

    fn place<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        kind: EntryType,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> io::Result<()> {
        let existing = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let keeps = kind.is_dir() && existing == Some(FileType::Directory);
        if existing.is_some() && !keeps {
            remove_tree(parent, name)?;
        }
        match kind {
            EntryType::Directory => {
                if !keeps {
                    mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(parent, name, flags, Mode::empty())?;
                set_attributes(fd.as_fd(), entry)?;
                self.times
                    .push((path.to_owned(), entry.header().mtime().unwrap_or(0)));
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let fd = openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
                let mut file = std::fs::File::from(fd);
                io::copy(entry, &mut file)?;
                set_attributes(file.as_fd(), entry)?;
                set_times(parent, name, entry)?;
            }
            EntryType::Symlink => {
                let target = entry
                    .link_name_bytes()
                    .ok_or_else(|| invalid("link to nothing"))?;
                symlinkat(OsStr::from_bytes(&target), parent, name)?;
                set_owner(parent, name, entry)?;
                set_times(parent, name, entry)?;
            }
            EntryType::Link => {
                let target = entry
                    .link_name_bytes()
                    .ok_or_else(|| invalid("link to nothing"))?;
                self.hard_link(Path::new(OsStr::from_bytes(&target)), parent, name)?;
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                make_node(entry, kind, parent, name)?;
                set_owner(parent, name, entry)?;
                set_times(parent, name, entry)?;
            }
            other => return Err(invalid(&format!("entry of unsupported type {other:?}"))),
        }
        Ok(())
    }

    /// The target's parent is resolved inside, the target itself is not followed: a link to a link is a link to that link.
    fn hard_link(&self, target: &Path, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let target = clean(target)?;
        let (Some(directory), Some(last)) = (target.parent(), target.file_name()) else {
            return Err(invalid("hard link to a directory"));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = self.root.open_at(directory, flags, Mode::empty())?;
        Ok(linkat(&directory, last, parent, name, AtFlags::empty())?)
    }

    fn make_opaque(&self, directory: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        for name in names_in(directory)? {
            self.clear_lower(directory, &name, &path.join(&name))?;
        }
        Ok(())
    }

    /// Removes what this layer did not bring.
    fn clear_lower(&self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> io::Result<()> {
        if !self.seen.contains(path) {
            return remove_tree(parent, name);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(parent, name, flags, Mode::empty()) {
            Ok(directory) => {
                for child in names_in(directory.as_fd())? {
                    self.clear_lower(directory.as_fd(), &child, &path.join(&child))?;
                }
                Ok(())
            }
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_root_attributes<R: Read>(&self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        if !entry.header().entry_type().is_dir() {
            return Err(invalid("the root is not a directory"));
        }
        let root = reopen(self.root.as_dir())?;
        set_attributes(root.as_fd(), entry)
    }

    fn set_directory_times(&self) -> io::Result<()> {
        for (path, seconds) in self.times.iter().rev() {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            // A later entry may have replaced it.
            let Ok(parent) = self.root.open_at(parent, flags, Mode::empty()) else {
                continue;
            };
            let _ = utimensat(
                &parent,
                name,
                &timestamps(*seconds),
                AtFlags::SYMLINK_NOFOLLOW,
            );
        }
        Ok(())
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

/// The path below the root; `.` and leading slashes drop out. `..` is refused: no honest layer has it.
fn clean(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid("path leads out of the layer"));
            }
        }
    }
    Ok(clean)
}

/// A descriptor for reading, of a directory that is open as a path alone.
fn reopen(directory: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(directory, c".", flags, Mode::empty())?)
}

fn names_in(directory: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn whiteout(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    if name.is_empty() || name.as_bytes() == b"." || name.as_bytes() == b".." {
        return Err(invalid("whiteout of nothing"));
    }
    match remove_tree(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes a name with all below it, following nothing.
fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return Ok(result?),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for child in names_in(directory.as_fd())? {
        remove_tree(directory.as_fd(), &child)?;
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// A numeric field: one that was left empty is zero, as Go's archive/tar reads it.
fn number(field: &[u8], read: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Ok(0);
    }
    read()
}

fn owner<R: Read>(entry: &Entry<'_, R>) -> io::Result<(Uid, Gid)> {
    let id = |number: u64| {
        u32::try_from(number)
            .ok()
            .filter(|n| *n != u32::MAX)
            .ok_or_else(|| invalid("bad owner"))
    };
    let header = entry.header();
    Ok((
        Uid::from_raw(id(number(&header.as_old().uid, || header.uid())?)?),
        Gid::from_raw(id(number(&header.as_old().gid, || header.gid())?)?),
    ))
}

fn set_owner<R: Read>(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry<'_, R>,
) -> io::Result<()> {
    let (uid, gid) = owner(entry)?;
    Ok(chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn set_times<R: Read>(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry<'_, R>,
) -> io::Result<()> {
    let times = timestamps(entry.header().mtime().unwrap_or(0));
    Ok(utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn timestamps(seconds: u64) -> Timestamps {
    let time = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(0),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Owner, then attributes, then mode: a change of owner clears the set-user-id bit and capabilities.
fn set_attributes<R: Read>(fd: BorrowedFd<'_>, entry: &mut Entry<'_, R>) -> io::Result<()> {
    let (uid, gid) = owner(entry)?;
    fchown(fd, Some(uid), Some(gid))?;
    let mode = entry.header().mode()? & 0o7777;
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let Some(name) = extension
                .key()
                .ok()
                .and_then(|key| key.strip_prefix(PAX_XATTR))
            else {
                continue;
            };
            // Others are the node's own: overlay's marks above all.
            if name != "security.capability" && !name.starts_with("user.") {
                continue;
            }
            match fsetxattr(fd, name, extension.value_bytes(), XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(fchmod(fd, Mode::from_raw_mode(mode))?)
}

fn make_node<R: Read>(
    entry: &Entry<'_, R>,
    kind: EntryType,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    let header = entry.header();
    let mode = Mode::from_raw_mode(header.mode()? & 0o7777);
    let number = |n: Option<u32>| n.ok_or_else(|| invalid("device without a number"));
    let (kind, device) = match kind {
        EntryType::Fifo => (FileType::Fifo, 0),
        _ => {
            let (major, minor) = (
                number(header.device_major()?)?,
                number(header.device_minor()?)?,
            );
            if kind == EntryType::Char && (major, minor) == (0, 0) {
                return Err(invalid("a whiteout of overlay's cannot be a file"));
            }
            let kind = if kind == EntryType::Block {
                FileType::BlockDevice
            } else {
                FileType::CharacterDevice
            };
            (kind, makedev(major, minor))
        }
    };
    mknodat(parent, name, kind, mode, device)?;
    Ok(())
}
