//! Server-side apply: a configuration applied twice changes nothing the second time, and hostile `managedFields` do no harm.
#![no_main]

use apimachinery::{Object, decode, gvk::GroupVersionKind, managed_fields::{self, FieldSet}};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let ty =
        api::facts::type_of(&GroupVersionKind::new("apps", "v1", "Deployment")).expect("a built-in kind");
    let Ok((Value::Object(config), _)) = decode::untyped(input) else {
        return;
    };
    let write = managed_fields::Write {
        manager: "fuzz",
        api_version: "apps/v1",
        subresource: "",
        now: jiff::Timestamp::UNIX_EPOCH,
        ignored: &FieldSet::default(),
        versions: &managed_fields::OneVersion,
    };
    // As the object of an update: whatever stands in its managedFields is taken or passed over.
    let mut updated = config.clone();
    managed_fields::update(ty, Some(&Object::new()), &mut updated, &write);
    let Ok(first) = managed_fields::apply(ty, None, &config, false, &write) else {
        return;
    };
    let Ok(live) = decode::object(&first.object, ty) else {
        return;
    };
    if let Ok(second) = managed_fields::apply(ty, Some(&live.object), &config, false, &write) {
        assert!(!second.changed, "{:?}\n{:?}", live.object, second.object);
    }
});
