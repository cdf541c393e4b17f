//! The shim alone, as a program: what `ironclad shim` is, for this crate's own tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::shim::main(std::env::args_os().skip(1))
}
