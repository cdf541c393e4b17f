//! Complaints and how they gather.

use std::collections::HashSet;

use apimachinery::field::{ErrorType, FieldError, Path};
use serde_json::Value;

/// What sort a complaint is, with the value that it shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A wrong type or format; shows the actual type, or the text.
    Type(Value),
    /// `required`.
    Required,
    /// `enum`: the value, and what it might be.
    NotSupported(Value, Vec<String>),
    /// `maxLength`.
    TooLong(i64),
    /// `maxItems`, `maxProperties`: how many there are, and may be.
    TooMany(i64, i64),
    /// Anything else about a value.
    Invalid(Value),
    /// About no field: upstream's alternatives and ranges know the path in their text alone.
    Schema,
}

/// One.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Complaint {
    /// The field, from the value that was validated on.
    pub(super) name: String,
    /// What sort.
    pub(super) what: What,
    /// In words; tells complaints apart.
    pub(super) message: String,
}

impl Complaint {
    /// One that names no field.
    pub(super) fn of_schema(message: String) -> Self {
        Self {
            name: String::new(),
            what: What::Schema,
            message,
        }
    }

    /// As it is told to clients.
    pub(super) fn into_field_error(self, root: &Path) -> FieldError {
        let name = self.name.strip_prefix('.').unwrap_or(&self.name);
        let field = if name.is_empty() || self.what == What::Schema {
            root.clone()
        } else {
            root.child(name)
        };
        match self.what {
            What::Type(value) => FieldError::type_invalid(&field, value, self.message),
            What::Required => FieldError::required(&field, ""),
            What::NotSupported(value, supported) => {
                let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
                FieldError::not_supported(&field, value, &supported)
            }
            What::TooLong(max) => match usize::try_from(max) {
                Ok(max) => FieldError::too_long(&field, max),
                Err(_) => FieldError {
                    kind: ErrorType::TooLong,
                    field,
                    bad_value: None,
                    detail: "value is too long".to_owned(),
                },
            },
            What::TooMany(actual, max) => FieldError {
                kind: ErrorType::TooMany,
                field,
                bad_value: Some(actual.into()),
                detail: match max {
                    1 => "must have at most 1 item".to_owned(),
                    max if max < 0 => "has too many items".to_owned(),
                    max => format!("must have at most {max} items"),
                },
            },
            What::Invalid(value) => FieldError::invalid(&field, value, self.message),
            What::Schema => FieldError::invalid(&field, "", self.message),
        }
    }
}

/// So many complaints are told of one object: more would only tire, and the body of an answer is bounded.
const MAX_COMPLAINTS: usize = 10_000;

/// What came of judging a value.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// In the order found.
    pub(super) complaints: Vec<Complaint>,
    /// How many checks were made and passed, as upstream counts them: the alternative with most of them speaks for all.
    pub(super) matched: usize,
}

impl Outcome {
    pub(super) fn is_valid(&self) -> bool {
        self.complaints.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.complaints.len() >= MAX_COMPLAINTS
    }

    pub(super) fn add(&mut self, complaint: Complaint) {
        if !self.is_full() {
            self.complaints.push(complaint);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.matched += other.matched;
        if self.complaints.is_empty() {
            self.complaints = other.complaints;
        } else {
            other.complaints.into_iter().for_each(|c| self.add(c));
        }
    }

    /// Each message once: alternatives repeat what was said without them.
    pub(super) fn into_complaints(mut self) -> Vec<Complaint> {
        let mut seen = HashSet::new();
        let first: Vec<bool> = self
            .complaints
            .iter()
            .map(|c| seen.insert(c.message.as_str()))
            .collect();
        let mut first = first.into_iter();
        self.complaints.retain(|_| first.next().unwrap_or(false));
        self.complaints
    }
}
