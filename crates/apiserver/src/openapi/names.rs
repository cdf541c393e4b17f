//! How groups, versions and words stand in paths, operation ids and tags.

/// How a group and version stand in names.
pub(super) struct Names {
    /// `/apis/apps/v1`
    pub(super) root: String,
    /// `AppsV1`
    pub(super) camel: String,
    /// `apps_v1`
    pub(super) tag: String,
}

impl Names {
    pub(super) fn of(group: &str, version: &str) -> Self {
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let group = camel(if group.is_empty() { "core" } else { group });
        Self {
            root,
            camel: format!("{group}{}", camel(version)),
            tag: format!("{}_{version}", lower_first(&group)),
        }
    }
}

/// `rbac.authorization.k8s.io` → `RbacAuthorization`.
pub(super) fn camel(name: &str) -> String {
    let name = name.strip_suffix(".k8s.io").unwrap_or(name);
    name.split(['.', '-']).map(upper_first).collect()
}

pub(super) fn upper_first(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(chars)
        .collect()
}

pub(super) fn lower_first(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(chars)
        .collect()
}
