//! Reads a CRI log file chunk by chunk, and follows it through rotations until the container has ended.
//!
//! The reader is pulled: it reads no further than its user takes. Following waits for inotify and for the container's end, never for
//! time. A rotated log is read to its end before the new file, and once more after the rotation was seen, because the writer may have
//! written in between; the same goes for the container's last words.

use std::{
    fs, io,
    io::{Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    pin::Pin,
};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::{
    cri_line::CriLine,
    options::{LogOptions, Streams},
    tail,
    watch::DirectoryWatch,
};

/// Bytes that one chunk has at least, unless there are no more.
const CHUNK: usize = 16 << 10;
/// Read at once.
const READ: usize = 64 << 10;
/// A longer line is damage: runtimes write at most 16 KiB in one.
const MAX_LINE: usize = 1 << 20;

type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A log that is being read.
pub(super) struct LogReader {
    path: PathBuf,
    file: tokio::fs::File,
    /// Read, not yet a whole line.
    buffer: BytesMut,
    printer: Printer,
    follow: Option<Follow>,
    /// Bytes of the file that are still to be read, if it is not followed: what is written from now on is not what was asked for, and
    /// would make two lines of the last one.
    left: Option<u64>,
}

struct Follow {
    watch: DirectoryWatch,
    ended: Ended,
    /// The container has ended; the file is read once more.
    has_ended: bool,
    /// The file that replaces this one, which is read once more before.
    next: Option<fs::File>,
}

impl LogReader {
    /// Opens the log and goes where `options` begin. With `ended` it is followed until that future is ready.
    pub(super) async fn open<F>(
        path: &Path,
        options: LogOptions,
        ended: Option<F>,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let resolved = fs::canonicalize(path).map_err(|error| {
            let text = format!("failed to try resolving symlinks in path {path:?}: {error}");
            io::Error::new(error.kind(), text)
        })?;
        // Watched before it is read, so that no change falls between the two.
        let follow = match ended {
            None => None,
            Some(ended) => {
                let directory = resolved.parent().unwrap_or(Path::new("/"));
                let watch = DirectoryWatch::new(directory)?;
                Some(Follow {
                    watch,
                    ended: Box::pin(ended),
                    has_ended: false,
                    next: None,
                })
            }
        };
        let mut file = fs::File::open(&resolved)?;
        let length = file.metadata()?.len();
        let mut start = 0;
        if let Some(lines) = options.tail_lines {
            start = tail::start(&file, length, lines)?;
            file.seek(SeekFrom::Start(start))?;
        }
        let left = follow.is_none().then(|| length.saturating_sub(start));
        Ok(Self {
            path: resolved,
            file: tokio::fs::File::from_std(file),
            buffer: BytesMut::new(),
            printer: Printer::new(options),
            follow,
            left,
        })
    }

    /// The next part of the output; `None` at its end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            self.print_lines();
            if self.printer.out.len() >= CHUNK || self.printer.is_full() {
                return Ok(self.printer.take());
            }
            if self.read().await? {
                continue;
            }
            // All that is there goes out before anything is waited for.
            if let Some(chunk) = self.printer.take() {
                return Ok(Some(chunk));
            }
            if !self.wait_for_more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads on; says whether there was something.
    async fn read(&mut self) -> io::Result<bool> {
        if self.left == Some(0) {
            return Ok(false);
        }
        self.buffer.reserve(READ);
        let read = self.file.read_buf(&mut self.buffer).await?;
        if let Some(left) = &mut self.left {
            let over = (read as u64).saturating_sub(*left);
            *left = left.saturating_sub(read as u64);
            let kept = self.buffer.len() - usize::try_from(over).unwrap_or(read);
            self.buffer.truncate(kept);
        }
        Ok(read > 0)
    }

    fn print_lines(&mut self) {
        while !self.printer.is_full() && self.printer.out.len() < CHUNK {
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                break;
            };
            let line = self.buffer.split_to(end + 1);
            self.printer.print(&line);
        }
        if self.buffer.len() > MAX_LINE && !self.buffer.contains(&b'\n') {
            tracing::warn!(path = %self.path.display(), "a line of a container's log is too long");
            self.buffer.clear();
        }
    }

    /// At the end of the file: whether there may be more.
    async fn wait_for_more(&mut self) -> io::Result<bool> {
        let Some(follow) = &mut self.follow else {
            return Ok(false);
        };
        if let Some(next) = follow.next.take() {
            self.file = tokio::fs::File::from_std(next);
            self.buffer.clear();
            return Ok(true);
        }
        if let Some(next) = replacement(&self.path, &self.file.metadata().await?)? {
            follow.next = Some(next);
            return Ok(true);
        }
        if follow.has_ended {
            return Ok(false);
        }
        tokio::select! {
            changed = follow.watch.changed() => changed?,
            () = &mut follow.ended => follow.has_ended = true,
        }
        Ok(true)
    }
}

/// The file that stands at the log's path, if it is another one.
fn replacement(path: &Path, current: &fs::Metadata) -> io::Result<Option<fs::File>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        // Between the renaming and the new file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    let is_same = (found.dev(), found.ino()) == (current.dev(), current.ino());
    Ok((!is_same).then_some(file))
}

/// Turns lines into output, as the options say.
struct Printer {
    options: LogOptions,
    out: BytesMut,
    /// Bytes that may still go out.
    left: Option<u64>,
    /// The last line printed was a part: the next one continues it and has no time of its own.
    in_line: bool,
}

impl Printer {
    fn new(options: LogOptions) -> Self {
        Self {
            left: options.limit_bytes,
            options,
            out: BytesMut::new(),
            in_line: false,
        }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn take(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    fn print(&mut self, line: &[u8]) {
        let Some(line) = CriLine::parse(line) else {
            tracing::debug!("a line of a container's log is damaged");
            return;
        };
        let wanted = match self.options.streams {
            Streams::All => true,
            Streams::Stdout => !line.is_stderr,
            Streams::Stderr => line.is_stderr,
        };
        if !wanted {
            return;
        }
        if let Some(since) = self.options.since
            && line.time().is_some_and(|time| time < since)
        {
            return;
        }
        if self.options.timestamps && !self.in_line {
            let timestamp = line.printed_timestamp();
            self.write(timestamp.as_bytes());
            self.write(b" ");
        }
        self.write(line.content);
        self.in_line = line.is_partial;
    }

    fn write(&mut self, bytes: &[u8]) {
        let bytes = match &mut self.left {
            None => bytes,
            Some(left) => {
                let take = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= take as u64;
                &bytes[..take]
            }
        };
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
