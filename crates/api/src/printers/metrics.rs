//! What a HorizontalPodAutoscaler aims at, beside what there is.

use apimachinery::Object;
use serde_json::Value;

use super::format::{NONE, scalar};
use crate::fields::Fields;

const UNKNOWN: &str = "<unknown>";

/// `cpu: 20%/80%, memory: 1Gi/2Gi`; the first three metrics at most.
pub(super) fn targets(autoscaler: &Object) -> String {
    let specs = autoscaler
        .object("spec")
        .map_or(&[][..], |s| s.list("metrics"));
    let statuses = autoscaler
        .object("status")
        .map_or(&[][..], |s| s.list("currentMetrics"));
    if specs.is_empty() {
        return NONE.to_owned();
    }
    let mut shown: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(i, m)| target(m, statuses.get(i)))
        .collect();
    const MAX: usize = 2;
    let more = shown.len().saturating_sub(MAX);
    let extra = shown.len() > MAX + 1 || more > 0;
    if extra {
        shown.truncate(MAX);
        return format!("{} + {more} more...", shown.join(", "));
    }
    shown.join(", ")
}

fn target(metric: &Value, status: Option<&Value>) -> String {
    let (field, key) = match metric["type"].as_str() {
        Some("External") => ("external", "metric"),
        Some("Pods") => ("pods", "metric"),
        Some("Object") => ("object", "metric"),
        Some("Resource") => ("resource", ""),
        Some("ContainerResource") => ("containerResource", ""),
        _ => return UNKNOWN.to_owned(),
    };
    let spec = &metric[field];
    let wanted = &spec["target"];
    let current = status
        .map(|s| &s[field]["current"])
        .filter(|c| c.is_object());
    let value = |name: &str| current.and_then(|c| scalar(c.get(name)));
    let shown = |now: Option<String>, goal: Option<String>, unit: &str| {
        let now = now.map_or(UNKNOWN.to_owned(), |n| format!("{n}{unit}"));
        let goal = goal.unwrap_or_else(|| "<auto>".to_owned());
        format!("{now}/{goal}{unit}")
    };
    let average = scalar(wanted.get("averageValue"));
    if key == "metric" {
        return match average {
            Some(goal) if field != "object" || wanted.get("value").is_none() => format!(
                "{}{}",
                shown(value("averageValue"), Some(goal), ""),
                " (avg)"
            )
            .trim_end_matches(if field == "pods" { " (avg)" } else { "" })
            .to_owned(),
            _ => shown(value("value"), scalar(wanted.get("value")), ""),
        };
    }
    let name = spec["name"].as_str().unwrap_or_default();
    match average {
        Some(goal) => format!("{name}: {}", shown(value("averageValue"), Some(goal), "")),
        None => {
            let goal = scalar(wanted.get("averageUtilization"));
            format!("{name}: {}", shown(value("averageUtilization"), goal, "%"))
        }
    }
}
