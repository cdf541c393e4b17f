//! Log files in the format of the CRI: `<time> <stream> <F|P> <line>`.
//!
//! A line is written when it is whole (`F`), or in parts (`P`, the last one `F`) when it is longer than [`MAX_LINE`]; what is left when
//! the stream ends, without a newline, is a part, too. One read of output
//! becomes one write. An error of the file (a full disk) loses output and nothing else: a container is never held up by its log.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Longest line that is not split.
pub(super) const MAX_LINE: usize = 16 * 1024;

/// A log file that can be opened anew after it was renamed.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens for appending, making it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
        })
    }

    /// Opens the path anew; on error the old file stays in use.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        Ok(())
    }

    /// Appends.
    pub(super) fn write(&mut self, records: &[u8]) {
        // Nobody is there to hear of an error; see the head of this file.
        let _ = self.file.write_all(records);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

/// Turns one stream's bytes into records.
#[derive(Debug)]
pub(super) struct LineSplitter {
    stream: &'static str,
    /// Begun and not yet ended line, at most [`MAX_LINE`].
    line: Vec<u8>,
}

impl LineSplitter {
    /// For `stdout` or `stderr`.
    pub(super) fn new(stream: &'static str) -> Self {
        Self {
            stream,
            line: Vec::new(),
        }
    }

    /// Takes bytes; appends the records that are complete by them.
    pub(super) fn feed(&mut self, mut bytes: &[u8], timestamp: &str, records: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.line.len();
            let window = &bytes[..bytes.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.record(&bytes[..end], b'F', timestamp, records);
                bytes = &bytes[end + 1..];
            } else if window.len() == room {
                // The newline may be the very next byte: then this part is the whole line.
                let tag = if bytes.get(room) == Some(&b'\n') {
                    b'F'
                } else {
                    b'P'
                };
                self.record(window, tag, timestamp, records);
                bytes = &bytes[room + usize::from(tag == b'F')..];
            } else {
                self.line.extend_from_slice(window);
                return;
            }
        }
    }

    /// The stream has ended: what is left is a line that lacks its end.
    pub(super) fn finish(&mut self, timestamp: &str, records: &mut Vec<u8>) {
        if !self.line.is_empty() {
            self.record(&[], b'P', timestamp, records);
        }
        self.line = Vec::new();
    }

    fn record(&mut self, rest: &[u8], tag: u8, timestamp: &str, records: &mut Vec<u8>) {
        records.extend_from_slice(timestamp.as_bytes());
        records.push(b' ');
        records.extend_from_slice(self.stream.as_bytes());
        records.extend_from_slice(&[b' ', tag, b' ']);
        records.extend_from_slice(&self.line);
        records.extend_from_slice(rest);
        records.push(b'\n');
        self.line.clear();
    }
}

/// Nanoseconds since the epoch.
#[allow(
    clippy::disallowed_methods,
    reason = "the shim stands alone, and its times are the kernel's: when output came, when a process ended"
)]
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with nine digits after the second.
pub fn timestamp(ns: i64) -> String {
    let seconds = ns.div_euclid(1_000_000_000);
    let nanos = ns.rem_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{nanos:09}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The date of a day counted from 1970-01-01. Years are counted from March, so that the leap day is a year's last; 400 of them have
/// 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_year_0 = days + 719_468;
    let era = from_year_0.div_euclid(146_097);
    let day_of_era = from_year_0.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(splitter: &mut LineSplitter, bytes: &[u8]) -> String {
        let mut records = Vec::new();
        splitter.feed(bytes, "T", &mut records);
        String::from_utf8(records).unwrap()
    }

    #[test]
    fn lines_wait_until_they_are_whole() {
        let mut splitter = LineSplitter::new("stdout");
        assert_eq!(feed(&mut splitter, b"one\ntw"), "T stdout F one\n");
        assert_eq!(
            feed(&mut splitter, b"o\n\n"),
            "T stdout F two\nT stdout F \n"
        );
        assert_eq!(feed(&mut splitter, b"rest"), "");
        let mut records = Vec::new();
        splitter.finish("T", &mut records);
        assert_eq!(records, b"T stdout P rest\n");
    }

    #[test]
    fn long_lines_are_split() {
        let mut splitter = LineSplitter::new("stderr");
        let long = vec![b'x'; MAX_LINE + 3];
        let first = feed(&mut splitter, &long);
        assert!(
            first.starts_with("T stderr P xxx") && first.len() == MAX_LINE + 12,
            "{first}"
        );
        assert_eq!(feed(&mut splitter, b"\n"), "T stderr F xxx\n");
        let mut exact = vec![b'y'; MAX_LINE];
        exact.push(b'\n');
        assert!(feed(&mut splitter, &exact).starts_with("T stderr F yyy"));
    }

    #[test]
    fn times() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            timestamp(951_782_400_000_000_001),
            "2000-02-29T00:00:00.000000001Z"
        );
        assert_eq!(
            timestamp(1_767_225_599_999_999_999),
            "2025-12-31T23:59:59.999999999Z"
        );
    }
}
