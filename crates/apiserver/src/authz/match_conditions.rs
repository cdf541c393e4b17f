//! About what a webhook is asked: CEL conditions over `request`, a SubjectAccessReview's spec.

use cel::{Activation, Budget, Declaration, Environment, Field, ListType, Program, Type, Value};
use serde_json::Value as Json;

/// Conditions, all of which must hold.
pub struct MatchConditions {
    request: Declaration,
    programs: Vec<Program>,
}

impl MatchConditions {
    /// Compiles. The error names what does not compile.
    pub fn compile<'e>(expressions: impl IntoIterator<Item = &'e str>) -> Result<Self, String> {
        let request = request_type();
        let environment = Environment::new().declare("request", request.clone());
        let programs = expressions
            .into_iter()
            .map(|expression| compile(&environment, expression))
            .collect::<Result<_, _>>()?;
        Ok(Self { request, programs })
    }

    /// Whether the webhook is to be asked about a request. One condition that is false settles it, also where another fails.
    pub fn hold(&self, spec: &Json) -> Result<bool, String> {
        let value = Value::from_json(spec, Some(&self.request));
        let activation = Activation::new().with("request", value);
        let mut budget = Budget::default();
        let mut errors = Vec::new();
        for program in &self.programs {
            match program.evaluate(&activation, &mut budget) {
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(value) if value.as_bool() == Some(false) => return Ok(false),
                Ok(_) => errors.push("cel evaluation did not return a bool".to_owned()),
                Err(error) => errors.push(format!("cel evaluation error: {error}")),
            }
        }
        if errors.is_empty() {
            Ok(true)
        } else {
            Err(errors.join(", "))
        }
    }
}

fn compile(environment: &Environment, expression: &str) -> Result<Program, String> {
    if expression.trim().is_empty() {
        return Err("an expression is required".to_owned());
    }
    let program = environment
        .compile(expression)
        .map_err(|errors| format!("{expression:?}: compilation failed: {errors}"))?;
    match program.result_type() {
        Type::Bool | Type::Dyn => Ok(program),
        _ => Err(format!("{expression:?}: must evaluate to bool")),
    }
}

fn request_type() -> Declaration {
    let text = || Declaration::string(None);
    let list = |items| Declaration::list(items, ListType::Atomic, None);
    let texts = |names: &[&str]| {
        let fields = names.iter().map(|name| Field::new(name, text()));
        fields.collect::<Vec<_>>()
    };
    let selector = |sort: &str| {
        let mut requirement = texts(&["key", "operator"]);
        requirement.push(Field::new("values", list(text())));
        let requirement = Declaration::object("kubernetes.SelectorRequirement", requirement);
        let mut fields = texts(&["rawSelector"]);
        fields.push(Field::new("requirements", list(requirement)));
        Declaration::object(&format!("kubernetes.{sort}SelectorAttributes"), fields)
    };
    let mut resource = texts(&[
        "namespace",
        "verb",
        "group",
        "version",
        "resource",
        "subresource",
        "name",
    ]);
    resource.push(Field::new("fieldSelector", selector("Field")));
    resource.push(Field::new("labelSelector", selector("Label")));
    let path = Declaration::object("kubernetes.NonResourceAttributes", texts(&["path", "verb"]));
    let mut spec = texts(&["user", "uid"]);
    spec.extend([
        Field::new("groups", list(text())),
        Field::new("extra", Declaration::map(list(text()), None)),
        Field::new(
            "resourceAttributes",
            Declaration::object("kubernetes.ResourceAttributes", resource),
        ),
        Field::new("nonResourceAttributes", path),
    ]);
    Declaration::object("kubernetes.SubjectAccessReviewSpec", spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_select_requests() {
        let conditions = MatchConditions::compile([
            "has(request.resourceAttributes)",
            "request.resourceAttributes.namespace == 'kube-system'",
            "!('system:serviceaccounts' in request.groups)",
        ])
        .unwrap();
        let spec = |namespace: &str, group: &str| {
            json!({
                "user": "u", "groups": [group], "resourceAttributes": {"namespace": namespace, "verb": "get"},
            })
        };
        assert_eq!(conditions.hold(&spec("kube-system", "g")), Ok(true));
        assert_eq!(conditions.hold(&spec("default", "g")), Ok(false));
        assert_eq!(
            conditions.hold(&spec("kube-system", "system:serviceaccounts")),
            Ok(false)
        );
        // The first is false: what the others would fail on does not matter.
        let path = json!({"user": "u", "groups": [], "nonResourceAttributes": {"path": "/"}});
        assert_eq!(conditions.hold(&path), Ok(false));
        let failing =
            MatchConditions::compile(["request.resourceAttributes.verb == 'get'"]).unwrap();
        assert!(failing.hold(&path).is_err());
        for broken in ["", "request.nothing", "request.user", "1"] {
            assert!(MatchConditions::compile([broken]).is_err(), "{broken}");
        }
    }
}
