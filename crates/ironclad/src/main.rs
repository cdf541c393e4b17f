//! The binary: dispatch by argv[0] and subcommand, wiring, `up`, `status`, `down`.

fn main() {}
