//! Maps and objects: of the caller's JSON, or made by the expression.
//!
//! An object has declared fields, whose names in expressions may be escaped (`__dash__`); a map has keys.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use apimachinery::Object;

use super::{Text, Value, compare::within};
use crate::{
    declaration::{Declaration, ObjectType},
    types::Type,
};

/// A map or an object.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Read as declared.
    Json {
        /// The fields.
        object: &'a Object,
        /// Of the map or object.
        declaration: Option<&'a Declaration>,
    },
    /// Made by the expression; entries keep their key as written.
    Shared(Arc<BTreeMap<Key<'a>, (Value<'a>, Value<'a>)>>),
    /// An object made by the expression: `Object{spec: …}`.
    Struct(Arc<Struct<'a>>),
    /// The variables of a policy, evaluated when they are asked for.
    Composed,
}

/// An object made by the expression.
#[derive(Clone, Debug)]
pub struct Struct<'a> {
    pub(crate) ty: Type,
    pub(crate) fields: BTreeMap<Arc<str>, Value<'a>>,
}

/// A key: numbers of all types that are the same number are the same key.
#[derive(Clone, Debug)]
pub enum Key<'a> {
    /// `bool`.
    Bool(bool),
    /// `int` or `uint`.
    Number(i128),
    /// `string`.
    Text(Text<'a>),
}

impl Key<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => (**a).cmp(&**b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_> {}

impl<'a> Key<'a> {
    /// Of a value, if such a value can be a key.
    pub(crate) fn of(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Number(i128::from(*value))),
            Value::Uint(value) => Some(Self::Number(i128::from(*value))),
            Value::String(text) => Some(Self::Text(text.clone())),
            // A whole number finds the key that is this number.
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e19 => {
                Some(Self::Number(*value as i128))
            }
            _ => None,
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn from_fields(entries: impl IntoIterator<Item = (Arc<str>, Value<'a>)>) -> Self {
        Self::Shared(Arc::new(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Text::Shared(key);
                    (Key::Text(key.clone()), (Value::String(key), value))
                })
                .collect(),
        ))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json { object, .. } => object.len(),
            Self::Shared(entries) => entries.len(),
            Self::Struct(object) => object.fields.len(),
            Self::Composed => 0,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn object_type(&self) -> Option<&Arc<ObjectType>> {
        match self {
            Self::Json { declaration, .. } => declaration.and_then(Declaration::object_type),
            Self::Struct(object) => match &object.ty {
                Type::Object(object) => Some(object),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn type_of(&self) -> Type {
        match self.object_type() {
            Some(object) => Type::Object(Arc::clone(object)),
            None => Type::map(Type::Dyn, Type::Dyn),
        }
    }

    /// The field or entry of a name, as an expression writes it.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json {
                object,
                declaration,
            } => match declaration.and_then(Declaration::object_type) {
                Some(fields) => {
                    let field = fields.field(name)?;
                    // What is null where there may be null is as if it were not there.
                    object
                        .get(&*field.json_name)
                        .filter(|json| !json.is_null())
                        .map(|json| Value::from_json(json, Some(&field.declaration)))
                }
                None => self.field_by_json_name(name),
            },
            Self::Shared(entries) => entries
                .get(&Key::Text(Text::Borrowed(name)))
                .map(|(_, value)| value.clone()),
            Self::Struct(object) => object.fields.get(name).cloned(),
            Self::Composed => None,
        }
    }

    /// Like [`Self::field`], by the name that stands in JSON.
    pub(super) fn field_by_json_name(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json {
                object,
                declaration,
            } => {
                let json = object.get(name)?;
                let declaration = declaration.and_then(|d| match d.object_type() {
                    Some(fields) => fields
                        .fields()
                        .find(|(_, field)| &*field.json_name == name)
                        .map(|(_, field)| &field.declaration),
                    None => d.values(),
                });
                Some(Value::from_json(json, declaration))
            }
            _ => self.field(name),
        }
    }

    /// The entry of any key.
    pub(crate) fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        match (self, key) {
            (_, Value::String(name)) => self.field(name),
            (Self::Shared(entries), _) => {
                entries.get(&Key::of(key)?).map(|(_, value)| value.clone())
            }
            _ => None,
        }
    }

    /// Keys and values, in the order of keys.
    pub(crate) fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Self::Json {
                object,
                declaration,
            } => {
                let values = declaration.and_then(Declaration::values);
                match declaration.and_then(Declaration::object_type) {
                    Some(fields) => fields
                        .fields()
                        .filter_map(|(name, field)| {
                            let json = object.get(&*field.json_name)?;
                            if json.is_null() {
                                return None;
                            }
                            let value = Value::from_json(json, Some(&field.declaration));
                            Some((Value::from(&**name), value))
                        })
                        .collect(),
                    None => object
                        .iter()
                        .map(|(key, json)| {
                            (Value::from(key.as_str()), Value::from_json(json, values))
                        })
                        .collect(),
                }
            }
            Self::Shared(entries) => entries.values().cloned().collect(),
            Self::Struct(object) => object
                .fields
                .iter()
                .map(|(name, value)| (Value::from(Arc::clone(name)), value.clone()))
                .collect(),
            Self::Composed => Vec::new(),
        }
    }

    pub(super) fn equals(&self, other: &Map<'_>, left: &mut u64) -> Option<bool> {
        if self.len() != other.len() {
            return Some(false);
        }
        if let (
            Self::Json {
                object,
                declaration: Some(declaration),
            },
            Map::Json { object: others, .. },
        ) = (self, other)
            && let Some(fields) = declaration.object_type()
        {
            return objects_equal(object, others, fields, left);
        }
        for (key, value) in self.entries() {
            let Some(known) = other.get(&key) else {
                return Some(false);
            };
            if !within(&known, &value, left)? {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Objects with declared fields. What is not declared is compared as it stands, if both have it; what is null is like nothing, as it is
/// when it is selected.
fn objects_equal(
    object: &Object,
    others: &Object,
    fields: &ObjectType,
    left: &mut u64,
) -> Option<bool> {
    for (name, json) in object {
        let field = fields
            .fields()
            .find(|(_, field)| *field.json_name == **name);
        let Some((_, field)) = field else {
            if others.get(name).is_some_and(|other| other != json) {
                return Some(false);
            }
            continue;
        };
        let other = others.get(name).filter(|other| !other.is_null());
        let (json, other) = match (json.is_null(), other) {
            (false, Some(other)) => (json, other),
            (true, None) => continue,
            _ => return Some(false),
        };
        let value = Value::from_json(json, Some(&field.declaration));
        let other = Value::from_json(other, Some(&field.declaration));
        if !within(&other, &value, left)? {
            return Some(false);
        }
    }
    Some(true)
}
