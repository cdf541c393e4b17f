//! `additionalPrinterColumns`: what `kubectl get` shows of a custom object.
//!
//! A cell shows the first value that the column's path leads to, as its type has it; null where there is none. Upstream's `tableconvertor`.

use api::{fields::Fields, printers::human_duration};
use apimachinery::{Object, go, time};
use jiff::Timestamp;
use serde_json::Value;

use crate::jsonpath::JsonPath;

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its heading.
    pub name: Box<str>,
    /// `integer`, `number`, `string`, `boolean`, `date`.
    pub column_type: Box<str>,
    /// `int32`, `byte`, `date-time`, …; empty if not said.
    pub format: Box<str>,
    /// What it means.
    pub description: Box<str>,
    /// 0 for columns that are always shown.
    pub priority: i32,
    path: JsonPath,
}

impl Column {
    /// Those of a version: its own up to the first whose path cannot be read, or the age.
    pub fn all(version: &Object) -> Box<[Self]> {
        let mut own = version.objects("additionalPrinterColumns").peekable();
        if own.peek().is_none() {
            return [Self::age()].into();
        }
        own.map_while(|(_, column)| Self::parse(column)).collect()
    }

    fn parse(column: &Object) -> Option<Self> {
        let path = column.text("jsonPath");
        let description = match column.text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            text => text.to_owned(),
        };
        Some(Self {
            name: column.text("name").into(),
            column_type: column.text("type").into(),
            format: column.text("format").into(),
            description: description.into(),
            priority: column
                .int("priority")
                .and_then(|p| i32::try_from(p).ok())
                .unwrap_or_default(),
            path: JsonPath::parse(path).ok()?,
        })
    }

    fn age() -> Self {
        const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
        Self {
            name: "Age".into(),
            column_type: "date".into(),
            format: "".into(),
            description: CREATED.into(),
            priority: 0,
            path: JsonPath::parse(".metadata.creationTimestamp").unwrap_or_default(),
        }
    }

    /// What it shows of an object.
    pub fn cell(&self, object: &Object, now: Timestamp) -> Value {
        let Ok(found) = self.path.find_in(object) else {
            return Value::Null;
        };
        match found.first() {
            Some(value) => self.show(value, now),
            None => Value::Null,
        }
    }

    fn show(&self, value: &Value, now: Timestamp) -> Value {
        match (&*self.column_type, value) {
            ("string", Value::String(text)) => text.as_str().into(),
            ("string", Value::Null) => "<no value>".into(),
            ("string", Value::Number(n)) if !n.is_i64() => {
                go::float(n.as_f64().unwrap_or_default()).into()
            }
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(n)) => match (n.as_i64(), n.as_f64()) {
                (Some(integer), _) => integer.into(),
                #[expect(clippy::cast_possible_truncation, reason = "as upstream cuts it")]
                (None, Some(float)) => (float as i64).into(),
                _ => Value::Null,
            },
            ("number", Value::Number(n)) => n.as_f64().map_or(Value::Null, number),
            ("boolean", Value::Bool(flag)) => (*flag).into(),
            ("date", Value::String(text)) => date(text, now).into(),
            _ => Value::Null,
        }
    }
}

/// A float as Go writes it in JSON: without a point if it is whole.
fn number(float: f64) -> Value {
    const EXACT: f64 = (1_u64 << 53) as f64;
    if float.fract() == 0.0 && float.abs() <= EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole, and far from the bounds"
        )]
        return (float as i64).into();
    }
    float.into()
}

/// How long ago a time was.
fn date(text: &str, now: Timestamp) -> String {
    if text.is_empty() || text == "null" {
        return "<unknown>".to_owned();
    }
    match time::parse(text) {
        Ok(then) => human_duration(now.as_second() - then.as_second()),
        Err(_) => "<invalid>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells() {
        let version = json!({"additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Ratio", "type": "number", "jsonPath": ".spec.size"},
            {"name": "When", "type": "date", "jsonPath": ".spec.when"},
            {"name": "On", "type": "boolean", "jsonPath": ".spec.on", "priority": 1},
            {"name": "Names", "type": "string", "jsonPath": ".spec.list[*].n"},
            {"name": "List", "type": "string", "jsonPath": ".spec.list"},
            {"name": "Bad", "type": "string", "jsonPath": ".spec.list[9].n"},
            {"name": "Wrong", "type": "integer", "jsonPath": ".spec.when"},
            {"name": "Null", "type": "string", "jsonPath": ".spec.nothing"},
            {"name": "Half", "type": "number", "jsonPath": ".spec.half"},
            {"name": "Unreadable", "type": "string", "jsonPath": ".spec[\"on\"]"},
            {"name": "Behind", "type": "boolean", "jsonPath": ".spec.on"}]});
        let columns = Column::all(version.as_object().unwrap());
        let object = json!({"spec": {"size": 3, "when": "2024-01-01T00:00:00Z", "on": true, "nothing": null, "half": 0.5, "list": [{"n": "x"}, {"n": "y"}]}});
        let now = "2024-01-01T00:01:00Z".parse().unwrap();
        let cells: Vec<Value> = columns
            .iter()
            .map(|c| c.cell(object.as_object().unwrap(), now))
            .collect();
        assert_eq!(
            json!(cells),
            json!([
                3,
                3,
                "60s",
                true,
                "x",
                r#"[{"n":"x"},{"n":"y"}]"#,
                null,
                null,
                "<no value>",
                0.5
            ])
        );
        assert_eq!(
            &*columns[0].description,
            "Custom resource definition column (in JSONPath format): .spec.size"
        );
        let age = Column::all(&Object::new());
        let object = json!({"metadata": {"creationTimestamp": "2024-01-01T00:00:00Z"}});
        assert_eq!(age[0].cell(object.as_object().unwrap(), now), json!("60s"));
    }
}
