//! `cargo xtask tidy`: the rules of the house that a program can check. Each failure names the file and the rule, and the rule
//! its reason; exceptions stand in tables here, with theirs.

mod arrows;
mod files;

use std::path::Path;

/// Something that breaks a rule.
struct Finding {
    place: String,
    rule: String,
}

impl Finding {
    fn new(root: &Path, path: &Path, rule: impl Into<String>) -> Self {
        let place = path
            .strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string();
        Self {
            place,
            rule: rule.into(),
        }
    }
}

/// Runs every check; fails if any found something.
pub(crate) fn run(_arguments: &[String]) -> anyhow::Result<()> {
    let root = crate::workspace_root();
    let mut findings = arrows::check(&root)?;
    findings.extend(files::check(&root)?);
    for finding in &findings {
        eprintln!("{}: {}", finding.place, finding.rule);
    }
    anyhow::ensure!(findings.is_empty(), "{} finding(s)", findings.len());
    println!("tidy: no findings");
    Ok(())
}
