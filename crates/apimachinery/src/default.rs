//! Constant defaults of a schema, put where a value is absent.
//!
//! Defaults that depend on other fields are code, in the strategies of the kinds. As with upstream's generated defaulters, a default goes into
//! every object that is there, and an object that is absent stays so, unless it has a default itself.

use serde_json::Value;

use crate::{
    Object,
    schema::{Either, Type, TypeRef},
};

/// Fills in the constant defaults of a built-in or custom kind.
pub fn apply(object: &mut Object, ty: TypeRef<'_>) {
    let Type::Object(known) = ty.node() else {
        return;
    };
    for field in known.fields() {
        let inner = ty.at(field.ty);
        if let Some(default) = &field.default {
            let absent = match object.get(&*field.name) {
                None => true,
                // A Go field without pointer cannot tell its zero value from none; a custom kind's null takes the default unless it may be null.
                Some(Value::String(text)) => known.go && !field.pointer && text.is_empty(),
                Some(Value::Number(number)) => {
                    known.go && !field.pointer && number.as_i64() == Some(0)
                }
                Some(Value::Null) => known.go || !field.nullable,
                Some(_) => false,
            };
            if absent {
                object.insert(field.name.to_string(), default.clone());
            }
        }
        if inner.has_defaults()
            && let Some(value) = object.get_mut(&*field.name)
        {
            value_defaults(value, inner);
        }
    }
    if let Some(additional) = known.additional {
        let inner = ty.at(additional);
        for (name, value) in object.iter_mut() {
            if known.field(name).is_none() {
                value_defaults(value, inner);
            }
        }
    }
}

fn value_defaults(value: &mut Value, ty: TypeRef<'_>) {
    if !ty.has_defaults() {
        return;
    }
    match (ty.node(), value) {
        (Type::Object(_), Value::Object(object)) => apply(object, ty),
        (Type::Map(map), Value::Object(entries)) => {
            let inner = ty.at(map.values);
            entries
                .values_mut()
                .for_each(|value| value_defaults(value, inner));
        }
        (Type::List(list), Value::Array(items)) => {
            let inner = ty.at(list.items);
            items
                .iter_mut()
                .for_each(|value| value_defaults(value, inner));
        }
        (
            Type::Either(
                Either::ObjectOrList(inner)
                | Either::ObjectOrBool(inner)
                | Either::ObjectOrStrings(inner),
            ),
            Value::Object(object),
        ) => apply(object, ty.at(*inner)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{Field, ListSemantics, ListType, ObjectType, Scalar, Schema};

    #[test]
    fn defaults_are_found_behind_circles() {
        let mut schema = Schema::new();
        let node = schema.declare("Node");
        let semantics = ListSemantics::Atomic;
        let nodes = schema.add(Type::List(ListType {
            items: node,
            semantics,
            wrapped: false,
        }));
        let fields = vec![Field::new("nodes", nodes)];
        schema.set(node, Type::Object(ObjectType::new("Node", fields)));
        assert!(!schema.get(nodes).has_defaults());
        let mut depth = Field::new("depth", Schema::scalar(Scalar::String));
        depth.default = Some(json!("unknown"));
        let fields = vec![Field::new("nodes", nodes), depth];
        schema.set(node, Type::Object(ObjectType::new("Node", fields)));
        let mut value = json!({"nodes": [{"nodes": [{"depth": "2"}]}]});
        apply(value.as_object_mut().unwrap(), schema.get(node));
        assert_eq!(
            value,
            json!({"depth": "unknown", "nodes": [{"depth": "unknown", "nodes": [{"depth": "2"}]}]})
        );
    }

    #[test]
    fn defaults_reach_into_lists() {
        let mut schema = Schema::new();
        let mut protocol = Field::new("protocol", Schema::scalar(Scalar::String));
        protocol.default = Some(json!("TCP"));
        let mut port = ObjectType::new("Port", vec![protocol]);
        port.go = true;
        let items = schema.add(Type::Object(port));
        let semantics = ListSemantics::Atomic;
        let ports = schema.add(Type::List(ListType {
            items,
            semantics,
            wrapped: false,
        }));
        let root = schema.add(Type::Object(ObjectType::new(
            "Spec",
            vec![Field::new("ports", ports)],
        )));
        let mut value = json!({"ports": [{}, {"protocol": ""}, {"protocol": "UDP"}]});
        apply(value.as_object_mut().unwrap(), schema.get(root));
        assert_eq!(
            value,
            json!({"ports": [{"protocol": "TCP"}, {"protocol": "TCP"}, {"protocol": "UDP"}]})
        );
    }
}
