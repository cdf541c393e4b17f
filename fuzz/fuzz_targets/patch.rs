//! JSON patches, merge patches and strategic merge patches on a Deployment: refused or applied, and then still an object of its type.
#![no_main]

use apimachinery::{Object, decode, gvk::GroupVersionKind, patch};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn deployment() -> Object {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"a": "b"}, "finalizers": ["x/y"]},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {
            "containers": [
                {"name": "one", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A", "value": "1"}]},
                {"name": "two", "image": "j", "command": ["x"]},
            ],
            "tolerations": [{"key": "k", "operator": "Exists"}],
        }}},
    });
    match object {
        Value::Object(object) => object,
        _ => unreachable!("it is written as one"),
    }
}

fuzz_target!(|input: &[u8]| {
    let ty = api::facts::type_of(&GroupVersionKind::new("apps", "v1", "Deployment"))
        .expect("a built-in kind");
    if let Ok(patched) = patch::json(&deployment(), input) {
        let _ = decode::object(&patched, ty);
    }
    let Ok((Value::Object(mut patch), _)) = decode::untyped(input) else {
        return;
    };
    let mut merged = deployment();
    patch::merge(&mut merged, &patch);
    let _ = decode::object(&merged, ty);
    let mut strategic = deployment();
    if patch::strategic(&mut strategic, &mut patch, ty).is_ok() {
        let _ = decode::object(&strategic, ty);
    }
});
