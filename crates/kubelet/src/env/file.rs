//! Variables from files that an earlier container of the pod wrote (`fileKeyRef`, KEP-3721).
//!
//! The format is the strict part of a shell's that upstream reads: `NAME='value'`, in single quotes, over several lines if need be,
//! with nothing in between that means anything; comments and blank lines aside. The file belongs to the pod, so its path is
//! resolved inside the volume and its size is bounded.

use std::path::Path;

use linux::root::Root;

/// What a file may have.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The value of `key` in the file at `path` of a volume; none if the file does not have it. The error is what upstream's log says.
pub(super) fn file_value(volume: &Path, path: &str, key: &str) -> Result<Option<String>, String> {
    let failed = |error| format!("failed to open environment variable file {path:?}: {error}");
    let root = Root::open(volume).map_err(failed)?;
    let bytes = root.read(Path::new(path), MAX_FILE_BYTES).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    value_of(&text, key)
}

fn value_of(text: &str, key: &str) -> Result<Option<String>, String> {
    let invalid = |line: usize, what: &str| {
        Err(format!(
            "invalid environment variable format at line {line}: {what}"
        ))
    };
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return invalid(number, "missing '='");
        };
        if name.is_empty() {
            return invalid(number, "empty variable name");
        }
        if name.ends_with([' ', '\t']) {
            return invalid(number, "whitespace before '=' is not allowed");
        }
        if value.starts_with([' ', '\t']) {
            // As a shell reads it: the variable is empty.
            if name == key {
                return Ok(None);
            }
            continue;
        }
        let Some(mut rest) = value.strip_prefix('\'') else {
            return invalid(number, "value must be enclosed in single quotes");
        };
        let mut value = String::new();
        let mut last = number;
        let after = loop {
            if let Some((end, after)) = rest.split_once('\'') {
                value.push_str(end);
                break after;
            }
            value.push_str(rest);
            value.push('\n');
            match lines.next() {
                Some((number, next)) => (last, rest) = (number, next),
                None => {
                    return Err(format!(
                        "invalid environment variable format starting at line {number}: unclosed single quote"
                    ));
                }
            }
        };
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with('#') {
            return invalid(last, "unexpected content after closing quote");
        }
        if name == key {
            return Ok(Some(value).filter(|value| !value.is_empty()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strict_format_and_no_other() {
        let text = "# c\n\nA='1' # one\n  B='two\nlines'\nC= 'x'\nD=''\nE='$A \\n'\n";
        for (key, expected) in [
            ("A", Some("1")),
            ("B", Some("two\nlines")),
            ("C", None),
            ("D", None),
            ("E", Some("$A \\n")),
            ("F", None),
        ] {
            assert_eq!(value_of(text, key).unwrap().as_deref(), expected, "{key}");
        }
        for (text, expected) in [
            ("A", "at line 1: missing '='"),
            ("\n='1'", "at line 2: empty variable name"),
            ("A ='1'", "at line 1: whitespace before '=' is not allowed"),
            ("A=1", "at line 1: value must be enclosed in single quotes"),
            ("A='1\n2", "starting at line 1: unclosed single quote"),
            (
                "A='1\n2'x",
                "at line 2: unexpected content after closing quote",
            ),
        ] {
            let error = value_of(text, "K").unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[test]
    fn a_link_out_of_the_volume_leads_nowhere() {
        let volume = std::env::temp_dir().join(format!("env-file-{}", std::process::id()));
        std::fs::create_dir_all(&volume).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", volume.join("out")).unwrap();
        std::fs::write(volume.join("in"), "A='1'\n").unwrap();
        assert!(file_value(&volume, "out", "A").is_err());
        assert_eq!(
            file_value(&volume, "in", "A").unwrap().as_deref(),
            Some("1")
        );
        std::fs::remove_dir_all(volume).unwrap();
    }
}
