//! A finalizer that holds an object while it is in use. Admission gives it to new objects; here older ones get it, and it is taken off.

use client::Object;

/// The finalizers as they should be, if they are not. `in_use` is asked only about an object that is to go.
pub(super) fn finalizers<T: Object>(
    object: &T,
    finalizer: &str,
    in_use: impl FnOnce() -> bool,
) -> Option<Vec<String>> {
    let mut finalizers = object.metadata().finalizers.clone().unwrap_or_default();
    let protected = finalizers.iter().any(|known| known == finalizer);
    match (object.is_being_deleted(), protected) {
        (true, true) if !in_use() => finalizers.retain(|known| known != finalizer),
        (false, false) => finalizers.push(finalizer.to_owned()),
        _ => return None,
    }
    Some(finalizers)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PersistentVolume;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_in_use_stays() {
        let object = |known: &[&str], deleted: bool| -> PersistentVolume {
            let mut object = json!({"metadata": {"name": "v", "finalizers": known}});
            if deleted {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            serde_json::from_value(object).unwrap()
        };
        let plan =
            |known: &[&str], deleted, used| finalizers(&object(known, deleted), "f", || used);
        assert_eq!(plan(&["f"], false, true), None);
        assert_eq!(plan(&["f"], true, true), None);
        assert_eq!(plan(&["f", "x"], true, false), Some(vec!["x".to_owned()]));
        assert_eq!(plan(&["x"], true, false), None);
        assert_eq!(plan(&[], false, false), Some(vec!["f".to_owned()]));
    }
}
