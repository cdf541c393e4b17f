//! The binary: dispatch by argv[0] and subcommand, wiring, `up`, `status`, `down`.
//!
//! One file, many programs, as busybox: a symlink named `kubelet` is a kubelet, and `ironclad kubelet` is the same. The shim is
//! looked for first and alone: it runs without threads, without an async runtime and in as little memory as it can. The example's server
//! comes next: clients wait for it to listen, and it needs no other command's options.

mod cli;
mod commands;
mod components;
mod node;
mod token_signer;
mod up;

use std::{ffi::OsString, path::Path, process::ExitCode};

/// Gives freed memory back to the system within milliseconds, and is quicker than the C library's, which hoards it by thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == "shim") {
        return runtime::shim::main(arguments.split_off(2));
    }
    if arguments.get(1).is_some_and(|first| first == "hello") {
        return finish(commands::hello::main(arguments.split_off(1)));
    }
    if let Some(component) = called_as(arguments.first()) {
        arguments.splice(
            0..1,
            [OsString::from("ironclad"), OsString::from(component)],
        );
    }
    finish(cli::Cli::read(arguments).run())
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ironclad: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The component that a program name stands for.
fn called_as(program: Option<&OsString>) -> Option<&'static str> {
    let name = Path::new(program?).file_name()?.to_str()?;
    cli::COMPONENTS
        .iter()
        .copied()
        .find(|component| *component == name)
}
