//! Go writes `null` for what is not set, such as the time of a condition that a client left out, and reads it as the zero value; the types
//! that we read with take no `null` where a value is required. An object that cannot be read is read once more without.

use serde_json::Value;

/// Times that the types require: the zero time stands for them, as in Go.
const REQUIRED: [&str; 3] = [
    "expirationTimestamp",
    "lastObservedTime",
    "lastTransitionTime",
];
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The same object without members that are `null`; `None` if there are none.
pub(crate) fn without(json: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    remove(&mut value).then(|| value.to_string().into_bytes())
}

/// Whether there were any.
fn remove(value: &mut Value) -> bool {
    let mut removed = false;
    match value {
        Value::Object(members) => members.retain(|name, member| {
            removed |= member.is_null() || remove(member);
            if member.is_null() && REQUIRED.contains(&name.as_str()) {
                *member = ZERO_TIME.into();
            }
            !member.is_null()
        }),
        // An item that is `null` is an item.
        Value::Array(items) => items.iter_mut().for_each(|item| removed |= remove(item)),
        _ => {}
    }
    removed
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use crate::Kind as _;

    #[test]
    fn a_condition_without_a_time_is_read() {
        let json = br#"{"metadata": {"name": "s", "creationTimestamp": null}, "status": {"loadBalancer": {},
            "conditions": [{"type": "A", "status": "True", "reason": "", "message": "", "lastTransitionTime": null}]}}"#;
        let service = Service::from_json(json).unwrap();
        let conditions = service.status.unwrap().conditions.unwrap();
        assert_eq!(conditions[0].type_, "A");
        assert_eq!(
            conditions[0].last_transition_time.0.as_second(),
            -62_135_596_800
        );
        assert_eq!(service.metadata.creation_timestamp, None);
    }

    #[test]
    fn what_is_wrong_otherwise_stays_wrong() {
        for json in [
            &br#"{"metadata": {"name": 5}, "spec": null}"#[..],
            b"{\"metadata\": ",
            b"[null]",
        ] {
            assert!(Service::from_json(json).is_err());
        }
    }
}
