//! The served resources and their printer columns.
//!
//! `facts/resources.facts`: `GROUPVERSION RESOURCE KIND SINGULAR SCOPE VERBS SHORTNAMES CATEGORIES` (`-` for none), and below a resource its
//! subresources as `  NAME GROUPVERSION KIND VERBS`. `facts/columns.facts`: `GROUPVERSION RESOURCE KIND`, and below it a line for each column,
//! `  NAME<tab>TYPE<tab>FORMAT<tab>PRIORITY<tab>DESCRIPTION`, which is `@TYPE FIELD` for what is said of that field ([`crate::descriptions`]).

use std::{collections::HashMap, sync::LazyLock};

use apimachinery::gvk::{GroupVersion, GroupVersionKind, GroupVersionResource};

use crate::{descriptions::Descriptions, kind::Scope};

/// What discovery says of a resource.
#[derive(Debug)]
pub struct ResourceFacts {
    /// Plural name and where it is served.
    pub gvr: GroupVersionResource,
    /// The kind of its objects.
    pub gvk: GroupVersionKind,
    /// Singular name.
    pub singular: &'static str,
    /// Where its objects live.
    pub scope: Scope,
    /// Sorted.
    pub verbs: Vec<&'static str>,
    /// `po`.
    pub short_names: Vec<&'static str>,
    /// `all`.
    pub categories: Vec<&'static str>,
    /// Sorted by name.
    pub subresources: Vec<SubresourceFacts>,
}

/// What discovery says of a subresource.
#[derive(Debug)]
pub struct SubresourceFacts {
    /// After the slash.
    pub name: &'static str,
    /// The kind it takes and gives.
    pub gvk: GroupVersionKind,
    /// Sorted.
    pub verbs: Vec<&'static str>,
}

/// A column of a `Table`.
#[derive(Debug)]
pub struct Column {
    /// Its head.
    pub name: &'static str,
    /// `string`, `integer`, `date`.
    pub column_type: &'static str,
    /// `name` for the column that names the object, else mostly empty.
    pub format: &'static str,
    /// 0 is shown always, higher ones in wide output.
    pub priority: i32,
    /// What it says of itself: a text of its own, or, where it shows a field, what is said of the field.
    pub description: String,
}

const RESOURCES: &str = include_str!("../../facts/resources.facts");
const COLUMNS: &str = include_str!("../../facts/columns.facts");

/// All resources, in the order in which discovery lists them.
pub fn resources() -> &'static [ResourceFacts] {
    static ROWS: LazyLock<Vec<ResourceFacts>> = LazyLock::new(|| read_resources(RESOURCES));
    &ROWS
}

/// One resource.
pub fn resource(gvr: &GroupVersionResource) -> Option<&'static ResourceFacts> {
    static INDEX: LazyLock<HashMap<GroupVersionResource, usize>> = LazyLock::new(|| {
        resources()
            .iter()
            .enumerate()
            .map(|(at, row)| (row.gvr.clone(), at))
            .collect()
    });
    INDEX.get(gvr).map(|at| &resources()[*at])
}

/// The columns of a resource's tables; none for those that print by name and age alone.
pub fn columns(gvr: &GroupVersionResource) -> Option<&'static [Column]> {
    static ROWS: LazyLock<HashMap<GroupVersionResource, Vec<Column>>> =
        LazyLock::new(|| read_columns(COLUMNS));
    ROWS.get(gvr).map(Vec::as_slice)
}

fn words(list: &'static str) -> Vec<&'static str> {
    if list == "-" {
        Vec::new()
    } else {
        list.split(',').collect()
    }
}

fn group_version(text: &'static str) -> GroupVersion {
    match text.split_once('/') {
        Some((group, version)) => GroupVersion::new(group, version),
        None => GroupVersion::new("", text),
    }
}

fn read_resources(table: &'static str) -> Vec<ResourceFacts> {
    let mut rows: Vec<ResourceFacts> = Vec::new();
    for line in table.lines() {
        let mut words_of_line = line.trim_start().split(' ');
        let mut next = || words_of_line.next().unwrap_or_default();
        if line.starts_with(' ') {
            let (name, of, kind, verbs) = (next(), next(), next(), next());
            let sub = SubresourceFacts {
                name,
                gvk: group_version(of).kind(kind),
                verbs: words(verbs),
            };
            rows.last_mut()
                .expect("facts: a subresource stands below its resource")
                .subresources
                .push(sub);
        } else {
            let (of, resource, kind) = (group_version(next()), next(), next());
            rows.push(ResourceFacts {
                gvr: of.resource(resource),
                gvk: of.kind(kind),
                singular: next(),
                scope: if next() == "Namespaced" {
                    Scope::Namespaced
                } else {
                    Scope::Cluster
                },
                verbs: words(next()),
                short_names: words(next()),
                categories: words(next()),
                subresources: Vec::new(),
            });
        }
    }
    rows
}

fn read_columns(table: &'static str) -> HashMap<GroupVersionResource, Vec<Column>> {
    // Held for the moment: of all the texts, the columns keep theirs alone.
    let descriptions = Descriptions::read();
    let mut rows = HashMap::new();
    let mut open: Option<(GroupVersionResource, Vec<Column>)> = None;
    for line in table.lines() {
        let Some(column) = line.strip_prefix("  ") else {
            rows.extend(open.take());
            let mut words = line.split(' ');
            let mut next = || words.next().unwrap_or_default();
            open = Some((group_version(next()).resource(next()), Vec::new()));
            continue;
        };
        let mut parts = column.split('\t');
        let mut next = || parts.next().unwrap_or_default();
        let (name, column_type, format, priority, help) = (next(), next(), next(), next(), next());
        let description = match help.strip_prefix('@').and_then(|h| h.split_once(' ')) {
            Some((ty, field)) => {
                let (field, letters) = field.split_once(' ').unwrap_or((field, ""));
                let text = descriptions.of(ty, field).unwrap_or_default();
                let letters = letters.parse().unwrap_or(usize::MAX);
                text.chars().take(letters).collect()
            }
            None => help.replace("\\n", "\n").replace("\\\\", "\\"),
        };
        let priority = priority.parse().unwrap_or_default();
        let (_, columns) = open
            .as_mut()
            .expect("facts: a column stands below its resource");
        columns.push(Column {
            name,
            column_type,
            format,
            priority,
            description,
        });
    }
    rows.extend(open);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_is_of_another_group_than_its_resource() {
        let deployments =
            resource(&GroupVersionResource::new("apps", "v1", "deployments")).unwrap();
        assert_eq!(deployments.gvk.kind, "Deployment");
        assert_eq!(deployments.short_names, ["deploy"]);
        let scale = deployments
            .subresources
            .iter()
            .find(|s| s.name == "scale")
            .unwrap();
        assert_eq!(
            scale.gvk,
            GroupVersionKind::new("autoscaling", "v1", "Scale")
        );
    }

    #[test]
    fn the_first_column_names_the_object() {
        let pods = columns(&GroupVersionResource::new("", "v1", "pods")).unwrap();
        assert_eq!((pods[0].name, pods[0].format), ("Name", "name"));
        assert!(pods.iter().any(|c| c.priority == 1));
    }
}
