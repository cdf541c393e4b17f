//! Schemas of hostile authors, and objects of their kinds: a schema that is accepted prunes, defaults and judges whatever comes, and
//! doing it again changes nothing.
#![no_main]

use apiextensions::{Definition, Interner, jsonpath::JsonPath, validation};
use apimachinery::decode;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|input: &[u8]| {
    // A schema (or the path of a column), a zero byte, an object.
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (Some(first), body) = (parts.next(), parts.next().unwrap_or(b"{}")) else {
        return;
    };
    if let Ok(Ok(path)) = std::str::from_utf8(first).map(JsonPath::parse)
        && let Ok((value, _)) = decode::untyped(body)
    {
        let _ = path.find(&value);
    }
    let Ok((schema, _)) = decode::untyped(first) else {
        return;
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.fuzz.test"},
        "spec": {
            "group": "fuzz.test", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
        "status": {"storedVersions": ["v1"]},
    });
    let Value::Object(definition) = definition else {
        return;
    };
    if !validation::validate(&definition).is_empty() {
        return;
    }
    let definition = Definition::parse(&definition, &Interner::default());
    let Some(version) = definition.version("v1") else {
        return;
    };
    let Ok(decoded) = version.decode(body) else {
        return;
    };
    let mut object = decoded.object;
    version.default(&mut object);
    let mut again = object.clone();
    version.default(&mut again);
    assert_eq!(again, object, "defaulting twice is defaulting once");
    let _ = version.validate(&object);
    let _ = version.validate_update(&object, &object, &mut Vec::new());
});
