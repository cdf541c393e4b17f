//! Messages of kinds in protobuf: what is taken is written, and read again as the same.
#![no_main]

use apimachinery::{gvk::GroupVersionKind, protobuf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = protobuf::open(input);
    for (gvk, version) in [
        (GroupVersionKind::new("", "v1", "Pod"), "v1"),
        (GroupVersionKind::new("apps", "v1", "StatefulSet"), "apps/v1"),
    ] {
        let ty = api::facts::type_of(&gvk).expect("a built-in kind");
        let Ok(object) = protobuf::decode(input, ty, version, &gvk.kind) else {
            continue;
        };
        let written = protobuf::encode_message(&object, ty);
        let read = protobuf::decode(&written, ty, version, &gvk.kind)
            .expect("what was written can be read");
        assert_eq!(protobuf::encode_message(&read, ty), written);
    }
});
