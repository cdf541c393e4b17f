//! The `scale` subresource: which fields of a custom object are its replicas and its selector.
//!
//! Paths are plain: `.spec.replicas`, without lists. Follows upstream's `registry/customresource`.

use api::fields::Fields;
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    go, meta,
};
use serde_json::Value;

/// `subresources.scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// `.spec.replicas`.
    pub spec_replicas: Box<str>,
    /// `.status.replicas`.
    pub status_replicas: Box<str>,
    /// `.status.selector`.
    pub label_selector: Option<Box<str>>,
}

/// Why there is no Scale of an object: `the spec replicas field ".spec.replicas" does not exist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleError(String);

impl std::fmt::Display for ScaleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScaleError {}

impl ScalePaths {
    /// From `subresources.scale`.
    pub fn parse(scale: &Object) -> Self {
        Self {
            spec_replicas: scale.text("specReplicasPath").into(),
            status_replicas: scale.text("statusReplicasPath").into(),
            label_selector: scale.text_opt("labelSelectorPath").map(Into::into),
        }
    }

    /// The Scale of an object, in `autoscaling/v1`.
    ///
    /// # Errors
    /// The object does not say how many replicas it wants, or holds values of the wrong type.
    pub fn scale_from(&self, object: &Object) -> Result<Object, ScaleError> {
        let spec_replicas = integer(object, &self.spec_replicas)?;
        let status_replicas = integer(object, &self.status_replicas)?.unwrap_or(0);
        let selector = match &self.label_selector {
            Some(path) => text(object, path)?.unwrap_or_default(),
            None => "",
        };
        let Some(spec_replicas) = spec_replicas else {
            return Err(ScaleError(format!(
                "the spec replicas field {} does not exist",
                apimachinery::quote(&self.spec_replicas)
            )));
        };
        let mut metadata = Object::new();
        for name in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        ] {
            if let Some(value) = meta::metadata(object).and_then(|m| m.get(name)) {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
        let mut spec = Object::new();
        if spec_replicas != 0 {
            spec.set("replicas", spec_replicas);
        }
        let mut status = Object::new();
        status.set("replicas", status_replicas);
        if !selector.is_empty() {
            status.set("selector", selector);
        }
        let mut scale = Object::new();
        scale.set("kind", "Scale");
        scale.set("apiVersion", "autoscaling/v1");
        scale.set("metadata", metadata);
        scale.set("spec", spec);
        scale.set("status", status);
        Ok(scale)
    }

    /// Writes the wanted number of replicas into an object.
    ///
    /// # Errors
    /// Something on the way is no object.
    pub fn set_replicas(&self, object: &mut Object, replicas: i64) -> Result<(), ScaleError> {
        let mut steps = steps(&self.spec_replicas).peekable();
        let mut at = object;
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                at.insert(step.to_owned(), replicas.into());
                return Ok(());
            }
            let next = at
                .entry(step)
                .or_insert_with(|| Value::Object(Object::new()));
            let Some(next) = next.as_object_mut() else {
                return Err(ScaleError(format!(
                    "value cannot be set because {} is not a map[string]interface{{}}",
                    self.spec_replicas
                )));
            };
            at = next;
        }
        Ok(())
    }

    /// All complaints about `spec`: on writes of the object itself.
    pub fn validate_spec(&self, object: &Object) -> ErrorList {
        replicas(object, &self.spec_replicas).into_iter().collect()
    }

    /// All complaints about `status`.
    pub fn validate_status(&self, object: &Object) -> ErrorList {
        let mut errors: ErrorList = replicas(object, &self.status_replicas)
            .into_iter()
            .collect();
        if let Some(path) = &self.label_selector
            && let Err(error) = text(object, path)
        {
            errors.push(FieldError::invalid(&Path::new(path), "", error.0));
        }
        errors
    }
}

fn replicas(object: &Object, path: &str) -> Option<FieldError> {
    let field = Path::new(path);
    match integer(object, path) {
        Err(error) => Some(FieldError::invalid(&field, 0, error.0)),
        Ok(Some(n)) if n < 0 => Some(FieldError::invalid(
            &field,
            n,
            "should be a non-negative integer",
        )),
        Ok(Some(n)) if n > i64::from(i32::MAX) => Some(FieldError::invalid(
            &field,
            n,
            format!("should be less than or equal to {}", i32::MAX),
        )),
        Ok(_) => None,
    }
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('.').unwrap_or(path).split('.')
}

/// The value at a path, if all on the way are objects.
fn nested<'o>(object: &'o Object, path: &str) -> Result<Option<&'o Value>, ScaleError> {
    let mut at: Option<&Value> = None;
    let mut walked = String::new();
    for step in steps(path) {
        walked.push('.');
        walked.push_str(step);
        let fields = match at {
            None => object,
            Some(Value::Object(fields)) => fields,
            Some(Value::Null) => return Ok(None),
            Some(other) => {
                return Err(ScaleError(format!(
                    "{walked} accessor error: {} is of the type {}, expected map[string]interface{{}}",
                    go::plain(other),
                    go::type_name(other)
                )));
            }
        };
        match fields.get(step) {
            Some(next) => at = Some(next),
            None => return Ok(None),
        }
    }
    Ok(at)
}

fn accessor_error(path: &str, value: &Value, expected: &str) -> ScaleError {
    let dot = if path.starts_with('.') { "" } else { "." };
    ScaleError(format!(
        "{dot}{path} accessor error: {} is of the type {}, expected {expected}",
        go::plain(value),
        go::type_name(value)
    ))
}

fn integer(object: &Object, path: &str) -> Result<Option<i64>, ScaleError> {
    match nested(object, path)? {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(accessor_error(path, value, "int64")),
        },
    }
}

fn text<'o>(object: &'o Object, path: &str) -> Result<Option<&'o str>, ScaleError> {
    match nested(object, path)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(value) => Err(accessor_error(path, value, "string")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths() -> ScalePaths {
        let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"});
        ScalePaths::parse(scale.as_object().unwrap())
    }

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn there_and_back() {
        let mut widget = object(
            json!({"metadata": {"name": "w", "labels": {"a": "b"}}, "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "a=b"}}),
        );
        let scale = paths().scale_from(&widget).unwrap();
        assert_eq!(
            Value::Object(scale),
            json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "w"}, "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "a=b"}})
        );
        paths().set_replicas(&mut widget, 5).unwrap();
        assert_eq!(widget["spec"], json!({"replicas": 5}));
    }

    #[test]
    fn complaints() {
        let none = paths()
            .scale_from(&object(json!({"spec": {}})))
            .unwrap_err();
        assert_eq!(
            none.to_string(),
            r#"the spec replicas field ".spec.replicas" does not exist"#
        );
        for (widget, expected) in [
            (
                json!({"spec": {"replicas": -1}}),
                ".spec.replicas: Invalid value: -1: should be a non-negative integer",
            ),
            (
                json!({"spec": {"replicas": 2_147_483_648_i64}}),
                ".spec.replicas: Invalid value: 2147483648: should be less than or equal to 2147483647",
            ),
            (
                json!({"spec": 1}),
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: 1 is of the type int64, expected map[string]interface{}",
            ),
            (
                json!({"spec": {"replicas": "x"}}),
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: x is of the type string, expected int64",
            ),
            (
                json!({"spec": [1]}),
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: [1] is of the type []interface {}, expected map[string]interface{}",
            ),
        ] {
            let errors = paths().validate_spec(&object(widget));
            assert_eq!(errors[0].to_string(), expected);
        }
    }
}
