//! Replaces a set of files so that a reader sees the old set or the new one, never a mixture.
//!
//! As upstream lays it out: the files live in a directory with a time for a name, the link `..data` points at it, and each visible
//! name is a link through `..data`. An update writes a new directory and renames a new `..data` over the old one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    path::{Component, Path},
};

use jiff::Timestamp;

/// The link that all visible names go through.
const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Content.
    pub(super) data: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
    /// Owner, if not root.
    pub(super) owner: Option<u32>,
}

/// Files by relative path.
pub(super) type Payload = BTreeMap<String, File>;

/// Writes `payload` into `target`; does nothing if it is there already. `group` owns all files, if set.
pub(super) fn write(
    target: &Path,
    payload: &Payload,
    group: Option<u32>,
    now: Timestamp,
) -> io::Result<()> {
    for path in payload.keys() {
        check(path)?;
    }
    let data = target.join(DATA);
    let old = fs::read_link(&data).ok();
    if old.is_some() && is_current(&data, payload)? {
        return Ok(());
    }
    let name = unused_name(target, now)?;
    let directory = target.join(&name);
    make_directory(&directory, group)?;
    for (path, file) in payload {
        write_file(&directory, path, file, group)?;
    }
    let new = target.join(NEW_DATA);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&name, &new)?;
    // From here on readers see the new files under the old names …
    fs::rename(&new, &data)?;
    let visible: BTreeSet<_> = payload
        .keys()
        .filter_map(|path| path.split('/').next())
        .collect();
    for name in &visible {
        let link = target.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    // … and now the names that are no more go away.
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !name.starts_with("..") && !visible.contains(name) && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(old) = old.filter(|old| is_own_directory(old)) {
        fs::remove_dir_all(target.join(old))?;
    }
    Ok(())
}

/// Paths come from users: relative, without `..`, and not in the names kept for the writer.
fn check(path: &str) -> io::Result<()> {
    let invalid = |why: &str| {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("invalid path {path:?}: {why}"),
        ))
    };
    if path.is_empty() || path.starts_with("..") {
        return invalid("must not be empty or start with '..'");
    }
    if Path::new(path)
        .components()
        .any(|part| !matches!(part, Component::Normal(_)))
    {
        return invalid("must be relative and must not contain '..'");
    }
    Ok(())
}

/// Whether a link's target is a directory of this writer, and not what somebody made of it.
fn is_own_directory(target: &Path) -> bool {
    let mut parts = target.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name.to_string_lossy().starts_with(".."))
}

fn unused_name(target: &Path, now: Timestamp) -> io::Result<String> {
    let base = format!("..{}", now.strftime("%Y_%m_%d_%H_%M_%S"));
    for attempt in 0..1000 {
        let name = format!("{base}.{}{attempt}", now.subsec_nanosecond());
        if !target.join(&name).exists() {
            return Ok(name);
        }
    }
    Err(io::Error::other("no unused name for a new directory"))
}

fn is_current(data: &Path, payload: &Payload) -> io::Result<bool> {
    let mut found = BTreeSet::new();
    collect(data, "", &mut found)?;
    if found.len() != payload.len() || !payload.keys().all(|path| found.contains(path)) {
        return Ok(false);
    }
    for (path, file) in payload {
        let path = data.join(path);
        let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
        if fs::read(&path)? != file.data || mode != file.mode & 0o777 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn collect(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

fn make_directory(path: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(
        path,
        fs::Permissions::from_mode(if group.is_some() { 0o2755 } else { 0o755 }),
    )?;
    if group.is_some() {
        chown(path, None, group)?;
        // A change of owner clears the set-group-id bit.
        fs::set_permissions(path, fs::Permissions::from_mode(0o2755))?;
    }
    Ok(())
}

fn write_file(directory: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let mut parent = directory.to_path_buf();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            break;
        }
        parent.push(part);
        if !parent.is_dir() {
            make_directory(&parent, group)?;
        }
    }
    let full = directory.join(path);
    let mut opened = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&full)?;
    opened.write_all(&file.data)?;
    if file.owner.is_some() || group.is_some() {
        chown(&full, file.owner, group)?;
    }
    opened.set_permissions(fs::Permissions::from_mode(file.mode & 0o777))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| File {
            data: data.as_bytes().to_vec(),
            mode: 0o644,
            owner: None,
        };
        files
            .iter()
            .map(|(path, data)| ((*path).to_owned(), file(data)))
            .collect()
    }

    fn temporary() -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!(
            "atomic-writer-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn updates_are_one_rename() {
        let target = temporary();
        let now = Timestamp::UNIX_EPOCH;
        write(&target, &payload(&[("a", "1"), ("d/b", "2")]), None, now).unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(target.join("d/b")).unwrap(), "2");
        let first = fs::read_link(target.join(DATA)).unwrap();
        write(&target, &payload(&[("a", "1"), ("d/b", "2")]), None, now).unwrap();
        assert_eq!(
            fs::read_link(target.join(DATA)).unwrap(),
            first,
            "nothing changed, nothing written"
        );
        write(&target, &payload(&[("a", "3"), ("c", "4")]), None, now).unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(target.join("c")).unwrap(), "4");
        assert!(
            fs::symlink_metadata(target.join("d")).is_err(),
            "the name is gone"
        );
        assert!(!target.join(first).exists(), "the old directory is gone");
        fs::remove_dir_all(target).unwrap();
    }

    #[test]
    fn paths_of_users_stay_inside() {
        let target = temporary();
        for path in ["../x", "/x", "..data", "", "a/../b"] {
            assert!(
                write(
                    &target,
                    &payload(&[(path, "x")]),
                    None,
                    Timestamp::UNIX_EPOCH
                )
                .is_err(),
                "{path}"
            );
        }
        fs::remove_dir_all(target).unwrap();
    }
}
