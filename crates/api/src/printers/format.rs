//! Pieces that several tables share.

use apimachinery::Object;
use serde_json::Value;

use crate::fields::Fields;

/// Shown for what is not there.
pub(super) const NONE: &str = "<none>";
/// Shown for what is left open.
pub(super) const UNSET: &str = "<unset>";

/// `text`, or `otherwise` when there is none.
pub(super) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// `a=b,c=d`, sorted; `<none>` for none.
pub(super) fn labels(labels: Option<&Object>) -> String {
    match labels {
        Some(labels) if !labels.is_empty() => labels
            .iter()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(","),
        _ => NONE.to_owned(),
    }
}

/// A label selector as `kubectl -l` takes it; `<none>` for one that selects all or is absent.
pub(super) fn selector(selector: Option<&Object>) -> String {
    let text = selector
        .map(crate::scale::selector_text)
        .unwrap_or_default();
    if text.is_empty() {
        NONE.to_owned()
    } else {
        text
    }
}

/// Names and images of the containers of a pod template.
pub(super) fn containers(template_spec: Option<&Object>) -> [Value; 2] {
    let column = |field| {
        let values: Vec<&str> = template_spec
            .into_iter()
            .flat_map(|s| s.objects("containers"))
            .map(|(_, c)| c.text(field))
            .collect();
        Value::from(values.join(","))
    };
    [column("name"), column("image")]
}

/// `spec.template.spec`.
pub(super) fn template_spec(object: &Object) -> Option<&Object> {
    object.object("spec")?.object("template")?.object("spec")
}

/// A number that may be absent, as the zero it then means.
pub(super) fn count(object: Option<&Object>, field: &str) -> i64 {
    object.and_then(|o| o.int(field)).unwrap_or(0)
}

/// `True`, `False`, or `<unset>`.
pub(super) fn bool_text(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    }
}

/// At most three, and how many more there are.
pub(super) fn few(items: &[String], separator: &str) -> String {
    const MAX: usize = 3;
    let mut out = items
        .iter()
        .take(MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(separator);
    if items.len() > MAX {
        out.push_str(&format!(" + {} more...", items.len() - MAX));
    }
    out
}

/// A string or number as it stands.
pub(super) fn scalar(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// `RWO,ROX`, in upstream's order and each once.
pub(super) fn access_modes(spec: &Object) -> String {
    const MODES: &[(&str, &str)] = &[
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    MODES
        .iter()
        .filter(|(mode, _)| spec.texts("accessModes").any(|m| m == *mode))
        .map(|(_, short)| *short)
        .collect::<Vec<_>>()
        .join(",")
}

/// Addresses and host names of a load balancer.
pub(super) fn load_balancer(status: Option<&Object>) -> Vec<String> {
    status
        .and_then(|s| s.object("loadBalancer"))
        .into_iter()
        .flat_map(|b| b.objects("ingress"))
        .map(|(_, i)| or(i.text("ip"), i.text("hostname")).to_owned())
        .filter(|s| !s.is_empty())
        .collect()
}

/// Whether a condition of this type is `True`.
pub(super) fn condition_is_true(status: Option<&Object>, kind: &str) -> bool {
    status
        .into_iter()
        .flat_map(|s| s.objects("conditions"))
        .any(|(_, c)| c.text("type") == kind && c.text("status") == "True")
}
