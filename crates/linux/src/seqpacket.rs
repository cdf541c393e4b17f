//! Messages with descriptors over a unix socket that keeps message boundaries.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen, recvmsg, sendmsg, socket_with,
};

/// The most descriptors that one message carries.
pub const MAX_FDS: usize = 4;

/// Binds and listens at `path`, which must not exist. Non-blocking.
pub fn listen_at(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let fd = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    bind(&fd, &SocketAddrUnix::new(path)?)?;
    listen(&fd, backlog)?;
    Ok(fd)
}

/// Connects to `path`. The connecting itself does not block; a full backlog is `EAGAIN`. The socket is non-blocking.
pub fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let fd = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    connect(&fd, &SocketAddrUnix::new(path)?)?;
    Ok(fd)
}

fn new_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Sends one message.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors",
        ));
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one message into `buffer`; its length, 0 at the end of the connection, and its descriptors. A message that does not fit is
/// an error.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    if message
        .flags
        .intersects(rustix::net::ReturnFlags::TRUNC | rustix::net::ReturnFlags::CTRUNC)
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message was truncated",
        ));
    }
    Ok((message.bytes, fds))
}
