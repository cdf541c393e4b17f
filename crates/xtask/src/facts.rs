//! `facts`: makes the tables under `crates/api/facts` from what a reference server says of itself.
//!
//!     cargo xtask facts --reference DIR --source DIR
//!
//! `--reference` holds the server's OpenAPI documents (`openapi/v3/*.json.gz`), aggregated discovery
//! (`discovery/{api,apis}.json`), `resources.json`, `printer-columns.json` and
//! `protobuf-fields.json`; `--source` holds checkouts of `api`, `apimachinery`, `apiextensions-apiserver` and `kube-aggregator`
//! at the same release, from whose struct declarations come the facts that no document tells: the order of fields, which are pointers,
//! and which leave empty values out. The tables hold names, types, numbers and constants, no prose. The format is told in
//! `crates/api/src/facts.rs`, which reads them.

mod go;
mod openapi;
mod resources;
mod types;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (mut reference, mut source) = (None, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let value = arguments.next().map(PathBuf::from);
        match argument.as_str() {
            "--reference" => reference = value,
            "--source" => source = value,
            other => bail!("unknown argument {other:?}"),
        }
    }
    let reference = reference.context("--reference DIR is missing")?;
    let source = source.context("--source DIR is missing")?;
    let out = crate::workspace_root().join("crates/api/facts");
    fs::create_dir_all(&out)?;

    let openapi = openapi::Documents::read(&reference.join("openapi/v3"))?;
    let go = go::Sources::read(&source)?;
    let numbers = read_json(&reference.join("protobuf-fields.json"))?;
    for (package, text) in types::tables(&openapi, &go, &numbers)? {
        write(&out.join(format!("{package}.facts")), &text)?;
    }
    let resources = read_json(&reference.join("resources.json"))?;
    let discovery = ["api.json", "apis.json"]
        .map(|file| read_json(&reference.join("discovery").join(file)))
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?;
    write(
        &out.join("resources.facts"),
        &resources::table(&resources, &discovery)?,
    )?;
    let columns = read_json(&reference.join("printer-columns.json"))?;
    write(
        &out.join("columns.facts"),
        &resources::columns(&columns, &openapi)?,
    )?;
    Ok(())
}

fn read_json(path: &Path) -> anyhow::Result<serde_json::Value> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
