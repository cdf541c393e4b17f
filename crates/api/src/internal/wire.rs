//! A patched object as upstream's messages show it: the parts that the patch went through were maps when it was printed, and have their
//! keys sorted; the rest still is the JSON of Go's structs.

use apimachinery::schema::{Type, TypeRef};
use serde_json::Value;

use super::node::Node;

/// Which parts of an object a patch goes through.
#[derive(Clone, Debug, Default)]
pub struct Touched(Vec<(String, Touched)>);

impl Touched {
    /// By a merge patch: every object in it, those in lists as well.
    pub fn by_merge(patch: &Value) -> Self {
        let inner = |(key, value): (String, &Value)| {
            (value.is_object() || value.is_array()).then(|| (key, Self::by_merge(value)))
        };
        let members = patch.as_object().into_iter().flatten();
        let members = members.map(|(key, value)| (key.clone(), value));
        let items = patch.as_array().into_iter().flatten().enumerate();
        let items = items.map(|(index, value)| (index.to_string(), value));
        Self(members.chain(items).filter_map(inner).collect())
    }

    /// By a JSON patch: what is on the way to the target of each operation.
    pub fn by_operations(operations: &Value) -> Self {
        let mut touched = Self::default();
        for operation in operations.as_array().into_iter().flatten() {
            for pointer in ["path", "from"] {
                let Some(pointer) = operation.get(pointer).and_then(Value::as_str) else {
                    continue;
                };
                let mut steps: Vec<String> = pointer
                    .split('/')
                    .skip(1)
                    .map(|step| step.replace("~1", "/").replace("~0", "~"))
                    .collect();
                steps.pop();
                touched.add(&steps);
            }
        }
        touched
    }

    fn add(&mut self, steps: &[String]) {
        let Some((first, rest)) = steps.split_first() else {
            return;
        };
        let at = match self.0.iter().position(|(key, _)| key == first) {
            Some(at) => at,
            None => {
                self.0.push((first.clone(), Self::default()));
                self.0.len() - 1
            }
        };
        self.0[at].1.add(rest);
    }

    fn inner(&self, key: &str) -> Option<&Self> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, inner)| inner)
    }
}

/// The JSON of a patched object of this type.
pub fn patched(ty: TypeRef<'_>, object: &Value, touched: &Touched) -> String {
    render(Some(ty), object, Some(touched)).compact()
}

fn render(ty: Option<TypeRef<'_>>, value: &Value, touched: Option<&Touched>) -> Node {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            let fields = ty.and_then(TypeRef::object).filter(|_| touched.is_none());
            match fields {
                Some(fields) => members.sort_by_key(|(name, _)| {
                    fields.fields().iter().position(|f| *f.name == ***name)
                }),
                None => members.sort_by_key(|(name, _)| name.as_str()),
            }
            let member = |(name, value): (&String, &Value)| {
                let ty = ty.and_then(|ty| ty.field(name)).map(|(_, ty)| ty);
                let touched = touched.and_then(|t| t.inner(name));
                (name.clone(), render(ty, value, touched))
            };
            Node::Map(members.into_iter().map(member).collect())
        }
        Value::Array(items) => {
            let inner = ty.filter(|ty| matches!(ty.node(), Type::List(_)));
            let inner = inner.and_then(TypeRef::items);
            let item = |(index, item): (usize, &Value)| {
                let touched = touched.and_then(|t| t.inner(&index.to_string()));
                render(inner, item, touched)
            };
            Node::List(items.iter().enumerate().map(item).collect())
        }
        scalar => Node::Leaf(scalar.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_in_lists_of_a_patch_are_sorted_too() {
        let ty = crate::facts::schema()
            .type_named("io.k8s.api.rbac.v1.ClusterRole")
            .unwrap();
        let patch = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]});
        let rules = r#"{"rules":[{"nonResourceURLs":["/x"],"verbs":["get"]}]}"#;
        assert_eq!(patched(ty, &patch, &Touched::by_merge(&patch)), rules);
    }

    #[test]
    fn what_is_touched_is_sorted() {
        let ty = crate::facts::schema()
            .type_named("io.k8s.api.core.v1.ConfigMap")
            .unwrap();
        let object = json!({"metadata": {"uid": "u", "name": "n"}, "data": {"b": "2", "a": "1"}, "kind": "ConfigMap"});
        assert_eq!(
            patched(
                ty,
                &object,
                &Touched::by_merge(&json!({"data": {"b": "2"}}))
            ),
            r#"{"data":{"a":"1","b":"2"},"kind":"ConfigMap","metadata":{"name":"n","uid":"u"}}"#
        );
        let operations = json!([{"op": "add", "path": "/metadata/uid", "value": "u"}]);
        assert_eq!(
            patched(ty, &object, &Touched::by_operations(&operations)),
            r#"{"data":{"a":"1","b":"2"},"kind":"ConfigMap","metadata":{"name":"n","uid":"u"}}"#
        );
    }
}
