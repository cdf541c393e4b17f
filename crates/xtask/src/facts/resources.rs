//! Tables of the served resources and of their printer columns.

use std::fmt::Write;

use anyhow::Context;
use serde_json::Value;

use super::openapi::Documents;

fn text<'a>(row: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    row.get(key)
        .and_then(Value::as_str)
        .with_context(|| format!("no {key} in {row}"))
}

fn words(row: &Value, key: &str) -> String {
    let list = row.get(key).and_then(Value::as_array);
    let words: Vec<&str> = list
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(",")
    }
}

/// `GROUPVERSION RESOURCE KIND SINGULAR SCOPE VERBS SHORTNAMES CATEGORIES`, and below it `  SUBRESOURCE GROUPVERSION KIND VERBS`.
pub(super) fn table(rows: &Value, discovery: &[Value]) -> anyhow::Result<String> {
    let mut out = String::new();
    for row in rows.as_array().context("resources are no list")? {
        let group_version = text(row, "groupVersion")?;
        writeln!(
            out,
            "{group_version} {} {} {} {} {} {} {}",
            text(row, "resource")?,
            text(row, "kind")?,
            text(row, "singular")?,
            text(row, "scope")?,
            words(row, "verbs"),
            words(row, "shortNames"),
            words(row, "categories"),
        )?;
        for sub in row
            .get("subresources")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let of = kind_of_subresource(
                discovery,
                group_version,
                text(row, "resource")?,
                text(sub, "name")?,
            )
            .unwrap_or_else(|| group_version.to_owned());
            writeln!(
                out,
                "  {} {of} {} {}",
                text(sub, "name")?,
                text(sub, "kind")?,
                words(sub, "verbs")
            )?;
        }
    }
    Ok(out)
}

/// Group and version of the kind that a subresource takes and gives, from aggregated discovery.
fn kind_of_subresource(
    discovery: &[Value],
    group_version: &str,
    resource: &str,
    subresource: &str,
) -> Option<String> {
    let list = |value: &'_ Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (group, version) = group_version
        .rsplit_once('/')
        .unwrap_or(("", group_version));
    let groups = discovery.iter().flat_map(|d| list(d, "items"));
    let versions = groups
        .filter(|g| {
            g.pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                == group
        })
        .flat_map(|g| list(&g, "versions"));
    let resources = versions
        .filter(|v| v["version"] == version)
        .flat_map(|v| list(&v, "resources"));
    let subresources = resources
        .filter(|r| r["resource"] == resource)
        .flat_map(|r| list(&r, "subresources"));
    let kind = subresources
        .filter(|s| s["subresource"] == subresource)
        .find_map(|s| s.get("responseKind").cloned())?;
    let version = kind
        .get("version")
        .and_then(Value::as_str)
        .filter(|v| !v.is_empty())?;
    Some(
        match kind
            .get("group")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        },
    )
}

/// `GROUPVERSION RESOURCE KIND`, and below it a line for each column: `  NAME<tab>TYPE<tab>FORMAT<tab>PRIORITY<tab>HELP`, where the help is
/// `@TYPE FIELD` if it is what the documents say of that field, and `@TYPE FIELD N` if it is the first N letters of it.
pub(super) fn columns(rows: &Value, openapi: &Documents) -> anyhow::Result<String> {
    let mut out = String::new();
    for row in rows.as_array().context("columns are no list")? {
        let kind = text(row, "kind")?;
        writeln!(
            out,
            "{} {} {kind}",
            text(row, "groupVersion")?,
            text(row, "resource")?
        )?;
        for column in row
            .get("columnDefinitions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let description = text(column, "description")?;
            let help = match openapi.described_as(description, kind) {
                Some((ty, field, None)) => format!("@{ty} {field}"),
                Some((ty, field, Some(letters))) => format!("@{ty} {field} {letters}"),
                None => description.replace('\\', "\\\\").replace('\n', "\\n"),
            };
            let priority = column
                .get("priority")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            writeln!(
                out,
                "  {}\t{}\t{}\t{priority}\t{help}",
                text(column, "name")?,
                text(column, "type")?,
                text(column, "format")?,
            )?;
        }
    }
    Ok(out)
}
