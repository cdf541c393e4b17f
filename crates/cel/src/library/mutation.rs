//! What expressions of MutatingAdmissionPolicies make: `Object{…}`, `JSONPatch{…}`.

use super::{Result, arguments, rows};
use crate::{
    cost::Cost,
    declaration::{Declaration, Field},
    types::Type,
    value::{List, Map, Value},
};

rows! {
    "jsonpatch.escapeKey", "(string) -> string", Cost::ScanKeep, escape_key;
}

/// The type of one operation of a patch.
pub(crate) const JSON_PATCH: &str = "JSONPatch";

/// Operations: where, what, and with which value.
pub(crate) fn json_patch() -> Type {
    let text = || Declaration::string(None);
    Declaration::object(
        JSON_PATCH,
        [
            Field::new("op", text()),
            Field::new("path", text()),
            Field::new("from", text()),
            Field::new("value", Declaration::dynamic()),
        ],
    )
    .ty()
}

/// `~` and `/` in a key, as a JSON pointer writes them.
fn escape_key<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(key)]);
    Ok(Value::from(key.replace('~', "~0").replace('/', "~1")))
}

impl Value<'_> {
    /// Whether objects that the expression made are named after the fields they stand in: `Object{spec: Object.spec{…}}`.
    ///
    /// # Errors
    /// In upstream's words, the first that is not.
    pub fn check_object_names(&self) -> std::result::Result<(), String> {
        check(self, None)
    }

    /// Whether a null stands in what the expression made. Those within what it was given are the giver's.
    pub fn makes_null(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Map(Map::Struct(made)) => made.fields.values().any(Value::makes_null),
            Value::Map(Map::Shared(entries)) => {
                entries.values().any(|(_, value)| value.makes_null())
            }
            Value::List(List::Shared { items, .. }) => items.iter().any(Value::makes_null),
            Value::Optional(Some(inner)) => inner.makes_null(),
            _ => false,
        }
    }
}

fn check(value: &Value<'_>, wanted: Option<&str>) -> std::result::Result<(), String> {
    let path = wanted.unwrap_or("Object");
    match value {
        Value::Map(Map::Struct(made)) => {
            let name = made.ty.name();
            if name != path {
                return Err(format!(
                    "unexpected type name \"{name}\", expected \"{path}\", which matches field name path from root Object type"
                ));
            }
            made.fields
                .iter()
                .try_for_each(|(field, value)| check(value, Some(&format!("{path}.{field}"))))
        }
        Value::List(list) => list.iter().try_for_each(|item| check(&item, Some(path))),
        Value::Optional(Some(inner)) => check(inner, Some(path)),
        _ => Ok(()),
    }
}
