mod costs;
mod declarations;
mod errors;
mod expressions;
mod hostile;
mod kubernetes;

use serde_json::{Value as Json, json};

use crate::{Activation, Budget, Declaration, Environment, EvalError, Value};

/// An environment with `x`, `object` and `self`, all of any type.
fn environment() -> Environment {
    ["x", "object", "self"]
        .into_iter()
        .fold(Environment::new(), |environment, name| {
            environment.declare(name, Declaration::dynamic())
        })
}

fn sample() -> Json {
    json!({
        "name": "web", "replicas": 3, "ratio": 0.5, "paused": false, "nothing": null,
        "labels": {"app": "web", "a/b": "c"},
        "ports": [80, 443],
        "containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y"}],
    })
}

/// The value of an expression over the sample, as JSON; errors as text.
fn evaluate(expression: &str) -> Result<Json, String> {
    let environment = environment();
    let program = environment
        .compile(expression)
        .map_err(|errors| errors.to_string())?;
    let object = sample();
    let activation = Activation::new()
        .with("object", Value::from_json(&object, None))
        .with("self", Value::from_json(&object, None))
        .with("x", Value::Int(1));
    let result = program.evaluate(&activation, &mut Budget::default());
    match result {
        Ok(value) => Ok(value
            .to_json()
            .unwrap_or_else(|| json!(format!("{value:?}")))),
        Err(error) => Err(error.to_string()),
    }
}

/// Evaluates with a budget and gives what it cost.
fn cost(environment: &Environment, expression: &str, object: &Json) -> Result<u64, EvalError> {
    let program = environment.compile(expression).unwrap();
    let activation = Activation::new().with("self", Value::from_json(object, None));
    let mut budget = Budget::default();
    let before = budget.remaining();
    program.evaluate(&activation, &mut budget)?;
    Ok(before - budget.remaining())
}
