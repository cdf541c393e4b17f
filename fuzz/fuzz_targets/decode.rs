//! Bodies in JSON and YAML, decoded by type: what is taken is canonical, and decodes to itself.
#![no_main]

use apimachinery::{decode, gvk::GroupVersionKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, body)) = input.split_first() else {
        return;
    };
    let gvk = match choice >> 1 & 3 {
        0 => GroupVersionKind::new("", "v1", "Pod"),
        1 => GroupVersionKind::new("apps", "v1", "Deployment"),
        2 => GroupVersionKind::new("", "v1", "Service"),
        _ => GroupVersionKind::new("autoscaling", "v2", "HorizontalPodAutoscaler"),
    };
    let ty = api::facts::type_of(&gvk).expect("a built-in kind");
    let json = match choice & 1 {
        0 => body.to_vec(),
        _ => match decode::yaml_to_json(body, true) {
            Ok(json) => json,
            Err(_) => return,
        },
    };
    let _ = decode::version_kind(&json);
    let _ = decode::untyped(&json);
    if let Ok(first) = decode::json(&json, ty) {
        let second = decode::object(&first.object, ty).expect("canonical objects decode");
        assert_eq!(second.object, first.object);
        assert!(second.findings.is_empty(), "{:?}", second.findings);
    }
});
