//! Reads struct declarations of Go: enough of the grammar for API types, where every field has a tag.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// A declared type.
#[derive(Debug)]
pub(super) enum Declaration {
    /// `type X struct { … }`
    Struct(Vec<Field>),
    /// `type X string`, `type X []string`, `type X Y`: the right side, qualified.
    Other(String),
}

/// A field of a struct.
#[derive(Debug)]
pub(super) struct Field {
    /// In JSON; empty for inlined structs.
    pub(super) name: String,
    /// Go's type, with packages by their full name: `[]*io.k8s.api.core.v1.Container`, `map[string]string`.
    pub(super) ty: String,
    pub(super) inline: bool,
    pub(super) omit_empty: bool,
    pub(super) omit_zero: bool,
    /// Protobuf number and name; 0 if it has none.
    pub(super) tag: u32,
    pub(super) proto_name: String,
}

/// All declarations, by full name.
pub(super) struct Sources {
    declarations: BTreeMap<String, Declaration>,
}

/// Go module path → prefix of names in OpenAPI.
fn dotted(package: &str) -> String {
    package.strip_prefix("k8s.io/").map_or_else(
        || package.replace('/', "."),
        |rest| format!("io.k8s.{}", rest.replace('/', ".")),
    )
}

impl Sources {
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let mut declarations = BTreeMap::new();
        for module in [
            "api",
            "apimachinery",
            "apiextensions-apiserver",
            "kube-aggregator",
        ] {
            let mut files = Vec::new();
            walk(&dir.join(module), &mut files)?;
            for file in files {
                let package = file.parent().unwrap_or(&file).strip_prefix(dir)?;
                let package = dotted(&format!("k8s.io/{}", package.display()));
                let text = fs::read_to_string(&file)?;
                parse(&text, &package, &mut declarations);
            }
        }
        Ok(Self { declarations })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Declaration> {
        self.declarations.get(name)
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.file_name().and_then(|n| n.to_str()).is_some_and(|n| {
            n.ends_with(".go") && !n.ends_with("_test.go") && !n.contains("generated")
        }) {
            files.push(path);
        }
    }
    Ok(())
}

fn parse(text: &str, package: &str, out: &mut BTreeMap<String, Declaration>) {
    let mut imports: HashMap<String, String> = HashMap::new();
    let mut lines = text.lines().map(str::trim);
    let mut in_imports = false;
    while let Some(line) = lines.next() {
        if line.starts_with("import (") {
            in_imports = true;
        } else if in_imports && line == ")" {
            in_imports = false;
        } else if in_imports || line.starts_with("import ") {
            import(line, &mut imports);
        } else if let Some(rest) = line.strip_prefix("type ") {
            let rest = rest.split("//").next().unwrap_or_default().trim();
            let Some((name, right)) = rest.split_once(' ') else {
                continue;
            };
            let full = format!("{package}.{name}");
            if right.starts_with("struct") {
                let fields = if right.ends_with('}') {
                    Vec::new()
                } else {
                    fields(&mut lines, package, &imports)
                };
                out.insert(full, Declaration::Struct(fields));
            } else if !right.starts_with("interface") && !right.starts_with("func") {
                let right = qualify(right.trim_start_matches("= "), package, &imports);
                out.insert(full, Declaration::Other(right));
            }
        }
    }
}

fn import(line: &str, imports: &mut HashMap<String, String>) {
    let mut quoted = line.trim_start_matches("import ").split('"');
    let alias = quoted.next().unwrap_or_default().trim();
    let Some(path) = quoted.next() else { return };
    let alias = if alias.is_empty() {
        path.rsplit('/').next().unwrap_or(path)
    } else {
        alias
    };
    imports.insert(alias.to_owned(), dotted(path));
}

fn fields<'a>(
    lines: &mut impl Iterator<Item = &'a str>,
    package: &str,
    imports: &HashMap<String, String>,
) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut in_comment = false;
    for line in lines {
        if line == "}" {
            break;
        }
        in_comment = in_comment && !line.contains("*/") || line.starts_with("/*");
        if in_comment || line.starts_with("//") {
            continue;
        }
        let mut parts = line.split('`');
        let (declared, Some(tags)) = (parts.next().unwrap_or_default(), parts.next()) else {
            continue;
        };
        let json = tag(tags, "json");
        let mut json = json.split(',');
        let name = json.next().unwrap_or_default();
        if name == "-" {
            continue;
        }
        let options: Vec<&str> = json.collect();
        let words: Vec<&str> = declared.split_whitespace().collect();
        let (inline, ty) = match words.as_slice() {
            [ty] => (true, *ty),
            [_, ty] => (options.contains(&"inline"), *ty),
            _ => continue,
        };
        let protobuf = tag(tags, "protobuf");
        let mut numbers = protobuf.split(',');
        fields.push(Field {
            name: name.to_owned(),
            ty: qualify(ty, package, imports),
            inline: inline && name.is_empty(),
            omit_empty: options.contains(&"omitempty"),
            omit_zero: options.contains(&"omitzero"),
            tag: numbers
                .nth(1)
                .and_then(|n| n.parse().ok())
                .unwrap_or_default(),
            proto_name: numbers
                .find_map(|p| p.strip_prefix("name="))
                .unwrap_or_default()
                .to_owned(),
        });
    }
    fields
}

fn tag<'a>(tags: &'a str, key: &str) -> &'a str {
    tags.split_once(&format!("{key}:\""))
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or_default()
}

/// Names of the type with their packages.
fn qualify(ty: &str, package: &str, imports: &HashMap<String, String>) -> String {
    if let Some(inner) = ty.strip_prefix('*') {
        return format!("*{}", qualify(inner, package, imports));
    }
    if let Some(inner) = ty.strip_prefix("[]") {
        return format!("[]{}", qualify(inner, package, imports));
    }
    if let Some((key, value)) = ty.strip_prefix("map[").and_then(|t| t.split_once(']')) {
        let (key, value) = (
            qualify(key, package, imports),
            qualify(value, package, imports),
        );
        return format!("map[{key}]{value}");
    }
    const BUILT_IN: [&str; 10] = [
        "string",
        "bool",
        "int",
        "int32",
        "int64",
        "uint64",
        "float64",
        "byte",
        "any",
        "interface{}",
    ];
    match ty.split_once('.') {
        Some((alias, name)) => match imports.get(alias) {
            Some(package) => format!("{package}.{name}"),
            None => ty.to_owned(),
        },
        None if BUILT_IN.contains(&ty) => ty.to_owned(),
        None => format!("{package}.{ty}"),
    }
}
