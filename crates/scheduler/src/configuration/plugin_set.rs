//! Which plugins a profile has at each point, and in which order.
//!
//! `multiPoint` switches plugins on or off at every point at which they have a say, on top of the default ones. What stands at a single
//! point wins over that: first come the plugins that are on in both, as the point has them, then those of `multiPoint`, then the point's own.

use std::collections::BTreeMap;

use super::file::{PluginFile, PluginSetFile, PluginsFile};
use crate::{
    framework::{Point, Row},
    plugins::TABLE,
};

/// For each point its plugins.
pub(super) type Resolved = [Vec<Row>; Point::ALL.len()];

/// A plugin's name, and the weight that is asked for.
type Entry<'a> = (&'a str, Option<i64>);

/// Resolves a profile's plugins; `by_name` are all there are.
pub(super) fn resolve(
    plugins: &PluginsFile,
    by_name: &BTreeMap<&str, &Row>,
) -> Result<Resolved, String> {
    let multi_point = merged(&plugins.multi_point);
    let mut resolved = Resolved::default();
    for point in Point::ALL {
        let set = at(plugins, point);
        for own in &set.enabled {
            let row = find(by_name, &own.name, point)?;
            if !point.is_point_of(row.plugin.as_ref()) {
                return Err(format!(
                    "plugin {:?} does not extend {} plugin",
                    own.name,
                    point.name()
                ));
            }
        }
        for entry in ordered(set, &multi_point) {
            let row = find(by_name, entry.0, point)?;
            if point.is_point_of(row.plugin.as_ref()) {
                // A score without a weight counts once.
                let weight = entry.1.or(Some(row.weight)).filter(|&weight| weight != 0);
                resolved[point as usize].push(Row {
                    plugin: std::sync::Arc::clone(&row.plugin),
                    weight: weight.unwrap_or(1),
                });
            }
        }
    }
    Ok(resolved)
}

fn find<'a>(
    by_name: &BTreeMap<&str, &'a Row>,
    name: &str,
    point: Point,
) -> Result<&'a Row, String> {
    let found = by_name.get(name).copied();
    found.ok_or_else(|| format!("{} {name:?} does not exist", point.name()))
}

/// The default plugins as `multiPoint` changes them: one that is named keeps its place, unknown ones come last.
fn merged(custom: &PluginSetFile) -> Vec<Entry<'_>> {
    let weights = |name: &str| {
        let mut enabled = custom.enabled.iter();
        enabled.find(|plugin| plugin.name == name)
    };
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for default in TABLE {
        if is_disabled(&custom.disabled, default.name) {
            continue;
        }
        let weight = weights(default.name).map_or(Some(default.weight), |plugin| plugin.weight);
        entries.push((default.name, weight));
    }
    for plugin in &custom.enabled {
        if !entries.iter().any(|(name, _)| *name == plugin.name) {
            entries.push((&plugin.name, plugin.weight));
        }
    }
    entries
}

fn is_disabled(disabled: &[PluginFile], name: &str) -> bool {
    disabled
        .iter()
        .any(|plugin| plugin.name == "*" || plugin.name == name)
}

fn ordered<'a>(set: &'a PluginSetFile, multi_point: &[Entry<'a>]) -> Vec<Entry<'a>> {
    let is_multi = |name: &str| multi_point.iter().any(|(other, _)| *other == name);
    let is_own = |name: &str| set.enabled.iter().any(|plugin| plugin.name == name);
    let own = set.enabled.iter();
    let own = own.map(|plugin| (plugin.name.as_str(), plugin.weight));
    let (overriding, alone): (Vec<_>, Vec<_>) = own.partition(|(name, _)| is_multi(name));
    let inherited = multi_point
        .iter()
        .copied()
        .filter(|(name, _)| !is_own(name) && !is_disabled(&set.disabled, name));
    overriding
        .into_iter()
        .chain(inherited)
        .chain(alone)
        .collect()
}

fn at(plugins: &PluginsFile, point: Point) -> &PluginSetFile {
    match point {
        Point::PreEnqueue => &plugins.pre_enqueue,
        Point::QueueSort => &plugins.queue_sort,
        Point::PreFilter => &plugins.pre_filter,
        Point::Filter => &plugins.filter,
        Point::PostFilter => &plugins.post_filter,
        Point::PreScore => &plugins.pre_score,
        Point::Score => &plugins.score,
        Point::Reserve => &plugins.reserve,
        Point::Permit => &plugins.permit,
        Point::PreBind => &plugins.pre_bind,
        Point::Bind => &plugins.bind,
        Point::PostBind => &plugins.post_bind,
    }
}
