//! Conditions of a pod that the API server itself sets: that it was bound, that it is evicted.

use apimachinery::Object;
use serde_json::{Value, json};

/// Sets a condition that is true; one that is true already stays as it is, since when included.
pub(super) fn set(pod: &mut Object, condition: Value) {
    let status = pod.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else {
        return;
    };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else {
        return;
    };
    match conditions
        .iter_mut()
        .find(|known| known["type"] == condition["type"])
    {
        Some(known) if known["status"] == "True" => {}
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_set_once() {
        let mut pod = Object::new();
        let of = |status: &str, time: u8| json!({"type": "A", "status": status, "at": time});
        set(&mut pod, of("True", 1));
        set(&mut pod, of("True", 2));
        assert_eq!(pod["status"]["conditions"], json!([of("True", 1)]));
        pod["status"]["conditions"][0] = of("False", 3);
        set(&mut pod, of("True", 4));
        assert_eq!(pod["status"]["conditions"], json!([of("True", 4)]));
    }
}
