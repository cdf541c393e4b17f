//! A child that makes namespaces for the shim to open, and is gone when the shim has: who makes a namespace is in it, and the shim
//! is to stay where it is.

use std::{
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
};

use linux::process::{Forked, Pid, UnshareFlags, WaitOptions, exit_now, fork, waitpid};

/// Forks into `namespaces`. The child does its `work` when the parent has done `before`; then the parent has a `look` at the child,
/// which is let go. What fails in the child is this call's error.
pub(super) fn stand_in<T>(
    namespaces: UnshareFlags,
    before: impl FnOnce(Pid) -> io::Result<()>,
    work: impl FnOnce() -> io::Result<()>,
    look: impl FnOnce(Pid, BorrowedFd<'_>) -> io::Result<T>,
) -> io::Result<T> {
    let (mut ready, mut say_ready) = io::pipe()?;
    let (mut go, mut say_go) = io::pipe()?;
    match fork(namespaces)? {
        Forked::Child => {
            drop((ready, say_go));
            // At its end when the parent has given up.
            let code = if go.read_exact(&mut [0]).is_err() {
                255
            } else {
                match work() {
                    Ok(()) => {
                        let _ = say_ready.write_all(b"k");
                        let _ = go.read(&mut [0]);
                        0
                    }
                    Err(error) => error.raw_os_error().unwrap_or(255),
                }
            };
            exit_now(code)
        }
        Forked::Parent { pid, pidfd } => {
            drop((say_ready, go));
            let seen = before(pid).and_then(|()| {
                say_go.write_all(b"g")?;
                Ok(ready.read(&mut [0])? == 1)
            });
            let seen = match seen {
                Ok(true) => look(pid, pidfd.as_fd()).map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            drop(say_go);
            let status = waitpid(Some(pid), WaitOptions::empty())?;
            seen?.ok_or_else(|| {
                let code = status.and_then(|(_, status)| status.exit_status());
                io::Error::from_raw_os_error(code.unwrap_or(255))
            })
        }
    }
}
