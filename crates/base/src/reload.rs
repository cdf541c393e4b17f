//! Files that are read again when they change: certificates, authorities, keys, configuration.
//!
//! A file is looked at every [`INTERVAL`]; it has changed when its time, size or inode has. (A Kubernetes volume exchanges files by a
//! symlink, which changes the inode.) What cannot be read or understood leaves in force what was in force before, and is tried again
//! when a file changes next: a certificate and its key are seldom exchanged in the same instant.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{Clock, TaskGroup};

/// How often files are looked at.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Time of change, size, inode.
type Stamp = Option<(SystemTime, u64, u64)>;

type Action = Box<dyn FnMut() -> Result<(), String> + Send>;

struct Watched {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    action: Action,
}

/// What is to be done when which files change.
#[derive(Default)]
pub struct Reloader {
    watched: Vec<Watched>,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths = self.watched.iter().flat_map(|watched| &watched.paths);
        f.debug_list().entries(paths).finish()
    }
}

impl Reloader {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `action` when one of `paths` is not as it is now. Its error is logged.
    pub fn watch<'a>(
        &mut self,
        paths: impl IntoIterator<Item = &'a Path>,
        action: impl FnMut() -> Result<(), String> + Send + 'static,
    ) {
        let paths: Vec<PathBuf> = paths.into_iter().map(Path::to_owned).collect();
        self.watched.push(Watched {
            stamps: paths.iter().map(|path| stamp(path)).collect(),
            paths,
            action: Box::new(action),
        });
    }

    /// Looks once.
    pub fn check(&mut self) {
        for watched in &mut self.watched {
            let stamps: Vec<Stamp> = watched.paths.iter().map(|path| stamp(path)).collect();
            if stamps == watched.stamps {
                continue;
            }
            watched.stamps = stamps;
            match (watched.action)() {
                Ok(()) => tracing::info!(files = ?watched.paths, "read again"),
                Err(error) => {
                    tracing::error!(files = ?watched.paths, error, "cannot use what has changed");
                }
            }
        }
    }

    /// Looks every [`INTERVAL`], in a task of `tasks`, until it ends.
    pub fn start(mut self, clock: Clock, tasks: &TaskGroup) {
        if self.watched.is_empty() {
            return;
        }
        tasks.spawn_cancellable("reload", async move {
            loop {
                clock.sleep_until(clock.now() + INTERVAL).await;
                self.check();
            }
        });
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    #[test]
    fn changes_are_seen_once_and_a_failure_is_not_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "a").unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let mut reloader = Reloader::new();
        reloader.watch([path.as_path()], move || {
            match counted.fetch_add(1, Ordering::Relaxed) {
                0 => Err("not yet whole".to_owned()),
                _ => Ok(()),
            }
        });
        let mut look = |expected| {
            reloader.check();
            assert_eq!(calls.load(Ordering::Relaxed), expected);
        };
        look(0);
        fs::write(&path, "ab").unwrap();
        look(1);
        look(1);
        fs::remove_file(&path).unwrap();
        look(2);
        fs::write(&path, "abc").unwrap();
        look(3);
    }
}
