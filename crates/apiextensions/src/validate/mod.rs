//! Validation of values against a schema, worded as kube-openapi words it.
//!
//! The order of checks, the way complaints are merged (each message once), which alternative of `anyOf` and `oneOf` speaks for the others
//! (the one with most successful checks) and even the oddities are upstream's, because its messages are what users and tools know.
//! Of fields, upstream's order is that of a Go map, that is none; here it is that of their names.
//!
//! A value without complaints costs no allocation: paths are linked frames on the stack, rendered only into complaints.
//!
//! Ratcheting: on update, complaints about a value that did not change are forgotten ([`crate::correlate`]).

mod complaint;
mod number;

use std::fmt::Write as _;

use apimachinery::{
    field::{ErrorList, Path},
    quote,
};
use serde_json::{Map, Value};

use crate::{
    correlate::{Correlated, ValueRef},
    format::Format,
    schema::{Additional, JsonType, SchemaRef, Structural, ValueValidation},
};
use complaint::{Complaint, Outcome, What};

/// All complaints about a value. `path` is where it stands in the object; messages name fields relative to the value, as upstream's do.
/// With an old value, complaints about what did not change are forgotten.
pub fn validate<'v>(
    path: &Path,
    value: impl Into<ValueRef<'v>>,
    old: Option<ValueRef<'v>>,
    schema: &'v Structural,
) -> ErrorList {
    let value = value.into();
    let correlated = old.map(|old| Correlated {
        old,
        new: value,
        schema,
    });
    let outcome = check(schema, value, correlated, &Frame::Root);
    outcome
        .into_complaints()
        .into_iter()
        .map(|complaint| complaint.into_field_error(path))
        .collect()
}

/// Where validation is, as a list of frames on the stack.
enum Frame<'a> {
    Root,
    /// A field: joined by a dot, unless it is the first.
    Property(&'a Frame<'a>, &'a str),
    /// A field without schema of its own: upstream joins it by a dot even at the root.
    Additional(&'a Frame<'a>, &'a str),
    Index(&'a Frame<'a>, usize),
}

impl Frame<'_> {
    fn render(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Property(parent, name) => {
                parent.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Self::Additional(parent, name) => {
                parent.write(out);
                out.push('.');
                out.push_str(name);
            }
            Self::Index(parent, index) => {
                parent.write(out);
                let _ = write!(out, "[{index}]");
            }
        }
    }

    fn is_root(&self) -> bool {
        matches!(self, Self::Root)
    }
}

/// Judges a value that may stand in the place of an old one.
fn check(
    schema: &Structural,
    value: ValueRef<'_>,
    correlated: Option<Correlated<'_>>,
    path: &Frame<'_>,
) -> Outcome {
    let mut outcome = check_here(schema, value, correlated, path);
    if !outcome.is_valid() && correlated.is_some_and(Correlated::is_unchanged) {
        outcome.complaints.clear();
    }
    outcome
}

/// Judges a value by one schema.
fn check_here(
    schema: &Structural,
    value: ValueRef<'_>,
    correlated: Option<Correlated<'_>>,
    path: &Frame<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let values = schema.values.as_deref();
    let accepted = schema.accepted();
    if value == ValueRef::Other(&Value::Null) {
        if accepted.is_empty() || schema.nullable {
            outcome.matched += 1;
        } else {
            outcome.add(wrong_type(path, accepted, "null"));
        }
        enumeration(values, value, path, &mut outcome);
        return outcome;
    }
    let format = values.and_then(|v| v.format);
    if !accepted.is_empty() || format.is_some() {
        match type_complaint(schema, value, path) {
            Some(complaint) => outcome.add(complaint),
            None => outcome.matched += 1,
        }
        outcome.matched += 1;
    }
    if let Some(values) = values {
        alternatives(values, value, path, &mut outcome);
    }
    // Upstream counts its check of alternatives, twice, whether or not there are any.
    outcome.matched += 2;
    match value {
        ValueRef::Other(Value::String(text)) => {
            if let Some(values) = values {
                string(values, text, path, &mut outcome);
                if let Some(format) = values.format.filter(|f| f.is_text()) {
                    if !format.accepts(text) {
                        outcome.add(wrong_format(schema, path, text));
                    }
                    outcome.matched += 1;
                }
            }
            outcome.matched += 1;
        }
        ValueRef::Other(Value::Number(number)) => {
            number::check(schema, number, path, &mut outcome);
            outcome.matched += 2;
        }
        ValueRef::Other(Value::Array(items)) => {
            list(schema, items, correlated, path, &mut outcome);
            outcome.matched += 2;
        }
        _ => {}
    }
    enumeration(values, value, path, &mut outcome);
    outcome.matched += 1;
    if let ValueRef::Object(object) = value {
        fields(schema, object, correlated, path, &mut outcome);
        outcome.matched += 1;
    }
    outcome.matched += 1;
    outcome
}

/// The JSON type of a value, as the schema names it.
fn type_name(value: ValueRef<'_>) -> &'static str {
    let ValueRef::Other(value) = value else {
        return "object";
    };
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        // As in Go, what exceeds 64 bits is a float.
        Value::Number(n) if n.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Go's name of a number's type, which is what upstream has for its format.
fn native_format(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Other(Value::Number(n)) if n.is_i64() => "int64",
        ValueRef::Other(Value::Number(_)) => "float64",
        _ => "",
    }
}

fn type_complaint(schema: &Structural, value: ValueRef<'_>, path: &Frame<'_>) -> Option<Complaint> {
    let accepted = schema.accepted();
    let actual = type_name(value);
    let format = schema.values.as_ref().and_then(|v| v.format);
    let fits = if schema.int_or_string {
        matches!(actual, "integer" | "string") || is_whole(value)
    } else {
        match schema.json_type {
            JsonType::Integer => actual == "integer" || is_whole(value),
            JsonType::Number => matches!(actual, "integer" | "number"),
            _ => actual == accepted,
        }
    };
    if fits {
        return None;
    }
    match format {
        // Strings and lists are left to the check of the format, other values are told its name.
        Some(format) if !matches!(actual, "string" | "array") => {
            Some(wrong_type(path, &format.name(), native_format(value)))
        }
        Some(format) if format.is_text() => None,
        _ => Some(wrong_type(path, accepted, actual)),
    }
}

/// A float that has the value of an integer.
fn is_whole(value: ValueRef<'_>) -> bool {
    let ValueRef::Other(Value::Number(number)) = value else {
        return false;
    };
    let whole = number.as_f64().is_some_and(number::is_json_integer);
    whole && !number.is_i64()
}

fn wrong_type(path: &Frame<'_>, expected: &str, actual: &str) -> Complaint {
    let name = path.render();
    Complaint {
        message: format!(
            "{name} in body must be of type {expected}: {}",
            quote(actual)
        ),
        name,
        what: What::Type(actual.into()),
    }
}

fn wrong_format(schema: &Structural, path: &Frame<'_>, text: &str) -> Complaint {
    let format = schema.values.as_ref().and_then(|v| v.format);
    let name = path.render();
    let written = format.map(Format::name).unwrap_or_default();
    Complaint {
        message: format!("{name} in body must be of type {written}: {}", quote(text)),
        name,
        what: What::Type(text.into()),
    }
}

fn string(values: &ValueValidation, text: &str, path: &Frame<'_>, outcome: &mut Outcome) {
    if values.max_length.is_none() && values.min_length.is_none() && values.pattern.is_none() {
        return;
    }
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = values.max_length.filter(|max| length() > *max) {
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should be at most {max} chars long"),
            name,
            what: What::TooLong(max),
        });
        return;
    }
    if let Some(min) = values.min_length.filter(|min| length() < *min) {
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should be at least {min} chars long"),
            name,
            what: What::Invalid(text.into()),
        });
        return;
    }
    if let Some(pattern) = &values.pattern {
        let shown = match pattern.is_match(text) {
            Ok(true) => return,
            Ok(false) => pattern.source().to_owned(),
            Err(error) => format!("{}, but pattern is invalid: {error}", pattern.source()),
        };
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should match '{shown}'"),
            name,
            what: What::Invalid(text.into()),
        });
    }
}

fn enumeration(
    values: Option<&ValueValidation>,
    value: ValueRef<'_>,
    path: &Frame<'_>,
    outcome: &mut Outcome,
) {
    let Some(values) = values.filter(|v| !v.enumeration.is_empty()) else {
        return;
    };
    if values.enumeration.iter().any(|one| is_same(value, one)) {
        return;
    }
    let value = match value {
        ValueRef::Object(object) => Value::Object(object.clone()),
        ValueRef::Other(value) => value.clone(),
    };
    let supported: Vec<String> = values
        .enumeration
        .iter()
        .map(|one| match one {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    let name = path.render();
    outcome.add(Complaint {
        message: format!("{name} in body should be one of [{}]", supported.join(" ")),
        name,
        what: What::NotSupported(value, supported),
    });
}

/// Equal as Go's conversion between numeric types has it; null equals nothing.
fn is_same(value: ValueRef<'_>, one: &Value) -> bool {
    let ValueRef::Other(value) = value else {
        return value == one.into();
    };
    match (value, one) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(a), Value::Number(b)) if a != b => match (a.as_f64(), b.as_i64()) {
            // A float is cut to the integer that it is compared with.
            (Some(float), Some(integer)) if a.is_f64() => number::truncate(float) == Some(integer),
            (Some(float), None) => b.as_f64() == Some(float),
            _ => false,
        },
        (a, b) => a == b,
    }
}

fn list(
    schema: &Structural,
    items: &[Value],
    correlated: Option<Correlated<'_>>,
    path: &Frame<'_>,
    outcome: &mut Outcome,
) {
    if let Some(inner) = &schema.items {
        let correlated = correlated.and_then(Correlated::items);
        for (index, item) in items.iter().enumerate() {
            if outcome.is_full() {
                break;
            }
            let at = Frame::Index(path, index);
            let old = correlated.as_ref().and_then(|c| c.get(index));
            outcome.merge(check(inner, item.into(), old, &at));
        }
    }
    let Some(values) = schema.values.as_deref() else {
        return;
    };
    let size = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(min) = values.min_items.filter(|min| size < *min) {
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should have at least {min} items"),
            name,
            what: What::Invalid(size.into()),
        });
    }
    if let Some(max) = values.max_items.filter(|max| size > *max) {
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should have at most {max} items"),
            name,
            what: What::TooMany(size, max),
        });
    }
    if values.unique_items {
        let repeats = items
            .iter()
            .enumerate()
            .any(|(index, item)| items[..index].contains(item));
        if repeats {
            let name = path.render();
            outcome.add(Complaint {
                message: format!("{name} in body shouldn't contain duplicates"),
                name,
                what: What::Invalid("".into()),
            });
        }
    }
}

fn fields(
    schema: &Structural,
    object: &Map<String, Value>,
    correlated: Option<Correlated<'_>>,
    path: &Frame<'_>,
    outcome: &mut Outcome,
) {
    let values = schema.values.as_deref();
    let size = i64::try_from(object.len()).unwrap_or(i64::MAX);
    if let Some(min) = values
        .and_then(|v| v.min_properties)
        .filter(|min| size < *min)
    {
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should have at least {min} properties"),
            name,
            what: What::Invalid(size.into()),
        });
    }
    if let Some(max) = values
        .and_then(|v| v.max_properties)
        .filter(|max| size > *max)
    {
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should have at most {max} properties"),
            name,
            what: What::TooMany(size, max),
        });
    }
    // Types of the object itself are not seen to change: both sides are of this version.
    let correlate = |name: &str| {
        correlated
            .filter(|_| !(path.is_root() && matches!(name, "apiVersion" | "kind")))
            .and_then(|c| c.key(name))
    };
    match &schema.additional {
        Additional::Unset | Additional::Allows(true) => {}
        Additional::Allows(false) => {
            for key in object.keys().filter(|key| schema.property(key).is_none()) {
                let name = path.render();
                outcome.add(Complaint {
                    message: format!("{name}.{key} in body is a forbidden property"),
                    name,
                    what: What::Invalid(key.as_str().into()),
                });
            }
        }
        Additional::Schema(inner) => {
            for (key, value) in object {
                if schema.property(key).is_none() {
                    let at = Frame::Additional(path, key);
                    outcome.merge(check(inner, value.into(), correlate(key), &at));
                }
            }
        }
    }
    for (key, inner) in &schema.properties {
        if let Some(value) = object.get(&**key) {
            let at = Frame::Property(path, key);
            outcome.merge(check(inner, value.into(), correlate(key), &at));
        }
    }
    for key in values.iter().flat_map(|v| &v.required) {
        if !object.contains_key(&**key) {
            let name = format!("{}.{key}", path.render());
            outcome.add(Complaint {
                message: format!("{name} in body is required"),
                name,
                what: What::Required,
            });
        }
    }
}

/// `anyOf`, `oneOf`, `allOf`, `not`, in this order.
fn alternatives(
    values: &ValueValidation,
    value: ValueRef<'_>,
    path: &Frame<'_>,
    outcome: &mut Outcome,
) {
    // What is in an alternative is not ratcheted by itself: the value is, as a whole.
    let judge = |schema: &SchemaRef| check_here(schema, value, None, path);
    let better = |best: &Option<Outcome>, next: &Outcome| {
        best.as_ref().is_none_or(|best| next.matched > best.matched)
    };
    if !values.any_of.is_empty() {
        let mut best = None;
        let mut success = None;
        for schema in &values.any_of {
            let next = judge(schema);
            if next.is_valid() {
                success = Some(next);
                break;
            }
            if better(&best, &next) {
                best = Some(next);
            }
        }
        match success {
            Some(success) => outcome.merge(success),
            None => {
                outcome.add(Complaint::of_schema(format!(
                    "{} must validate at least one schema (anyOf)",
                    quote(&path.render())
                )));
                best.into_iter().for_each(|best| outcome.merge(best));
            }
        }
    }
    if !values.one_of.is_empty() {
        let mut best = None;
        let mut success = None;
        let mut valid = 0;
        for schema in &values.one_of {
            let next = judge(schema);
            if next.is_valid() {
                valid += 1;
                best = None;
                success.get_or_insert(next);
            } else if valid == 0 && better(&best, &next) {
                best = Some(next);
            }
        }
        if valid == 1 {
            success
                .into_iter()
                .for_each(|success| outcome.merge(success));
        } else {
            let found = match valid {
                0 => "Found none valid".to_owned(),
                n => format!("Found {n} valid alternatives"),
            };
            outcome.add(Complaint::of_schema(format!(
                "{} must validate one and only one schema (oneOf). {found}",
                quote(&path.render())
            )));
            best.into_iter().for_each(|best| outcome.merge(best));
        }
    }
    if !values.all_of.is_empty() {
        let mut valid = 0;
        for schema in &values.all_of {
            let next = judge(schema);
            valid += usize::from(next.is_valid());
            outcome.merge(next);
        }
        if valid != values.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            outcome.add(Complaint::of_schema(format!(
                "{} must validate all the schemas (allOf){none}",
                quote(&path.render())
            )));
        }
    }
    if values
        .not
        .as_ref()
        .is_some_and(|schema| judge(schema).is_valid())
    {
        outcome.add(Complaint::of_schema(format!(
            "{} must not validate the schema (not)",
            quote(&path.render())
        )));
    }
}

#[cfg(test)]
mod tests;
