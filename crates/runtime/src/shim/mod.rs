//! The shim: one process for each pod sandbox, the same binary executed anew.
//!
//! It holds the pod's namespaces by living in them, is the parent (and for orphans the reaper) of the pod's containers, writes their logs,
//! and serves a socket. It outlives the kubelet and the runtime, and ends when its sandbox is stopped. It has one thread and no async
//! runtime: a forked child may go on in ordinary Rust, and the whole stays below two megabytes.

mod container;
mod exec;
mod launch;
mod log;
pub mod protocol;
mod report;
mod sandbox;
mod server;
pub mod spec;
mod stand_in;

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
};

use linux::process::{duplicate_to, ignore_sigpipe, signal_fd};
use rustix::process::{
    DumpableBehavior, Signal, set_child_subreaper, set_dumpable_behavior, setsid,
};

pub use log::{now_ns, timestamp};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Runs a shim: `shim SPEC SOCKET`. Says `ready` on standard output, or one line why not. Must be called before any thread is started.
pub fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().map(PathBuf::from);
    let (Some(spec), Some(socket), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        server::announce(Err(&io::Error::other("usage: shim SPEC SOCKET")));
        return ExitCode::from(2);
    };
    let mut server = match start(&spec, &socket) {
        Ok(server) => server,
        Err(error) => {
            server::announce(Err(&error));
            return ExitCode::FAILURE;
        }
    };
    server::announce(Ok(()));
    let _ = detach_streams();
    let result = server.run();
    let _ = fs::remove_file(&socket);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn start(spec: &std::path::Path, socket: &std::path::Path) -> io::Result<server::Server> {
    let text = fs::read(spec).map_err(|error| {
        io::Error::new(error.kind(), format!("read {}: {error}", spec.display()))
    })?;
    let spec: spec::SandboxSpec = serde_json::from_slice(&text)?;
    linux::process::close_inherited_from(3)?;
    // Not to be hit by what ends the kubelet: its terminal, its process group.
    setsid()?;
    ignore_sigpipe();
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::chdir("/")?;
    let namespaces = sandbox::enter(&spec)?;
    let signals = signal_fd(&[Signal::CHILD])?;
    let listener = linux::seqpacket::listen_at(socket, BACKLOG).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("listen at {}: {error}", socket.display()),
        )
    })?;
    Ok(server::Server::new(namespaces, listener, signals))
}

fn detach_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for number in 0..2 {
        duplicate_to(null.as_fd(), number)?;
    }
    Ok(())
}
