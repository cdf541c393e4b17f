//! Gathers what upstream says of its types and fields, for `kubectl explain` and the columns of tables.
//!
//! Those texts are upstream's prose and not part of this repository. The crate `k8s-openapi`, which the workspace needs anyway, bears them in its
//! source as the JSON schemas of its types; they are read from there, compressed, and put in `OUT_DIR`. Why so, and not by compiling that crate
//! once more: `docs/adr/0003-descriptions-are-gathered-at-build-time.md`.
//!
//! Without the texts everything works but says less, so that a source that is not found is a warning here, and an error of the tests.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::DeflateEncoder};
use serde_json::Value;

/// By type, then by field; the type itself is under the empty name.
type Descriptions = BTreeMap<String, BTreeMap<String, String>>;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let mut descriptions = Descriptions::new();
    if let Err(error) = source().and_then(|dir| gather(&dir, &mut descriptions)) {
        println!("cargo::warning=kubectl explain will describe nothing: {error}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let file = fs::File::create(out.join("descriptions.json.deflate"))?;
    let mut encoder = DeflateEncoder::new(file, Compression::new(9));
    encoder.write_all(json(&descriptions).to_string().as_bytes())?;
    encoder.finish()?;
    Ok(())
}

fn json(descriptions: &Descriptions) -> Value {
    let fields = |fields: &BTreeMap<String, String>| {
        let fields = fields
            .iter()
            .map(|(name, text)| (name.clone(), text.as_str().into()));
        Value::Object(fields.collect())
    };
    let types = descriptions
        .iter()
        .map(|(name, of)| (name.clone(), fields(of)));
    Value::Object(types.collect())
}

/// Where the source of `k8s-openapi` is, of the release that its features select. Cargo knows, wherever its packages come from: a registry,
/// a vendored directory, a path.
fn source() -> Result<PathBuf, Box<dyn Error>> {
    // What is being built has been downloaded; only what it does not need may be missing.
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[]))?;
    let find = |list: &Value, found: &dyn Fn(&Value) -> bool| {
        list.as_array()
            .into_iter()
            .flatten()
            .find(|&item| found(item))
            .cloned()
    };
    let package = find(&metadata["packages"], &|package| {
        package["name"] == "k8s-openapi"
    })
    .ok_or("k8s-openapi is not among the packages of this workspace")?;
    let node = find(&metadata["resolve"]["nodes"], &|node| {
        node["id"] == package["id"]
    })
    .ok_or("k8s-openapi is not built")?;
    let release = find(&node["features"], &|feature| {
        feature
            .as_str()
            .is_some_and(|feature| feature.starts_with("v1_"))
    })
    .ok_or("k8s-openapi is built for no release")?;
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let directory = Path::new(manifest)
        .parent()
        .ok_or("k8s-openapi has no manifest")?;
    Ok(directory
        .join("src")
        .join(release.as_str().unwrap_or_default()))
}

fn metadata(more: &[&str]) -> Result<Value, Box<dyn Error>> {
    let output = Command::new(env::var_os("CARGO").ok_or("CARGO is not set")?)
        .args(["metadata", "--format-version=1", "--filter-platform"])
        .arg(env::var_os("TARGET").ok_or("TARGET is not set")?)
        .args(more)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said
            .lines()
            .next()
            .unwrap_or("cargo metadata failed")
            .into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn gather(directory: &Path, into: &mut Descriptions) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, into)?;
        } else {
            read(&fs::read_to_string(path)?, into);
        }
    }
    Ok(())
}

/// Reads one generated file. Its schema is laid out as `rustfmt` does it, so that the depth of a line says what a text is of:
///
/// ```text
///         "io.k8s.api.core.v1.Pod".into()
///             "description": "…",                                         the type
///             "properties": {
///                 "apiVersion": {                                         a field…
///                     "description": "…",                                 described in place,
///                 "metadata": ({
///                     schema_obj.ensure_object().insert("description".into(), "…".into());    or beside a reference
/// ```
fn read(source: &str, into: &mut Descriptions) {
    let Some((_, schema)) = source.split_once("fn schema_name() ") else {
        return;
    };
    let (mut ty, mut field) = (String::new(), String::new());
    for line in schema.lines() {
        let code = line.trim_start();
        let text = match line.len() - code.len() {
            8 => {
                if let Some(name) = literal(code, "", ".into()") {
                    ty = name;
                }
                continue;
            }
            16 => {
                let name = code
                    .split_once(": ")
                    .and_then(|(name, _)| literal(name, "", ""));
                field = name.unwrap_or_default();
                continue;
            }
            12 => {
                field.clear();
                literal(code, "\"description\": ", ",")
            }
            20 => literal(code, "\"description\": ", ",").or_else(|| {
                let insert = "schema_obj.ensure_object().insert(\"description\".into(), ";
                literal(code, insert, ".into());")
            }),
            _ => None,
        };
        if let Some(text) = text {
            into.entry(ty.clone())
                .or_default()
                .insert(field.clone(), text);
        }
    }
}

/// The string that stands between two pieces of code. The escapes that occur are those of JSON as well.
fn literal(code: &str, before: &str, after: &str) -> Option<String> {
    let literal = code.strip_prefix(before)?.strip_suffix(after)?;
    serde_json::from_str(literal).ok()
}
