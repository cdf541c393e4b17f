//! Rules of single files: a head that says what the file is for, a size that fits a head, `unsafe` in one crate alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Finding;

/// Longest file in lines, tests and tables aside.
const MAX_LINES: usize = 800;

pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in rust_files(&root.join("crates"))? {
        let relative = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path)?;
        let is_test = relative.contains("/tests/") || relative.ends_with("tests.rs");
        // What a file of tests is for, its name and place say.
        if !is_test && !text.starts_with("//!") {
            findings.push(Finding::new(
                root,
                &path,
                "no `//!` head: say what the file is for, and why it is so",
            ));
        }
        let lines = lines_outside_tests(&text);
        if !is_test && lines > MAX_LINES {
            findings.push(Finding::new(
                root,
                &path,
                format!("{lines} lines: split it before {MAX_LINES}"),
            ));
        }
        if !relative.starts_with("crates/linux/") && uses_unsafe(&text) {
            findings.push(Finding::new(
                root,
                &path,
                "`unsafe` outside the `linux` crate",
            ));
        }
        if !is_registered(&path) {
            findings.push(Finding::new(
                root,
                &path,
                "no `mod` names this file: register or delete it",
            ));
        }
    }
    Ok(findings)
}

fn rust_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn lines_outside_tests(text: &str) -> usize {
    let end = text
        .find("\n#[cfg(test)]\nmod tests {")
        .unwrap_or(text.len());
    text[..end].lines().count()
}

fn uses_unsafe(text: &str) -> bool {
    text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        ["unsafe {", "unsafe fn", "unsafe impl"]
            .iter()
            .any(|word| code.contains(word))
            && !code.contains('"')
    })
}

/// Whether a `mod` in the file above names this one. Roots, build scripts, integration tests, examples and benches need none.
fn is_registered(path: &Path) -> bool {
    let name = path
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    let Some(directory) = path.parent() else {
        return true;
    };
    let folder = directory
        .file_name()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    let is_root = matches!(name, "lib" | "main" | "build")
        || matches!(folder, "bin" | "examples" | "benches" | "fuzz_targets")
        || path.components().any(|part| part.as_os_str() == "tests");
    if is_root {
        return true;
    }
    let (module, above) = if name == "mod" {
        (folder.to_owned(), directory.parent().unwrap_or(directory))
    } else {
        (name.to_owned(), directory)
    };
    let parent_file = above
        .file_name()
        .and_then(|s| s.to_str())
        .map(|n| above.with_file_name(format!("{n}.rs")));
    let candidates = [
        Some(above.join("mod.rs")),
        Some(above.join("lib.rs")),
        Some(above.join("main.rs")),
        parent_file,
    ];
    candidates
        .into_iter()
        .flatten()
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| {
            text.lines().any(|line| {
                let line = line.trim();
                line.ends_with(&format!("mod {module};"))
                    || line.ends_with(&format!("mod {module} {{"))
            })
        })
}
