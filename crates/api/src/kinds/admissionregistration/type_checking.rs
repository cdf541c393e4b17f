//! What is wrong with the expressions of a ValidatingAdmissionPolicy, seen by the schemas of the objects that it is about: warnings for
//! `status.typeChecking`. They change nothing about what the policy does.
//!
//! Pure: who calls it finds the kinds of [`resources`] by discovery and their schemas in OpenAPI v3 documents.

use apimachinery::{
    Object,
    gvk::{GroupVersion, GroupVersionKind, GroupVersionResource},
    lookup,
};
use cel::{Declaration, Schema};
use serde_json::{Value, json};

use super::expressions::{Expressions, Uses};

/// So many types a policy is checked against at most.
pub const MAX_TYPES: usize = 10;
/// Schemas that hold themselves end here; what is below may be anything.
const MAX_DEPTH: usize = 24;

/// The resources that a policy is about, as far as it names them: by rule, in order, without wildcards and subresources.
pub fn resources(policy: &Object) -> Vec<GroupVersionResource> {
    let rules = lookup::objects(policy, &["spec", "matchConstraints", "resourceRules"]);
    let mut all = Vec::new();
    for rule in rules {
        let sorted = |field: &str| {
            let mut names = lookup::strings(rule, &[field]);
            names.sort_unstable();
            names
        };
        let (groups, versions) = (sorted("apiGroups"), sorted("apiVersions"));
        if groups
            .iter()
            .chain(&versions)
            .any(|name| name.contains('*'))
        {
            continue;
        }
        let mut resources = sorted("resources");
        resources.retain(|name| !name.contains(['*', '/']));
        for group in &groups {
            for version in &versions {
                all.extend(resources.iter().map(|resource| {
                    let version = GroupVersion {
                        group: group.clone().into(),
                        version: version.clone().into(),
                    };
                    version.resource(resource.clone())
                }));
            }
        }
    }
    all
}

/// The kind of a policy's parameters, if it has any.
pub fn param_kind(policy: &Object) -> Option<GroupVersionKind> {
    let kind = lookup::map(policy, &["spec", "paramKind"])?;
    let version = GroupVersion::parse(lookup::text(kind, &["apiVersion"]))?;
    Some(version.kind(lookup::text(kind, &["kind"]).to_owned()))
}

/// How expressions see the objects of a kind, by an OpenAPI v3 document that has its schema; none if it has none.
pub fn declaration(document: &Value, kind: &GroupVersionKind) -> Option<Declaration> {
    let is_named = |schema: &Value| {
        let names = schema["x-kubernetes-group-version-kind"].as_array();
        names.into_iter().flatten().any(|name| {
            name["group"] == *kind.group
                && name["version"] == *kind.version
                && name["kind"] == *kind.kind
        })
    };
    let schemas = document["components"]["schemas"].as_object()?;
    let schema = schemas.values().find(|schema| is_named(schema))?;
    let schema = Resolved {
        document,
        schema,
        depth: 0,
    };
    // The document's schemas have all of metadata: nothing has to be added as to the root of a structural schema.
    cel::declaration(&schema, &kind.kind, false)
}

/// `expressionWarnings`: each expression against each kind, in order of kinds. `params` is how the parameters look, if that is known.
pub fn warnings(
    policy: &Object,
    kinds: &[(GroupVersionKind, Declaration)],
    params: Option<&Declaration>,
) -> Vec<Value> {
    let has_params = lookup::map(policy, &["spec", "paramKind"]).is_some();
    let checkers: Vec<(&GroupVersionKind, Expressions)> = kinds
        .iter()
        .map(|(kind, object)| {
            let params = has_params.then(|| params.cloned().unwrap_or_else(Declaration::dynamic));
            let mut expressions = Expressions::about(object.clone(), params, true);
            for variable in lookup::objects(policy, &["spec", "variables"]) {
                let text = |field: &str| lookup::text(variable, &[field]);
                // What is wrong with it, those who use it are told.
                let _ = expressions.add_variable(text("name"), text("expression"));
            }
            (kind, expressions)
        })
        .collect();
    let mut warnings = Vec::new();
    let validations = lookup::objects(policy, &["spec", "validations"]);
    for (index, validation) in validations.enumerate() {
        for field in ["expression", "messageExpression"] {
            let expression = lookup::text(validation, &[field]);
            if expression.is_empty() {
                continue;
            }
            let findings: Vec<String> = checkers
                .iter()
                .filter_map(|(kind, expressions)| {
                    let error = complaint(expressions, expression)?;
                    let (group, version, kind) = (&kind.group, &kind.version, &kind.kind);
                    Some(format!("{group}/{version}, Kind={kind}: {error}\n"))
                })
                .collect();
            if !findings.is_empty() {
                warnings.push(json!({
                    "fieldRef": format!("spec.validations[{index}].{field}"),
                    "warning": findings.join("\n"),
                }));
            }
        }
    }
    warnings
}

fn complaint(expressions: &Expressions, expression: &str) -> Option<String> {
    let uses = Uses {
        authorizer: true,
        ..Uses::default()
    };
    let wrong = expressions.compile_any(expression, uses).err()?;
    Some(wrong.to_string())
}

/// A schema of an OpenAPI document, with its references followed.
struct Resolved<'a> {
    document: &'a Value,
    schema: &'a Value,
    depth: usize,
}

impl<'a> Resolved<'a> {
    fn below(&self, schema: &'a Value) -> Self {
        Self {
            document: self.document,
            schema: follow(self.document, schema),
            depth: self.depth + 1,
        }
    }

    fn is_too_deep(&self) -> bool {
        self.depth > MAX_DEPTH
    }
}

/// What a schema refers to: by itself, or as the only one of `allOf`, which stands beside a default.
fn follow<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let only = schema["allOf"].as_array().filter(|all| all.len() == 1);
    let reference = only.map_or(&schema["$ref"], |all| &all[0]["$ref"]);
    let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
    let found = pointer.and_then(|pointer| document.pointer(pointer));
    found.unwrap_or(schema)
}

impl Schema for Resolved<'_> {
    fn type_name(&self) -> &str {
        if self.is_too_deep() {
            return "";
        }
        self.schema.type_name()
    }

    fn format(&self) -> &str {
        self.schema.format()
    }

    fn items(&self) -> Option<Self> {
        Some(self.below(self.schema.get("items")?))
    }

    fn properties(&self) -> Vec<(&str, Self)> {
        let properties = self.schema["properties"].as_object();
        let properties = properties.into_iter().flatten();
        properties
            .map(|(name, schema)| (name.as_str(), self.below(schema)))
            .collect()
    }

    fn additional_properties(&self) -> Option<Self> {
        let schema = self.schema.get("additionalProperties");
        Some(self.below(schema.filter(|schema| schema.is_object())?))
    }

    fn bound(&self, keyword: &str) -> Option<u64> {
        self.schema.bound(keyword)
    }

    fn is_required(&self, property: &str) -> bool {
        self.schema.is_required(property)
    }

    fn enum_texts(&self) -> Vec<&str> {
        self.schema.enum_texts()
    }

    fn extension(&self, name: &str) -> bool {
        match name {
            // Built-in kinds say so by the format.
            "x-kubernetes-int-or-string" if self.format() == "int-or-string" => true,
            "x-kubernetes-preserve-unknown-fields" if self.is_too_deep() => true,
            _ => self.schema.extension(name),
        }
    }

    fn list_type(&self) -> &str {
        self.schema.list_type()
    }

    fn list_map_keys(&self) -> Vec<&str> {
        self.schema.list_map_keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({"components": {"schemas": {
            "io.k8s.api.apps.v1.Deployment": {
                "type": "object",
                "properties": {
                    "kind": {"type": "string"},
                    "spec": {"allOf": [{"$ref": "#/components/schemas/Spec"}], "default": {}},
                },
                "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Deployment"}],
            },
            "Spec": {"type": "object", "properties": {
                "replicas": {"type": "integer", "format": "int32"},
                "maxSurge": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
                "again": {"$ref": "#/components/schemas/Spec"},
            }},
        }}})
    }

    fn object(value: Value) -> Object {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn expressions_are_held_against_the_kinds_they_are_about() {
        let kind = GroupVersionKind::new("apps", "v1", "Deployment");
        let declaration = declaration(&document(), &kind).unwrap();
        let policy = |expression: &str| {
            object(json!({"spec": {
                "variables": [{"name": "n", "expression": "object.spec.replicas"}],
                "validations": [{"expression": "true"}, {"expression": expression, "messageExpression": "'x' + variables.n"}],
            }}))
        };
        let kinds = [(kind, declaration)];
        let found = warnings(&policy("object.replicas > 1"), &kinds, None);
        let fields: Vec<&str> = found
            .iter()
            .map(|w| w["fieldRef"].as_str().unwrap())
            .collect();
        assert_eq!(
            fields,
            [
                "spec.validations[1].expression",
                "spec.validations[1].messageExpression"
            ]
        );
        let text = found[0]["warning"].as_str().unwrap();
        assert!(
            text.starts_with("apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:7: undefined field 'replicas'"),
            "{text}"
        );
        let good = "object.spec.replicas > 1 && object.spec.maxSurge == 'x' && object.spec.again.again.replicas > 2";
        assert_eq!(warnings(&policy(good), &kinds, None).len(), 1);
        assert!(warnings(&policy("nonsense"), &[], None).is_empty());
    }

    #[test]
    fn only_what_is_named_is_checked() {
        let rules = json!([
            {"apiGroups": ["apps", ""], "apiVersions": ["v1"], "resources": ["pods", "deployments", "pods/exec", "*"]},
            {"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["pods"]},
        ]);
        let policy = object(json!({"spec": {"matchConstraints": {"resourceRules": rules}}}));
        let named: Vec<String> = resources(&policy)
            .iter()
            .map(|r| format!("{}/{}", r.group, r.resource))
            .collect();
        assert_eq!(
            named,
            ["/deployments", "/pods", "apps/deployments", "apps/pods"]
        );
    }
}
