//! One line of a CRI log: `2016-10-06T00:17:09.669794202Z stdout F what was written`.
//!
//! Long lines are written in parts; all but the last have the tag `P` instead of `F`, and their newline is the format's, not the
//! container's.

use jiff::Timestamp;

/// A line, as parts of the file's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CriLine<'a> {
    /// As written.
    pub(super) timestamp: &'a str,
    /// `stdout` or `stderr`.
    pub(super) is_stderr: bool,
    /// Another part follows.
    pub(super) is_partial: bool,
    /// What the container wrote, with its newline if the line is whole.
    pub(super) content: &'a [u8],
}

impl<'a> CriLine<'a> {
    /// Reads a line that ends with a newline. `None`: it is damaged.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (timestamp, rest) = word(line)?;
        let timestamp = std::str::from_utf8(timestamp).ok()?;
        // A cheap look, so that garbage is not taken for a line.
        if !timestamp.as_bytes().first()?.is_ascii_digit() || !timestamp.contains('T') {
            return None;
        }
        let (stream, rest) = word(rest)?;
        let is_stderr = match stream {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        let (tags, content) = match word(rest) {
            Some(split) => split,
            // An empty line has no space after its tag.
            None => rest.split_at(rest.len() - usize::from(rest.ends_with(b"\n"))),
        };
        let is_partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
        let content = if is_partial {
            content.strip_suffix(b"\n").unwrap_or(content)
        } else {
            content
        };
        Some(Self {
            timestamp,
            is_stderr,
            is_partial,
            content,
        })
    }

    /// The time; `None` if it is damaged.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.timestamp.parse().ok()
    }

    /// The time with nine digits, as `timestamps` prints it.
    pub(super) fn printed_timestamp(&self) -> String {
        const FIXED: usize = "2016-10-06T00:17:09.669794202Z".len();
        if self.timestamp.len() == FIXED && self.timestamp.ends_with('Z') {
            return self.timestamp.to_owned();
        }
        match self.time() {
            Some(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string(),
            None => self.timestamp.to_owned(),
        }
    }
}

fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let parse = |line: &'static str| {
            CriLine::parse(line.as_bytes()).map(|line| {
                (
                    line.is_stderr,
                    line.is_partial,
                    String::from_utf8_lossy(line.content).into_owned(),
                )
            })
        };
        let line = |stderr, partial, text: &str| Some((stderr, partial, text.to_owned()));
        let stamp = "2016-10-06T00:17:09.669794202Z";
        for (text, expected) in [
            (
                "2016-10-06T00:17:09.669794202Z stdout F hello world\n",
                line(false, false, "hello world\n"),
            ),
            (
                "2016-10-06T00:17:09.669794202Z stderr P part\n",
                line(true, true, "part"),
            ),
            (
                "2016-10-06T00:17:09.669794202Z stdout F:x tagged\n",
                line(false, false, "tagged\n"),
            ),
            (
                "2016-10-06T00:17:09.669794202Z stdout F \n",
                line(false, false, "\n"),
            ),
            (
                "2016-10-06T00:17:09.669794202Z stdout F\n",
                line(false, false, "\n"),
            ),
            (
                "2016-10-06T00:17:09.669794202Z stdout P \n",
                line(false, true, ""),
            ),
            ("2016-10-06T00:17:09.669794202Z stdlog F x\n", None),
            ("garbage\n", None),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
        for (written, printed) in [
            (stamp, stamp),
            ("2016-10-06T00:17:09.5Z", "2016-10-06T00:17:09.500000000Z"),
            (
                "2016-10-06T02:17:09.5+02:00",
                "2016-10-06T00:17:09.500000000Z",
            ),
        ] {
            let text = format!("{written} stdout F x\n");
            assert_eq!(
                CriLine::parse(text.as_bytes()).unwrap().printed_timestamp(),
                printed
            );
        }
    }
}
