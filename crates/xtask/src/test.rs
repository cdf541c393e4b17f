//! `cargo xtask test [NEXTEST ARGUMENTS]`: all tests, in the one profile that users run. Installs nothing; says what is missing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

/// A tool that some test needs, and how a person gets it.
struct Tool {
    name: &'static str,
    source: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "cargo-nextest",
        source: "cargo install cargo-nextest",
    },
    Tool {
        name: "busybox",
        source: "Debian's busybox-static",
    },
    Tool {
        name: "ip",
        source: "Debian's iproute2",
    },
    Tool {
        name: "node",
        source: "Debian's nodejs",
    },
    Tool {
        name: "curl",
        source: "Debian's curl",
    },
];

/// Clients that the end-to-end tests speak with; looked for in `.clients/`, then on PATH.
const CLIENTS: &[&str] = &[
    "kubectl",
    "kubectl-1.37",
    "helm",
    "etcd",
    "etcdctl",
    "python/bin/python",
    "nginx/usr/sbin/nginx",
    "node_modules/@kubernetes/client-node/package.json",
];

/// Runs `tidy`, then everything under nextest.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let root = crate::workspace_root();
    report_missing(&root)?;
    crate::tidy::run(&[])?;
    // All targets at once: a build of the binary alone would choose other features of shared dependencies, and build them twice.
    let binary = build(&["--workspace", "--all-targets"])?;
    let status = Command::new("cargo")
        .args([
            "nextest",
            "run",
            "--workspace",
            "--release",
            "--no-fail-fast",
        ])
        .args(arguments)
        .env("IRONCLAD_BINARY", &binary)
        .env("PATH", path_with_clients(&root))
        .current_dir(&root)
        .status()
        .context("running cargo nextest")?;
    ensure!(status.success(), "tests failed");
    Ok(())
}

/// Builds the release binary and answers its path.
pub(crate) fn build_binary() -> anyhow::Result<PathBuf> {
    build(&["--package", "ironclad"])
}

/// Builds `what` in the release profile and answers the path of the binary in it.
fn build(what: &[&str]) -> anyhow::Result<PathBuf> {
    let output = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
        ])
        .args(what)
        .current_dir(crate::workspace_root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running cargo build")?;
    ensure!(output.status.success(), "the build failed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| {
            message["target"]["name"] == "ironclad" && message["profile"]["test"] == false
        })
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo named no executable")
}

fn report_missing(root: &Path) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    if !is_root() {
        missing.push("root: containers, namespaces and nftables need it".to_owned());
    }
    for tool in TOOLS {
        if find(root, tool.name).is_none() {
            missing.push(format!("{} ({})", tool.name, tool.source));
        }
    }
    for client in CLIENTS {
        if find(root, client).is_none() {
            missing.push(format!("{client} (put it into .clients/ or on PATH)"));
        }
    }
    if !missing.is_empty() {
        bail!(
            "the tests need, and this machine has not:\n  {}",
            missing.join("\n  ")
        );
    }
    Ok(())
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| {
            ids.split_whitespace()
                .nth(1)
                .map(|effective| effective == "0")
        })
        .unwrap_or(false)
}

fn path_with_clients(root: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(root.join(".clients")).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}

/// A tool or client, from `.clients/` or PATH.
pub(crate) fn find(root: &Path, program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path_with_clients(root))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
