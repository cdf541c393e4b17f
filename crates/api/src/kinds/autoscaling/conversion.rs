//! What the first version of an autoscaler has no fields for, and carries as JSON in annotations: all metrics but the utilization of CPU, all
//! metrics of the status, behavior and conditions.
//!
//! The texts are upstream's (`pkg/apis/autoscaling/v1/conversion.go`): metrics as the first version's own types, whose fields have other names
//! and always show quantities that are not behind a pointer; behavior in Go's names of an internal type. They are read back the same way, by
//! what is in them; a text that cannot be read says nothing.

use apimachinery::{Object, go, meta};
use serde_json::{Map, Value, json};

use super::horizontal_pod_autoscaler_v2;
use crate::{fields::Fields, internal};

/// Where what the first version has no field for is kept.
pub(super) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
pub(super) const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
pub(super) const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
pub(super) const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// All of them, and those that versions of old had.
const ALL: [&str; 6] = [
    METRICS,
    BEHAVIOR,
    CURRENT_METRICS,
    CONDITIONS,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

const LABEL_SELECTOR: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";
const BEHAVIOR_TYPE: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior";
const CONDITION_TYPE: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition";

/// No version lets these through as a client wrote them.
pub(super) fn drop_annotations(object: &mut Object) {
    for name in ALL {
        if meta::annotation(object, name).is_some() {
            meta::set_annotation(object, name, None);
        }
    }
}

/// The objects that an annotation holds, if it holds a list of such.
fn held(object: &Object, name: &str) -> Option<Vec<Value>> {
    let items: Vec<Object> = serde_json::from_str(meta::annotation(object, name)?).ok()?;
    Some(items.into_iter().map(Value::Object).collect())
}

/// From the first version to the second.
pub(super) fn to_v2(object: &mut Object) {
    object.set("apiVersion", "autoscaling/v2");
    let others = held(object, METRICS).unwrap_or_default();
    let behavior = meta::annotation(object, BEHAVIOR)
        .and_then(|text| serde_json::from_str(text).ok())
        .map(|behavior| from_go_names(&behavior));
    let (current, conditions) = (held(object, CURRENT_METRICS), held(object, CONDITIONS));
    drop_annotations(object);

    let spec = object.ensure_object("spec");
    let mut metrics: Vec<Value> = others.iter().map(metric_from_v1).collect();
    let percent = spec.remove("targetCPUUtilizationPercentage");
    if let Some(percent) = percent.filter(Value::is_number) {
        metrics.push(cpu_utilization(percent));
    }
    spec.set("metrics", metrics);
    if let Some(behavior) = behavior.filter(|b| b.as_object().is_some_and(|b| !b.is_empty())) {
        spec.set("behavior", behavior);
    }

    // As the second version fills what it is read with.
    horizontal_pod_autoscaler_v2::default(spec);

    let status = object.ensure_object("status");
    if status.int("currentReplicas") == Some(0) {
        status.remove("currentReplicas");
    }
    status.set_default("desiredReplicas", 0);
    let percent = status.remove("currentCPUUtilizationPercentage");
    let of_cpu = percent.filter(Value::is_number).map(|percent| {
        let source = json!({"name": "cpu", "current": {"averageUtilization": percent}});
        json!([{"type": "Resource", "resource": source}])
    });
    // What the annotation holds says more than the field.
    let current = match current {
        Some(current) if current.is_empty() => None,
        Some(current) => Some(current.iter().map(status_from_v1).collect()),
        None => of_cpu,
    };
    status.set("currentMetrics", current.unwrap_or(Value::Null));
    if let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) {
        status.set("conditions", conditions);
    }
}

/// From the second version to the first.
pub(super) fn to_v1(object: &mut Object) {
    object.set("apiVersion", "autoscaling/v1");
    drop_annotations(object);
    let spec = object.ensure_object("spec");
    let behavior = spec.remove("behavior").filter(|b| !b.is_null());
    let (of_cpu, others): (Vec<Value>, Vec<Value>) = list(spec.remove("metrics"))
        .into_iter()
        .partition(is_cpu_utilization);
    if let Some(metric) = of_cpu.first() {
        let percent = metric["resource"]["target"]["averageUtilization"].clone();
        spec.set("targetCPUUtilizationPercentage", percent);
    }
    let status = object.ensure_object("status");
    status.set_default("currentReplicas", 0);
    let conditions = list(status.remove("conditions"));
    let current = list(status.remove("currentMetrics"));
    let percent = current
        .iter()
        .filter(|metric| metric["type"] == "Resource" && metric["resource"]["name"] == "cpu")
        .map(|metric| metric["resource"]["current"]["averageUtilization"].clone())
        .rfind(Value::is_number);
    status.set_or_remove("currentCPUUtilizationPercentage", percent);

    let texts = [
        (
            METRICS,
            (!others.is_empty()).then(|| array(&others, metric_to_v1)),
        ),
        (
            CURRENT_METRICS,
            (!current.is_empty()).then(|| array(&current, status_to_v1)),
        ),
        (
            BEHAVIOR,
            behavior.map(|behavior| internal::shown(BEHAVIOR_TYPE, Some(&behavior))),
        ),
        (
            CONDITIONS,
            (!conditions.is_empty())
                .then(|| internal::in_order(CONDITION_TYPE, &conditions.into())),
        ),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            meta::set_annotation(object, name, Some(&text));
        }
    }
}

fn cpu_utilization(percent: Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

/// A metric that the first version has a field for.
fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["averageUtilization"].is_number()
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// JSON text of a struct: members in order, those that are absent left out.
fn object_text<const N: usize>(members: [(&str, Option<String>); N]) -> String {
    let members = members.into_iter();
    let shown = members.filter_map(|(name, text)| text.map(|text| format!("{name:?}:{text}")));
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

fn array(items: &[Value], text: fn(&Value) -> String) -> String {
    format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(","))
}

/// A string that always shows.
fn string(value: &Value) -> Option<String> {
    Some(go::json(&Value::from(value.as_str().unwrap_or_default())))
}

/// What shows if it is there.
fn optional(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| go::json(value))
}

/// A quantity that always shows.
fn quantity(value: &Value) -> Option<String> {
    optional(value).or_else(|| Some("\"0\"".to_owned()))
}

fn selector(metric: &Value) -> Option<String> {
    let selector = &metric["selector"];
    (!selector.is_null()).then(|| internal::shown(LABEL_SELECTOR, Some(selector)))
}

fn reference(described: &Value) -> Option<String> {
    let version = &described["apiVersion"];
    Some(object_text([
        ("kind", string(&described["kind"])),
        ("name", string(&described["name"])),
        ("apiVersion", optional(version).filter(|_| *version != "")),
    ]))
}

/// A metric of the specification.
fn metric_to_v1(metric: &Value) -> String {
    to_text(metric, "target", optional)
}

/// A metric of the status.
fn status_to_v1(metric: &Value) -> String {
    to_text(metric, "current", quantity)
}

/// A metric as the first version's type, in whose names stands what the second version keeps its amounts in: `target` or `current`. `amount` writes those
/// that only one of the two can leave out.
fn to_text(metric: &Value, side: &str, amount: fn(&Value) -> Option<String>) -> String {
    let source = |name: &str| metric.get(name).filter(|source| !source.is_null());
    let [value, average, utilization] =
        ["Value", "AverageValue", "AverageUtilization"].map(|what| format!("{side}{what}"));
    let resource = |source: &Value| {
        let amounts = &source[side];
        object_text([
            ("name", string(&source["name"])),
            (&*utilization, optional(&amounts["averageUtilization"])),
            (&*average, amount(&amounts["averageValue"])),
            ("container", source.get("container").and_then(string)),
        ])
    };
    let of_object = |source: &Value| {
        let (metric, amounts) = (&source["metric"], &source[side]);
        object_text([
            ("target", reference(&source["describedObject"])),
            ("metricName", string(&metric["name"])),
            (&*value, quantity(&amounts["value"])),
            ("selector", selector(metric)),
            ("averageValue", optional(&amounts["averageValue"])),
        ])
    };
    let pods = |source: &Value| {
        object_text([
            ("metricName", string(&source["metric"]["name"])),
            (&*average, quantity(&source[side]["averageValue"])),
            ("selector", selector(&source["metric"])),
        ])
    };
    let external = |source: &Value| {
        object_text([
            ("metricName", string(&source["metric"]["name"])),
            ("metricSelector", selector(&source["metric"])),
            (&*value, amount(&source[side]["value"])),
            (&*average, optional(&source[side]["averageValue"])),
        ])
    };
    object_text([
        ("type", string(&metric["type"])),
        ("object", source("object").map(of_object)),
        ("pods", source("pods").map(pods)),
        ("resource", source("resource").map(resource)),
        (
            "containerResource",
            source("containerResource").map(resource),
        ),
        ("external", source("external").map(external)),
    ])
}

/// An object of those members that are there.
fn present<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// A quantity that the first version's type cannot leave out.
fn or_zero(value: &Value) -> Value {
    if value.is_null() {
        "0".into()
    } else {
        value.clone()
    }
}

/// Each source of a metric, by the name it has in both versions.
fn sources(metric: &Value, convert: fn(&str, &Value) -> Value) -> Value {
    let mut out = Map::new();
    let kind = metric["type"].as_str().unwrap_or_default();
    out.insert("type".to_owned(), kind.into());
    for name in [
        "object",
        "pods",
        "resource",
        "containerResource",
        "external",
    ] {
        if let Some(source) = metric.get(name).filter(|source| source.is_object()) {
            out.insert(name.to_owned(), convert(name, source));
        }
    }
    Value::Object(out)
}

/// What is measured.
fn identifier(source: &Value, selector: &str) -> Value {
    let name = source["metricName"].as_str().unwrap_or_default();
    present([
        ("name", name.into()),
        ("selector", source[selector].clone()),
    ])
}

fn metric_from_v1(metric: &Value) -> Value {
    sources(metric, |name, source| match name {
        "object" => {
            let (value, average) = (or_zero(&source["targetValue"]), &source["averageValue"]);
            // A value of zero beside an average is one that could not be left out.
            let value = if !average.is_null() && value == "0" {
                Value::Null
            } else {
                value
            };
            let kind = if average.is_null() {
                "Value"
            } else {
                "AverageValue"
            };
            let target = present([
                ("type", kind.into()),
                ("value", value),
                ("averageValue", average.clone()),
            ]);
            json!({
                "target": target, "describedObject": source["target"],
                "metric": identifier(source, "selector"),
            })
        }
        "pods" => {
            let average = or_zero(&source["targetAverageValue"]);
            json!({
                "target": {"type": "AverageValue", "averageValue": average},
                "metric": identifier(source, "selector"),
            })
        }
        "external" => {
            let value = &source["targetValue"];
            let kind = if value.is_null() {
                "AverageValue"
            } else {
                "Value"
            };
            let target = present([
                ("type", kind.into()),
                ("value", value.clone()),
                ("averageValue", source["targetAverageValue"].clone()),
            ]);
            json!({"target": target, "metric": identifier(source, "metricSelector")})
        }
        _ => {
            let percent = &source["targetAverageUtilization"];
            let kind = if percent.is_null() {
                "AverageValue"
            } else {
                "Utilization"
            };
            let target = present([
                ("type", kind.into()),
                ("averageValue", source["targetAverageValue"].clone()),
                ("averageUtilization", percent.clone()),
            ]);
            present([
                ("name", source["name"].clone()),
                ("container", source["container"].clone()),
                ("target", target),
            ])
        }
    })
}

fn status_from_v1(metric: &Value) -> Value {
    sources(metric, |name, source| match name {
        "object" => {
            let current = present([
                ("value", or_zero(&source["currentValue"])),
                ("averageValue", source["averageValue"].clone()),
            ]);
            json!({
                "current": current, "describedObject": source["target"],
                "metric": identifier(source, "selector"),
            })
        }
        "pods" => json!({
            "current": {"averageValue": or_zero(&source["currentAverageValue"])},
            "metric": identifier(source, "selector"),
        }),
        "external" => {
            let current = present([
                ("value", or_zero(&source["currentValue"])),
                ("averageValue", source["currentAverageValue"].clone()),
            ]);
            json!({"current": current, "metric": identifier(source, "metricSelector")})
        }
        _ => {
            let current = present([
                ("averageValue", or_zero(&source["currentAverageValue"])),
                (
                    "averageUtilization",
                    source["currentAverageUtilization"].clone(),
                ),
            ]);
            present([
                ("name", source["name"].clone()),
                ("container", source["container"].clone()),
                ("current", current),
            ])
        }
    })
}

/// JSON of a Go struct without tags, in the names of its served form; what is null is absent.
fn from_go_names(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let renamed = members.map(|(name, value)| {
                let mut name = name.clone();
                if let Some(first) = name.get_mut(..1) {
                    first.make_ascii_lowercase();
                }
                (name, from_go_names(value))
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(from_go_names).collect()),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_second_version_survives_the_first() {
        let spec = json!({
            "maxReplicas": 3,
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "Object", "object": {
                    "describedObject": {"kind": "Service", "name": "s"},
                    "metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "AverageValue", "averageValue": "5"},
                }},
                {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "7"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}},
        });
        let status = json!({
            "desiredReplicas": 1,
            "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "3m"}}}],
            "conditions": [{"type": "AbleToScale", "status": "True"}],
        });
        let mut before = object(json!({
            "apiVersion": "autoscaling/v2", "metadata": {"annotations": {"a": "b"}}, "spec": spec, "status": status,
        }));
        horizontal_pod_autoscaler_v2::default(before.ensure_object("spec"));
        let mut first = before.clone();
        to_v1(&mut first);
        assert_eq!(first["spec"]["targetCPUUtilizationPercentage"], 60);
        assert_eq!(first["status"]["currentCPUUtilizationPercentage"], 5);
        let text = |name| meta::annotation(&first, name).unwrap();
        assert_eq!(
            text(METRICS),
            "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageValue\":\"1Gi\"}},\
             {\"type\":\"Object\",\"object\":{\"target\":{\"kind\":\"Service\",\"name\":\"s\"},\"metricName\":\"m\",\
             \"targetValue\":\"0\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"averageValue\":\"5\"}},\
             {\"type\":\"External\",\"external\":{\"metricName\":\"q\",\"targetValue\":\"7\"}}]"
        );
        assert_eq!(
            text(CURRENT_METRICS),
            "[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"currentAverageUtilization\":5,\"currentAverageValue\":\"3m\"}}]"
        );
        to_v2(&mut first);
        assert_eq!(first, before);
    }

    #[test]
    fn who_names_no_metric_gets_one() {
        let mut first = object(json!({"metadata": {}, "spec": {"maxReplicas": 1}}));
        to_v2(&mut first);
        assert_eq!(
            first["spec"]["metrics"],
            json!([cpu_utilization(80.into())])
        );
        for unreadable in ["", "{", "{}", "[1]"] {
            let annotations =
                json!({METRICS: unreadable, BEHAVIOR: unreadable, CONDITIONS: unreadable});
            let mut hostile = object(json!({"metadata": {"annotations": annotations}, "spec": {}}));
            to_v2(&mut hostile);
            assert!(meta::annotation(&hostile, METRICS).is_none());
            assert!(hostile["spec"]["metrics"].is_array());
        }
    }
}
