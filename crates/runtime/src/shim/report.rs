//! What connects the shim to a child that it starts: the socket on which the child reports, and the child's standard streams.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use linux::seqpacket;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{
    container::{Output, set_nonblocking},
    launch::{Report, Streams},
};

/// A report's two ends: the shim's, which does not block, and the child's.
pub(super) fn report_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    set_nonblocking(ours.as_fd())?;
    Ok((ours, theirs))
}

/// What was read from a report.
pub(super) enum ReportRead {
    /// Nothing yet.
    Later,
    /// This, with these descriptors.
    Said(Report, Vec<OwnedFd>),
    /// The child has become its program, or is no more.
    Ended,
}

/// Reads once, without waiting.
pub(super) fn read_report(report: &OwnedFd) -> ReportRead {
    let mut buffer = [0_u8; 4096];
    match seqpacket::receive(report.as_fd(), &mut buffer) {
        Ok((0, _)) => ReportRead::Ended,
        Ok((length, fds)) => match serde_json::from_slice(&buffer[..length]) {
            Ok(report) => ReportRead::Said(report, fds),
            Err(error) => ReportRead::Said(Report::Failed(error.to_string()), fds),
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ReportRead::Later,
        // Too long a message: the child's own words about a failure.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => ReportRead::Said(
            Report::Failed("the container's process failed".to_owned()),
            vec![],
        ),
        Err(_) => ReportRead::Ended,
    }
}

/// The child's streams, where its input is written to, and where its output is read from.
pub(super) type MadeStreams = (Option<Streams>, Option<OwnedFd>, Vec<Output>);

/// Pipes for the standard streams: the child's ends, and ours.
pub(super) fn make_streams(stdin: bool) -> io::Result<MadeStreams> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (stdin_reader, stdin_writer) = if stdin {
        let (reader, writer) = pipe()?;
        (reader, Some(writer))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let (stdout_reader, stdout_writer) = pipe()?;
    let (stderr_reader, stderr_writer) = pipe()?;
    set_nonblocking(stdout_reader.as_fd())?;
    set_nonblocking(stderr_reader.as_fd())?;
    let outputs = vec![
        Output::new(stdout_reader, false),
        Output::new(stderr_reader, true),
    ];
    Ok((
        Some([stdin_reader, stdout_writer, stderr_writer]),
        stdin_writer,
        outputs,
    ))
}
