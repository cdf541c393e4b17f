//! A container as the shim sees it: a first process, its streams, its log, and who listens.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use linux::process::Pid;
use rustix::{
    io::Errno,
    process::{Signal, kill_process, pidfd_send_signal},
};

use super::{
    log::{LineSplitter, LogFile, now_ns, timestamp},
    spec::{ExitRecord, ResolvedUser, StartRequest},
};

/// Read from a stream at a time.
const CHUNK: usize = 16 * 1024;

/// One of a container's output streams.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    splitter: LineSplitter,
    stderr: bool,
}

impl Output {
    pub(super) fn new(fd: OwnedFd, stderr: bool) -> Self {
        Self {
            fd,
            splitter: LineSplitter::new(if stderr { "stderr" } else { "stdout" }),
            stderr,
        }
    }
}

/// Somebody who gets a copy of an output stream. While bytes wait here the stream is not read further: a slow client slows the
/// container, as it would with any other runtime, and nothing is lost.
#[derive(Debug)]
pub(super) struct Attachment {
    /// The connection that asked for it; it goes with it.
    pub(super) connection: u64,
    pub(super) fd: OwnedFd,
    stderr: bool,
    pending: Vec<u8>,
}

impl Attachment {
    pub(super) fn new(connection: u64, fd: OwnedFd, stderr: bool) -> Self {
        Self {
            connection,
            fd,
            stderr,
            pending: Vec::new(),
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what waits. False when the other side has gone.
    pub(super) fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.fd, &self.pending) {
                Ok(written) => {
                    self.pending.drain(..written);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        self.pending = Vec::new();
        true
    }
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) request: StartRequest,
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) user: ResolvedUser,
    pub(super) started_at: i64,
    /// While it starts: its report, and the connection that waits.
    pub(super) starting: Option<(OwnedFd, u64)>,
    /// Why it did not start.
    pub(super) failure: Option<String>,
    pub(super) exit: Option<ExitRecord>,
    /// Controlling side of its terminal.
    pub(super) terminal: Option<OwnedFd>,
    /// Where its input is written to; with a terminal that is the input.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) outputs: Vec<Output>,
    pub(super) log: Option<LogFile>,
    pub(super) attachments: Vec<Attachment>,
    /// Connections of all who have attached.
    pub(super) attached: Vec<u64>,
}

impl Container {
    pub(super) fn id(&self) -> &str {
        &self.request.id
    }

    pub(super) fn is_running(&self) -> bool {
        self.exit.is_none() && self.starting.is_none()
    }

    /// Whether a stream may be read, and not somebody must first take what was read before.
    pub(super) fn wants_output(&self, output: &Output) -> bool {
        !self
            .attachments
            .iter()
            .any(|to| to.stderr == output.stderr && to.is_behind())
    }

    /// Connections of those who have been given everything there is to give: the container has ended.
    pub(super) fn take_finished(&mut self) -> Vec<u64> {
        if self.exit.is_none() {
            return Vec::new();
        }
        let behind = |id: &u64| self.attachments.iter().any(|to| to.connection == *id);
        let (behind, finished) = std::mem::take(&mut self.attached)
            .into_iter()
            .partition(behind);
        self.attached = behind;
        finished
    }

    /// The terminal has come from the child.
    pub(super) fn take_terminal(&mut self, controller: OwnedFd) -> io::Result<()> {
        set_nonblocking(controller.as_fd())?;
        if self.request.stdin {
            self.stdin = Some(rustix::io::fcntl_dupfd_cloexec(&controller, 3)?);
        }
        self.outputs = vec![Output::new(
            rustix::io::fcntl_dupfd_cloexec(&controller, 3)?,
            false,
        )];
        self.terminal = Some(controller);
        Ok(())
    }

    /// Reads once from an output stream into the log and the attachments. False at its end.
    pub(super) fn pump(&mut self, index: usize) -> bool {
        let mut buffer = [0_u8; CHUNK];
        let read = match rustix::io::read(&self.outputs[index].fd, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return true,
            // A terminal says EIO when the last process has let go of it.
            Ok(0) | Err(_) => 0,
            Ok(read) => read,
        };
        let bytes = &buffer[..read];
        let output = &mut self.outputs[index];
        let mut records = Vec::new();
        let time = timestamp(now_ns());
        if read == 0 {
            output.splitter.finish(&time, &mut records);
        } else {
            output.splitter.feed(bytes, &time, &mut records);
        }
        let stderr = output.stderr;
        if let Some(log) = self.log.as_mut().filter(|_| !records.is_empty()) {
            log.write(&records);
        }
        self.attachments.retain_mut(|to| {
            if to.stderr != stderr {
                return true;
            }
            to.pending.extend_from_slice(bytes);
            // At the end of the stream a writer that has everything is closed: that is how its reader sees the end.
            to.flush() && (read > 0 || to.is_behind())
        });
        if read == 0 {
            self.outputs.remove(index);
        }
        read > 0
    }

    /// Reads everything that is there; after the end of the first process nothing more is waited for.
    pub(super) fn drain(&mut self) {
        let mut index = 0;
        while index < self.outputs.len() {
            let fd = self.outputs[index].fd.as_fd();
            if is_readable(fd) {
                // On the stream's end the next one moves to this index.
                self.pump(index);
            } else {
                index += 1;
            }
        }
        for mut output in std::mem::take(&mut self.outputs) {
            let mut records = Vec::new();
            output.splitter.finish(&timestamp(now_ns()), &mut records);
            if let Some(log) = &mut self.log {
                log.write(&records);
            }
        }
        self.attachments
            .retain_mut(|to| to.flush() && to.is_behind());
    }

    /// Signals the first process, or every process in the cgroup.
    pub(super) fn kill(&self, signal: i32, all: bool) -> io::Result<()> {
        let signal = Signal::from_named_raw(signal)
            .map(Ok)
            .unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::InvalidInput)))?;
        if all {
            self.kill_cgroup(signal);
        }
        if self.exit.is_none() {
            match pidfd_send_signal(&self.pidfd, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Signals what is in the cgroup, where it has no PID namespace of its own whose end would kill all.
    pub(super) fn kill_cgroup(&self, signal: Signal) {
        let Some(file) = &self.request.procs_file else {
            return;
        };
        // Forks race with this; a few rounds outlast them, and removing the cgroup kills what then is left.
        for _ in 0..8 {
            let Ok(text) = fs::read_to_string(file) else {
                return;
            };
            let mut any = false;
            for pid in text
                .lines()
                .filter_map(|line| Pid::from_raw(line.parse().ok()?))
            {
                any = kill_process(pid, signal).is_ok() || any;
            }
            if !any || signal != Signal::KILL {
                return;
            }
        }
    }

    /// Records the end: in a file, for whoever asks when this shim is no more.
    pub(super) fn record_exit(&mut self, exit_code: i32, signal: Option<i32>) {
        let oom_killed = exit_code != 0
            && self
                .request
                .oom_file
                .as_deref()
                .is_some_and(|file| oom_kills(file) > 0);
        let exit = ExitRecord {
            exit_code,
            signal,
            oom_killed,
            finished_at: now_ns(),
        };
        let _ = write_atomically(&self.request.exit_path, &exit);
        self.exit = Some(exit);
        self.stdin = None;
        self.terminal = None;
        self.log = None;
    }
}

fn oom_kills(file: &Path) -> u64 {
    fs::read_to_string(file).map_or(0, |text| linux::cgroup::parse_oom_kills(&text))
}

fn write_atomically(path: &Path, exit: &ExitRecord) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec(exit)?)?;
    fs::rename(temporary, path)
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Makes reads and writes of a descriptor return at once.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    Ok(fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?)
}
