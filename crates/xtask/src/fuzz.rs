//! `cargo xtask fuzz [--seconds N] [TARGET…]`: runs the fuzz targets of `fuzz/`, each for so long (ten seconds if not told), from the
//! inputs in `fuzz/seeds` and `fuzz/corpus`. An input that breaks one is left under `fuzz/artifacts` and named.
//!
//! Without a sanitizer, so that a stable toolchain will do: outside `linux` there is no `unsafe` for one to look at, and panics,
//! broken properties, endless loops and memory without bound show anyway.

use std::{path::Path, process::Command};

use anyhow::{Context as _, bail, ensure};

/// What an input may take; libFuzzer counts more as a finding.
const LIMITS: &[&str] = &["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"];

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut seconds = 10_u32;
    let mut targets = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = arguments.next().context("--seconds needs a number")?;
                seconds = value.parse().context("--seconds needs a number")?;
            }
            flag if flag.starts_with('-') => bail!("unknown argument {flag:?}"),
            target => targets.push(target.to_owned()),
        }
    }
    let root = crate::workspace_root();
    if targets.is_empty() {
        targets = all_targets(&root.join("fuzz/fuzz_targets"))?;
    }
    for target in &targets {
        println!("fuzz: {target} for {seconds} s");
        let corpus = root.join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus).context("fuzz/corpus")?;
        let seeds = root.join("fuzz/seeds").join(target);
        let mut command = Command::new("cargo");
        // What is found goes into the first folder; the others are read alone.
        command
            .args(["fuzz", "run", "--sanitizer", "none", target])
            .arg(corpus)
            .args(seeds.exists().then_some(seeds));
        let status = command
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .args(LIMITS)
            .args(["-print_final_stats=1", "-verbosity=0"])
            .current_dir(&root)
            .status()
            .context("running cargo fuzz (cargo install cargo-fuzz)")?;
        ensure!(status.success(), "{target} found something, see above");
    }
    Ok(())
}

fn all_targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in folder.read_dir().context("fuzz/fuzz_targets")? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            targets.push(name.to_owned());
        }
    }
    targets.sort();
    Ok(targets)
}
