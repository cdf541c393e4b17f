//! Going to the background: the command starts itself anew in a process group of its own, shows what that says until the cluster is there,
//! and leaves. From then on nobody reads: the server lets go of the caller's terminal or pipe, and says to its log what it still has to say.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::{log_file, place::Place};

/// Tells the child that it is one, and so to say when it is ready.
const VARIABLE: &str = "IRONCLAD_DETACHED";
/// What it then says on standard output.
const READY: &str = "ironclad: ready";

/// Runs the same command again, less `--detach`, and waits until it is ready or has failed.
pub(super) fn run(place: &Place) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--detach" && argument != "-d");
    let mut child = Command::new(program)
        .args(arguments)
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("starting the server")?;
    let output = child
        .stdout
        .take()
        .context("the server's output is a pipe")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line == READY {
            eprintln!(
                "\n  running in the background as process {}; log: {}",
                child.id(),
                place.file("ironclad.log").display()
            );
            return Ok(());
        }
        println!("{line}");
    }
    let status = child.wait()?;
    bail!("the server ended with {status}")
}

/// Says to a waiting parent, if there is one, that everything runs, and to the log whatever comes after.
pub(super) fn announce_ready(place: &Place) -> anyhow::Result<()> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let log = log_file(place)?;
    let mut output = std::io::stdout().lock();
    // The parent may have been interrupted; the cluster runs all the same.
    let _ = writeln!(output, "{READY}").and_then(|()| output.flush());
    rustix::stdio::dup2_stdout(&log)
        .and_then(|()| rustix::stdio::dup2_stderr(&log))
        .context("turning to the log")
}
