//! Pseudo-terminals of a container, from the container's own devpts.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    pty::OpenptFlags,
    termios::Winsize,
};

/// Opens a new terminal in the devpts instance at `devpts`: the controlling side and the terminal itself.
pub fn open(devpts: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let controller = openat(devpts, c"ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&controller)?;
    // Not by the name of the other side: that would be looked up in whatever is mounted at /dev/pts.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&controller, flags)?;
    Ok((controller, terminal))
}

/// Starts a session and makes this its terminal.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::setsid()?;
    // SAFETY: TIOCSCTTY takes an integer, and the descriptor is open.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the size in characters; processes in the foreground get SIGWINCH.
pub fn resize(terminal: BorrowedFd<'_>, width: u16, height: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}
