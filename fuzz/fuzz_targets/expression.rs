//! Expressions of hostile authors: compiled or refused, and evaluated within their budget.
#![no_main]

use cel::{Activation, Budget, Declaration, Environment, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let environment = Environment::new()
        .declare("self", Declaration::dynamic())
        .with_mutation();
    let Ok(program) = environment.compile(source) else {
        return;
    };
    let _ = program.estimate();
    let object = serde_json::json!({
        "name": "web", "replicas": 3, "ratio": 0.5, "ready": true, "nothing": null,
        "labels": {"app": "web"}, "ports": [{"port": 80}, {"port": 443}], "time": "2026-01-01T00:00:00Z",
    });
    let activation = Activation::new().with("self", Value::from_json(&object, None));
    let _ = program.evaluate(&activation, &mut Budget::new(100_000));
});
