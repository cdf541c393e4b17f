//! The project's own commands: tidy, facts, golden, test.

fn main() {}
