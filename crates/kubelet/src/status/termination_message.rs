//! The last words of containers: from the file they wrote, or from the end of their log.

use std::{fs, io::Read as _, path::Path};

use crate::observed::{ContainerState, ObservedPod, label};

/// What is kept of a message from the file.
const MAX_MESSAGE_BYTES: u64 = 4096;
/// What is kept of a log.
const MAX_LOG_BYTES: usize = 2048;
const MAX_LOG_LINES: usize = 80;

/// Fills in the messages of containers that have ended.
pub fn read_termination_messages(observed: &mut ObservedPod) {
    for container in &mut observed.containers {
        if container.state != ContainerState::Exited || !container.message.is_empty() {
            continue;
        }
        let annotation = |key| {
            container
                .annotations
                .get(key)
                .map(String::as_str)
                .unwrap_or_default()
        };
        let path = annotation(label::TERMINATION_MESSAGE_PATH);
        let file = container
            .mounts
            .iter()
            .find(|mount| !path.is_empty() && mount.container_path == path);
        let message = file
            .and_then(|mount| read_file(Path::new(&mount.host_path)))
            .unwrap_or_default();
        let fall_back = annotation(label::TERMINATION_MESSAGE_POLICY) == "FallbackToLogsOnError"
            && container.exit_code != 0
            && message.is_empty();
        container.message = if fall_back {
            log_tail(Path::new(&container.log_path))
        } else {
            message
        };
    }
}

fn read_file(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MAX_MESSAGE_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a log in CRI format, without times and stream names.
fn log_tail(path: &Path) -> String {
    use std::io::{Seek as _, SeekFrom};
    // Each line carries some forty bytes more than its text.
    const WINDOW: u64 = 16 << 10;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        let mut bytes = Vec::new();
        file.take(WINDOW).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let Ok(bytes) = read() else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let records: Vec<_> = text
        .lines()
        .filter_map(|record| {
            let mut words = record.splitn(4, ' ').skip(2);
            Some((words.next()?, words.next()?))
        })
        .collect();
    let last = &records[records.len().saturating_sub(MAX_LOG_LINES)..];
    let mut message = String::new();
    for (tag, content) in last {
        message.push_str(content);
        // A part of a line is continued by the next record, or was never ended.
        if *tag != "P" {
            message.push('\n');
        }
    }
    while message.len() > MAX_LOG_BYTES {
        let over = message.ceil_char_boundary(message.len() - MAX_LOG_BYTES);
        let cut = message.find('\n').map_or(over, |at| at + 1);
        message.drain(..cut);
    }
    message
}
