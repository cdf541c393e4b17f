//! Processes: fork with namespaces, what a child must undo before it executes, exec, and signals as file descriptors.
//!
//! The functions here are made for the shim, which has one thread: only then may a forked child go on running ordinary Rust. That is
//! checked at run time, so that [`fork`] can be a safe function.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

pub use rustix::{
    process::{Pid, Signal, WaitOptions, WaitStatus, wait, waitpid},
    thread::UnshareFlags,
};

/// Which side of a [`fork`] we are on.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The child's process id.
        pid: Pid,
        /// A descriptor that means this child for ever, even when its id is used again.
        pidfd: OwnedFd,
    },
}

/// Forks with the given `CLONE_NEW*` flags. Refused in a process with more than one thread.
pub fn fork(namespaces: UnshareFlags) -> io::Result<Forked> {
    if !is_single_threaded()? {
        return Err(io::Error::other(
            "fork: the process has more than one thread",
        ));
    }
    let mut pidfd: RawFd = -1;
    let mut arguments = libc::clone_args {
        flags: u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: no CLONE_VM, so the child has its own copy of memory; with one thread in the process (checked above) no lock can be
    // held by a thread that does not exist in the child. The argument struct outlives the call, its pointers point at live memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => {
            let pid = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "clone3 returned a strange pid")
                })?;
            // SAFETY: with CLONE_PIDFD and success the kernel has stored a new descriptor, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid, pidfd })
        }
    }
}

/// Whether this process has exactly one thread.
pub fn is_single_threaded() -> io::Result<bool> {
    // The directory's link count is two and one for each thread.
    Ok(rustix::fs::stat("/proc/self/task")?.st_nlink == 3)
}

/// Moves this thread into new namespaces.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    // SAFETY: unsafe only with CLONE_FILES, which is refused above.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Ends the process without running destructors or exit handlers; for forked children.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Replaces the program. Returns only on failure.
pub fn execve(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    }
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: the path is a C string, both arrays end with null, and all strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Marks every descriptor from `first` on to be closed at exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only sets a flag on descriptors.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Closes every descriptor from `first` on: what a careless parent left open. For the very start of a program, when it owns none of them.
pub fn close_inherited_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller says that nothing of this process owns these descriptors yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Unblocks all signals and gives each its default disposition: what a program expects to be started with.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: the default disposition runs no handler of ours. Numbers that glibc keeps for itself are refused, which is fine.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero sigset_t is a valid object; sigemptyset and sigprocmask read and write it alone.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Blocks these signals for the calling thread and gives a non-blocking descriptor that is readable when one is pending. Ignored
/// signals never become pending.
pub fn signal_fd(signals: &[Signal]) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero sigset_t is a valid object, and each call is given pointers to that live object.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, signal.as_raw());
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Empties a [`signal_fd`]; which signals they were does not matter to a caller that then looks at everything.
pub fn drain_signal_fd(fd: BorrowedFd<'_>) {
    let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>() * 4];
    while rustix::io::read(fd, &mut buffer).is_ok_and(|n| n > 0) {}
}

/// Makes SIGPIPE an error of the write, as in every Rust program; for programs whose `main` undid it.
pub fn ignore_sigpipe() {
    // SAFETY: ignoring runs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Puts `fd` at the number `target`, as dup2, and inheritable.
pub fn duplicate_to(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == target {
        // dup2 onto itself would leave the close-on-exec flag set.
        return Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?);
    }
    // SAFETY: callers use it for the numbers 0 to 2 of a process that is about to exec; whatever was open there is meant to go.
    if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the pages of the program's own file (code and constants) back to the page cache; they are faulted in again where needed. Lowers
/// what a long-lived process shows as resident after its start has run through much code once.
pub fn release_program_pages() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for range in unwritten_file_mappings(&maps) {
        let length = range.end - range.start;
        // SAFETY: the range is a mapping of this process that is private, backed by a file, not writable, and has no page of its own
        // (nothing was ever written to it, not by the linker either), so that dropping its pages loses nothing: the next access reads
        // the same bytes from the file.
        unsafe {
            libc::madvise(
                range.start as *mut libc::c_void,
                length,
                libc::MADV_DONTNEED,
            )
        };
    }
}

/// Mappings, in the words of `/proc/self/smaps`, that are private, of a file, not writable, and without anonymous pages.
fn unwritten_file_mappings(smaps: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(mapping) = parse_mapping(line) {
            candidate = mapping;
        } else if let Some(kilobytes) = line.strip_prefix("Anonymous:") {
            let unwritten = kilobytes.trim() == "0 kB";
            found.extend(candidate.take().filter(|_| unwritten));
        }
    }
    found
}

/// The head of a mapping; inside, its range if it is one of a file that cannot be written to.
fn parse_mapping(line: &str) -> Option<Option<std::ops::Range<usize>>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start)?..address(end)?;
    let permissions = fields.next()?;
    let inode = fields.nth(2)?;
    let of_file = matches!(permissions, "r--p" | "r-xp") && inode != "0";
    Some(of_file.then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unwritten_mappings_of_files_are_released() {
        let smaps = "\
00200000-00e41000 r--p 00000000 fe:00 77 /bin/ironclad
Rss:                 100 kB
Anonymous:             0 kB
VmFlags: rd mr
00e41000-03400000 r-xp 00c41000 fe:00 77 /bin/ironclad
Anonymous:             0 kB
034fd000-0350a000 r--p 032fd000 fe:00 77 /bin/ironclad
Anonymous:            52 kB
0350a000-03510000 rw-p 0330a000 fe:00 77 /bin/ironclad
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0 [vvar]
Anonymous:             0 kB
";
        assert_eq!(
            unwritten_file_mappings(smaps),
            [0x20_0000..0xe4_1000, 0xe4_1000..0x340_0000]
        );
    }

    #[test]
    fn released_pages_come_again() {
        release_program_pages();
        assert_eq!(std::hint::black_box("constants").len(), 9);
    }

    #[test]
    fn fork_is_refused_with_threads() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(fork(UnshareFlags::empty()).is_err());
        drop(stop);
        let _ = thread.join().unwrap();
    }
}
