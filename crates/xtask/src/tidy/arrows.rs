//! Who may import whom. Components meet only in public protocols; an arrow that is not in this table is a defect.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context as _;

use super::Finding;

/// Crate, and what it may import directly. Everybody but the pure crates may import `base`.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("linux", &["base"]),
    ("apimachinery", &[]),
    ("api", &["apimachinery", "cel"]),
    ("apiextensions", &["api", "apimachinery", "cel"]),
    ("cel", &["apimachinery"]),
    ("etcd", &["base"]),
    ("httpstream", &["base"]),
    (
        "apiserver",
        &[
            "api",
            "apiextensions",
            "apimachinery",
            "cel",
            "etcd",
            "base",
            "httpstream",
        ],
    ),
    ("client", &["api", "apimachinery", "base"]),
    ("component-base", &["client", "apimachinery", "base"]),
    ("controllers", &["client", "api", "apimachinery", "base"]),
    ("scheduler", &["client", "api", "apimachinery", "base"]),
    ("cri", &["base"]),
    ("network", &["linux", "base"]),
    ("runtime", &["cri", "network", "linux", "base"]),
    (
        "kubelet",
        &[
            "client",
            "component-base",
            "cri",
            "linux",
            "api",
            "apimachinery",
            "base",
            "httpstream",
        ],
    ),
    ("proxy", &["client", "linux", "api", "apimachinery", "base"]),
    ("dns", &["client", "api", "apimachinery", "base"]),
    ("bootstrap", &["client", "api", "apimachinery", "base"]),
    ("ironclad", &["*"]),
    ("testing", &["*"]),
    ("xtask", &["api", "apimachinery"]),
];

/// Compares each crate's `[dependencies]` with the table.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let mut findings = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let directory = entry?.path();
        let manifest = directory.join("Cargo.toml");
        let name = directory
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
            .to_owned();
        let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
            findings.push(Finding::new(
                root,
                &manifest,
                "a crate that ARROWS does not know: give it a row",
            ));
            continue;
        };
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("reading {}", manifest.display()))?;
        for dependency in direct_dependencies(&text) {
            if ours.contains(dependency)
                && !allowed.contains(&dependency)
                && !allowed.contains(&"*")
            {
                findings.push(Finding::new(
                    root,
                    &manifest,
                    format!("{name} may not import {dependency}: see the table of arrows in ARCHITECTURE.md"),
                ));
            }
        }
        if !directory.join("README.md").exists() {
            findings.push(Finding::new(root, &directory, "a crate without README.md"));
        }
    }
    Ok(findings)
}

/// Names in `[dependencies]`; what tests and build scripts use is their own affair.
fn direct_dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
            return None;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        (inside && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}
