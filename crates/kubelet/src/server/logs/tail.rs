//! Where the last lines of a file begin.

use std::{fs::File, io, os::unix::fs::FileExt as _};

const BLOCK: usize = 16 << 10;

/// The offset from which `lines` whole lines follow to `end`. A line that is still being written counts with the one that it ends.
pub(super) fn start(file: &File, mut end: u64, lines: u64) -> io::Result<u64> {
    if lines == 0 {
        return last_line_end(file, end);
    }
    let mut newlines = 0;
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let from = end.saturating_sub(BLOCK as u64);
        let length = usize::try_from(end - from).expect("no longer than a block");
        file.read_exact_at(&mut block[..length], from)?;
        for index in (0..length).rev() {
            if block[index] == b'\n' {
                newlines += 1;
                // The newline before the first of the lines.
                if newlines > lines {
                    return Ok(from + index as u64 + 1);
                }
            }
        }
        end = from;
    }
    Ok(0)
}

/// Behind the last newline.
fn last_line_end(file: &File, mut end: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let from = end.saturating_sub(BLOCK as u64);
        let length = usize::try_from(end - from).expect("no longer than a block");
        file.read_exact_at(&mut block[..length], from)?;
        if let Some(index) = block[..length].iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + index as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn last_lines() {
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(start(&file, 0, 5).unwrap(), 0);
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        for (lines, expected) in [(0, 14), (1, 8), (2, 4), (3, 0), (9, 0)] {
            assert_eq!(start(&file, 14, lines).unwrap(), expected, "{lines} lines");
        }
        let long = "x".repeat(BLOCK + 7);
        writeln!(file, "{long}").unwrap();
        let end = file.metadata().unwrap().len();
        assert_eq!(start(&file, end, 1).unwrap(), 14);
        assert_eq!(start(&file, end, 2).unwrap(), 8);
        // What was written since is not seen.
        assert_eq!(start(&file, 14, 1).unwrap(), 8);
    }
}
