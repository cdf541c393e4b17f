//! The project's own commands, as `cargo xtask COMMAND`. One file a command, one row in [`COMMANDS`].

mod facts;
mod fuzz;
mod golden;
mod test;
mod tidy;

use std::{path::PathBuf, process::ExitCode};

/// A command: its name, what it does, how.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        about: "run all tests: unit, contract, crash, end-to-end",
        run: test::run,
    },
    Command {
        name: "tidy",
        about: "check the rules of the house that a program can check",
        run: tidy::run,
    },
    Command {
        name: "facts",
        about: "make the tables of built-in kinds: facts --reference DIR --source DIR",
        run: facts::run,
    },
    Command {
        name: "golden",
        about: "replay recorded requests against `ironclad kube-apiserver`: golden [--etcd] [--strict] REPLAYER [ARGUMENTS]",
        run: golden::run,
    },
    Command {
        name: "fuzz",
        about: "feed hostile bytes to what reads them: fuzz [--seconds N] [TARGET…]",
        run: fuzz::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = arguments
        .first()
        .and_then(|name| COMMANDS.iter().find(|c| c.name == name));
    let Some(command) = command else {
        eprintln!("usage: cargo xtask COMMAND\n");
        for command in COMMANDS {
            eprintln!("  {:<8} {}", command.name, command.about);
        }
        return ExitCode::from(2);
    };
    match (command.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {}: {error:#}", command.name);
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn workspace_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap_or_default()
}
