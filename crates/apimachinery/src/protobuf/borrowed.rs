//! JSON text as a tree that borrows from it, read with the schema at hand.
//!
//! Texts without escapes are slices of the input; members that the type does not know are passed over; what protobuf carries as JSON
//! (`FieldsV1`, a quarter of most objects) is not looked into at all.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::tree::{Members, Tree};
use crate::schema::{Either, Scalar, Type, TypeRef};

/// A JSON value.
#[derive(Debug)]
pub(super) enum Borrowed<'a> {
    Null,
    Flag(bool),
    Integer(i64),
    /// What an `i64` does not hold.
    Float(f64),
    Text(Cow<'a, str>),
    /// Not looked into.
    Json(&'a str),
    Items(Vec<Self>),
    Object(Entries<'a>),
}

/// Members of an object, sorted by name, each name once.
#[derive(Debug, Default)]
pub(super) struct Entries<'a>(Vec<(Cow<'a, str>, Borrowed<'a>)>);

/// Reads an object of this type.
pub(super) fn read<'a>(json: &'a [u8], ty: TypeRef<'_>) -> Result<Borrowed<'a>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Read(Some(ty)).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads a value of a type; of any, where the schema says nothing.
#[derive(Clone, Copy)]
struct Read<'t>(Option<TypeRef<'t>>);

impl<'t> Read<'t> {
    /// What the member of this name is made of; `None` for those that are passed over.
    fn member(self, name: &str) -> Option<Self> {
        let Some(ty) = self.0 else {
            return Some(Self(None));
        };
        match ty.node() {
            Type::Object(object) => object.field(name).map(|field| Self(Some(ty.at(field.ty)))),
            Type::Map(map) => Some(Self(Some(ty.at(map.values)))),
            // With members it is the object; what may stand instead has none.
            Type::Either(
                Either::ObjectOrList(object)
                | Either::ObjectOrBool(object)
                | Either::ObjectOrStrings(object),
            ) => Self(Some(ty.at(*object))).member(name),
            _ => Some(Self(None)),
        }
    }

    fn item(self) -> Self {
        let item = self.0.and_then(|ty| match ty.node() {
            Type::List(list) => Some(ty.at(list.items)),
            Type::Either(Either::ObjectOrList(object)) => Some(ty.at(*object)),
            _ => None,
        });
        Self(item)
    }
}

impl<'a> DeserializeSeed<'a> for Read<'_> {
    type Value = Borrowed<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let opaque = self.0.is_some_and(|ty| {
            matches!(
                ty.node(),
                Type::Scalar(Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json)
            )
        });
        if !opaque {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(if raw == "null" {
            Borrowed::Null
        } else {
            Borrowed::Json(raw)
        })
    }
}

impl<'a> Visitor<'a> for Read<'_> {
    type Value = Borrowed<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Borrowed::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Borrowed::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Borrowed::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Borrowed::Float(number as f64), Borrowed::Integer))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Borrowed::Float(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Borrowed::Text(text.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Borrowed::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self.item())? {
            all.push(item);
        }
        Ok(Borrowed::Items(all))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(Cow<'a, str>, Borrowed<'a>)> = Vec::new();
        while let Some(Name(name)) = members.next_key()? {
            match self.member(&name) {
                Some(read) => entries.push((name, members.next_value_seed(read)?)),
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            // Stable, and then the last of the same name wins, as in any tree.
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.reverse();
            entries.dedup_by(|(a, _), (b, _)| a == b);
            entries.reverse();
        }
        Ok(Borrowed::Object(Entries(entries)))
    }
}

/// A member's name: borrowed unless it has escapes. (`Cow` by itself is always read as an owned one.)
struct Name<'a>(Cow<'a, str>);

impl<'a> serde::Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Read(None))? {
            Borrowed::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("a member's name is a text")),
        }
    }
}

impl<'a> Tree for Borrowed<'a> {
    type Members = Entries<'a>;

    fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    fn float(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Items(items) => Some(items),
            _ => None,
        }
    }

    fn members(&self) -> Option<&Entries<'a>> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    fn json(&self) -> Cow<'_, str> {
        // Only what a schema calls opaque is asked for its JSON, and that has been kept as such.
        match self {
            Self::Json(text) => (*text).into(),
            _ => "null".into(),
        }
    }
}

impl<'a> Members for Entries<'a> {
    type Value = Borrowed<'a>;

    fn named(&self, name: &str) -> Option<&Borrowed<'a>> {
        self.0
            .binary_search_by(|(other, _)| (**other).cmp(name))
            .ok()
            .map(|at| &self.0[at].1)
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Borrowed<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}
