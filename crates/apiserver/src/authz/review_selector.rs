//! Selectors in access reviews, as a query string would have them.
//!
//! Requirements that cannot be understood are left out, and the review says so: they narrow, and who does not see them decides about more.

use apimachinery::{Object, fields, labels};

use crate::lookup;

/// What a selector comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ReviewSelector {
    /// As a query has it.
    pub(super) text: String,
    /// What to say of it in the review's `evaluationError`.
    pub(super) complaint: Option<String>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Fields,
    Labels,
}

impl Sort {
    fn name(self) -> &'static str {
        match self {
            Self::Fields => "fieldSelector",
            Self::Labels => "labelSelector",
        }
    }

    fn parses(self, text: &str) -> bool {
        match self {
            Self::Fields => fields::Selector::parse(text).is_ok(),
            Self::Labels => labels::Selector::parse(text).is_ok(),
        }
    }

    /// A requirement as text; `None` if it is none of this sort.
    fn term(self, requirement: &Object) -> Option<String> {
        let key = lookup::text(requirement, &["key"]);
        let operator = lookup::text(requirement, &["operator"]);
        let values = lookup::strings(requirement, &["values"]);
        match (self, operator, values.as_slice()) {
            // Fields are compared with one value, or not at all.
            (Self::Fields, "In", [value]) => Some(format!("{key}={}", escaped(value))),
            (Self::Fields, "NotIn", [value]) => Some(format!("{key}!={}", escaped(value))),
            (Self::Fields, ..) => None,
            (Self::Labels, ..) => label_term(key, operator, values),
        }
    }
}

impl ReviewSelector {
    /// Of `spec.resourceAttributes`.
    pub(super) fn of(attributes: &Object, sort: Sort) -> Self {
        let name = sort.name();
        let raw = lookup::text(attributes, &[name, "rawSelector"]);
        let ignored = |how: &str| {
            let where_to = format!("spec.resourceAttributes.{name}");
            Some(format!("{where_to} {how} due to parse error"))
        };
        if !raw.is_empty() {
            return match sort.parses(raw) {
                true => Self {
                    text: raw.to_owned(),
                    complaint: None,
                },
                false => Self {
                    text: String::new(),
                    complaint: ignored("ignored"),
                },
            };
        }
        let requirements: Vec<_> = lookup::objects(attributes, &[name, "requirements"]).collect();
        let terms: Vec<String> = requirements
            .iter()
            .filter_map(|requirement| sort.term(requirement))
            .collect();
        let complaint = match terms.len() {
            all if all == requirements.len() => None,
            0 => ignored("ignored"),
            _ => ignored("partially ignored"),
        };
        Self {
            text: terms.join(","),
            complaint,
        }
    }
}

fn label_term(key: &str, operator: &str, values: Vec<String>) -> Option<String> {
    let (sort, text) = match operator {
        "In" => (
            labels::Operator::In,
            format!("{key} in ({})", values.join(",")),
        ),
        "NotIn" => (
            labels::Operator::NotIn,
            format!("{key} notin ({})", values.join(",")),
        ),
        "Exists" => (labels::Operator::Exists, key.to_owned()),
        "DoesNotExist" => (labels::Operator::DoesNotExist, format!("!{key}")),
        _ => return None,
    };
    // What is no key or no value of a label would be read as something else.
    labels::Requirement::new(key, sort, values).ok()?;
    Some(text)
}

/// A value as field selectors write it.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(sort: Sort, selector: serde_json::Value) -> (String, Option<String>) {
        let attributes = json!({ sort.name(): selector });
        let found = ReviewSelector::of(attributes.as_object().unwrap(), sort);
        (found.text, found.complaint)
    }

    #[test]
    fn what_is_understood_is_asked_and_the_rest_is_said() {
        let requirements = |list: serde_json::Value| json!({"requirements": list});
        let one = json!({"key": "a", "operator": "In", "values": ["x"]});
        let two = json!({"key": "b", "operator": "NotIn", "values": ["y,z=\\"]});
        let odd = json!({"key": "c", "operator": "Exists"});
        assert_eq!(
            of(Sort::Fields, requirements(json!([one, two]))),
            ("a=x,b!=y\\,z\\=\\\\".to_owned(), None)
        );
        assert_eq!(
            of(Sort::Fields, requirements(json!([one, odd]))),
            (
                "a=x".to_owned(),
                Some(
                    "spec.resourceAttributes.fieldSelector partially ignored due to parse error"
                        .to_owned()
                )
            )
        );
        assert_eq!(
            of(Sort::Labels, requirements(json!([one, odd]))),
            ("a in (x),c".to_owned(), None)
        );
        let ignored = |name: &str| {
            let complaint = format!("spec.resourceAttributes.{name} ignored due to parse error");
            (String::new(), Some(complaint))
        };
        assert_eq!(
            of(Sort::Labels, requirements(json!([two]))),
            ignored("labelSelector")
        );
        assert_eq!(
            of(Sort::Labels, json!({"rawSelector": "a in ("})),
            ignored("labelSelector")
        );
        assert_eq!(
            of(Sort::Fields, json!({"rawSelector": "a"})),
            ignored("fieldSelector")
        );
        assert_eq!(
            of(Sort::Labels, json!({"rawSelector": "a,!b"})),
            ("a,!b".to_owned(), None)
        );
    }
}
