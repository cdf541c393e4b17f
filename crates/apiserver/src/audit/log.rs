//! Events in a file, a line each, which is rotated by size; old files go by age and number, and may be compressed. `-` is standard output.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use base::Clock;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::backend::{BatchConfig, Sink};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The event.
    Json,
    /// `… AUDIT: id="…" …`
    Legacy,
}

/// `--audit-log-…`
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `--audit-log-path`
    pub path: PathBuf,
    /// `--audit-log-maxage`, in days; 0 keeps them.
    pub max_age_days: u32,
    /// `--audit-log-maxbackup`; 0 keeps them.
    pub max_backups: usize,
    /// `--audit-log-maxsize`, in megabytes.
    pub max_size_mb: u64,
    /// `--audit-log-compress`
    pub compress: bool,
    /// `--audit-log-format`
    pub format: Format,
    /// `--audit-log-mode`, `--audit-log-batch-…`, `--audit-log-truncate-…`
    pub batch: BatchConfig,
}

/// The file, and how much is in it.
#[derive(Debug)]
pub(super) struct FileSink(Option<Open>);

#[derive(Debug)]
struct Open {
    config: Config,
    clock: Clock,
    /// None is standard output.
    file: Option<(File, u64)>,
}

/// As rotated files are named.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";

impl FileSink {
    pub(super) fn open(config: &Config, clock: Clock) -> io::Result<Self> {
        let file = if config.path == Path::new("-") {
            None
        } else {
            Some(open(&config.path)?)
        };
        Ok(Self(Some(Open {
            config: config.clone(),
            clock,
            file,
        })))
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[async_trait]
impl Sink for FileSink {
    async fn write(&mut self, events: Vec<Bytes>) -> Result<(), String> {
        let Some(mut open) = self.0.take() else {
            return Err("the writer of the audit log has failed".to_owned());
        };
        // Files block: not on a thread that serves requests.
        let written = tokio::task::spawn_blocking(move || {
            let outcome = open.write(&events);
            (open, outcome)
        });
        match written.await {
            Ok((open, outcome)) => {
                self.0 = Some(open);
                outcome.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Open {
    fn write(&mut self, events: &[Bytes]) -> io::Result<()> {
        // One write for as many lines as come together: a line is whole even if the process ends here.
        let mut lines = Vec::with_capacity(events.iter().map(|event| event.len() + 1).sum());
        for event in events {
            lines.extend_from_slice(event);
            lines.push(b'\n');
        }
        let Some((_, size)) = &self.file else {
            let mut out = io::stdout().lock();
            out.write_all(&lines)?;
            return out.flush();
        };
        let limit = self.config.max_size_mb << 20;
        if limit > 0 && *size > 0 && size + lines.len() as u64 > limit {
            self.rotate()?;
        }
        if let Some((file, size)) = &mut self.file {
            file.write_all(&lines)?;
            *size += lines.len() as u64;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let backup = backup_path(&self.config.path, now);
        std::fs::rename(&self.config.path, &backup)?;
        self.file = Some(open(&self.config.path)?);
        if let Err(error) = self.clean(now, &backup) {
            tracing::warn!(%error, "old audit logs are not cleaned up");
        }
        Ok(())
    }

    /// Compresses the file just put aside, and removes those that are too old or too many.
    fn clean(&self, now: Timestamp, latest: &Path) -> io::Result<()> {
        if self.config.compress {
            compress(latest)?;
        }
        let mut backups = backups(&self.config.path)?;
        backups.sort();
        let too_many = match self.config.max_backups {
            0 => 0,
            kept => backups.len().saturating_sub(kept),
        };
        let days = i64::from(self.config.max_age_days);
        let oldest = (days > 0)
            .then(|| now.checked_sub(SignedDuration::from_hours(24 * days)).ok())
            .flatten();
        let oldest = oldest.map(|oldest| backup_path(&self.config.path, oldest));
        for (index, backup) in backups.iter().enumerate() {
            // The names order as the times do.
            let too_old = oldest.as_ref().is_some_and(|oldest| backup < oldest);
            if index < too_many || too_old {
                std::fs::remove_file(backup)?;
            }
        }
        Ok(())
    }
}

/// `audit.log` put aside at a time: `audit-2006-01-02T15-04-05.000.log`
fn backup_path(path: &Path, time: Timestamp) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path
        .extension()
        .map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    path.with_file_name(format!("{stem}-{}{extension}", time.strftime(STAMP)))
}

fn backups(path: &Path) -> io::Result<Vec<PathBuf>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let prefix = format!("{stem}-");
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let stamped = name
            .strip_prefix(&prefix)
            .is_some_and(|rest| rest.len() >= 23 && rest.as_bytes()[10] == b'T');
        if stamped {
            found.push(path.with_file_name(name));
        }
    }
    Ok(found)
}

fn compress(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let mut out =
        flate2::write::GzEncoder::new(File::create(name)?, flate2::Compression::default());
    io::copy(&mut File::open(path)?, &mut out)?;
    out.finish()?.sync_all()?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::backend::Mode;

    fn config(path: PathBuf, max_backups: usize, compress: bool) -> Config {
        Config {
            path,
            max_age_days: 0,
            max_backups,
            max_size_mb: 1,
            compress,
            format: Format::Json,
            batch: BatchConfig {
                mode: Mode::Blocking,
                buffer_size: 10,
                max_size: 1,
                max_wait: Duration::ZERO,
                throttle: None,
                truncate: None,
            },
        }
    }

    #[tokio::test]
    async fn files_are_rotated_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/audit.log");
        let clock = Clock::manual("2026-01-02T03:04:05Z".parse().unwrap());
        let mut sink = FileSink::open(&config(path.clone(), 2, true), clock.clone()).unwrap();
        let half = Bytes::from(vec![b'x'; 600 << 10]);
        for _ in 0..5 {
            sink.write(vec![half.clone()]).await.unwrap();
            clock.advance(Duration::from_secs(1));
        }
        let mut names: Vec<_> = backups(&path).unwrap();
        names.sort();
        let names: Vec<_> = names
            .iter()
            .map(|n| n.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "audit-2026-01-02T03-04-08.000.log.gz",
                "audit-2026-01-02T03-04-09.000.log.gz"
            ]
        );
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (600 << 10) + 1);
        // What is there is appended to.
        let mut sink = FileSink::open(&config(path.clone(), 2, false), clock).unwrap();
        sink.write(vec![Bytes::from_static(b"{}")]).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (600 << 10) + 4);
    }

    #[tokio::test]
    async fn old_files_go_by_age() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for day in ["01", "02", "09"] {
            let name = format!("audit-2026-01-{day}T00-00-00.000.log");
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        std::fs::write(directory.path().join("audit-notes.txt"), "mine").unwrap();
        let clock = Clock::manual("2026-01-10T00:00:00Z".parse().unwrap());
        let mut config = config(path.clone(), 0, false);
        config.max_age_days = 5;
        let mut sink = FileSink::open(&config, clock).unwrap();
        let most = Bytes::from(vec![b'x'; 1 << 20]);
        sink.write(vec![most.clone()]).await.unwrap();
        sink.write(vec![most]).await.unwrap();
        assert_eq!(backups(&path).unwrap().len(), 2);
        assert!(directory.path().join("audit-notes.txt").exists());
    }

    #[test]
    fn a_path_that_cannot_be_is_said_at_once() {
        let clock = Clock::system();
        assert!(FileSink::open(&config("/proc/none/audit.log".into(), 0, false), clock).is_err());
    }
}
