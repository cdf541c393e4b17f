//! Bounds, multiples and ranges of numbers.
//!
//! Bounds are floats in the schema; integers are compared with their whole part, as upstream does. Where the declared type cannot hold a value or a
//! bound, upstream says so in a complaint that names no field.

use serde_json::{Number, Value};

use super::{Complaint, Frame, Outcome, What};
use crate::{
    format::Format,
    schema::{JsonType, Structural},
};

/// Judges a number by the keywords for numbers.
pub(super) fn check(schema: &Structural, number: &Number, path: &Frame<'_>, outcome: &mut Outcome) {
    let format = schema.values.as_ref().and_then(|v| v.format);
    let json_type = if schema.int_or_string {
        JsonType::Unset
    } else {
        schema.json_type
    };
    let value = Native::of(number);
    let in_range = |what: &str, value: Native, outcome: &mut Outcome| {
        let fits = fits(value, json_type, format);
        if !fits {
            let range = match format {
                Some(format) => format!("{} with format {}", json_type.name(), format.name()),
                None => format!("{} (default format)", json_type.name()),
            };
            outcome.add(Complaint::of_schema(format!(
                "{what} value must be of type {range} in {}",
                path.render()
            )));
        }
        fits
    };
    in_range("Checked", value, outcome);
    let Some(values) = schema.values.as_deref() else {
        return;
    };
    let complain = |outcome: &mut Outcome, shown: Native, words: &str, bound: Native| {
        let name = path.render();
        outcome.add(Complaint {
            message: format!("{name} in body should be {words} {bound}"),
            name,
            what: What::Invalid(shown.into()),
        });
    };
    if let Some(factor) = values.multiple_of {
        let whole = in_range("MultipleOf", Native::Float(factor), outcome);
        let value = if whole { value } else { value.as_float() };
        let factor = value.like(factor);
        if !factor.is_positive() {
            let name = path.render();
            outcome.add(Complaint {
                message: format!(
                    "factor MultipleOf declared for {name} must be positive: {factor}"
                ),
                name,
                what: What::Invalid(factor.into()),
            });
        } else if !value.is_multiple_of(factor) {
            complain(outcome, value, "a multiple of", factor);
        }
    }
    // Upstream gathers complaints in the order multiple, minimum, maximum, whatever order it finds them in.
    if let Some(min) = values.minimum {
        let whole = in_range("Minimum boundary", Native::Float(min), outcome);
        let value = if whole { value } else { value.as_float() };
        let min = value.like(min);
        if value.is_less(min) || (values.exclusive_minimum && value == min) {
            let words = if values.exclusive_minimum {
                "greater than"
            } else {
                "greater than or equal to"
            };
            complain(outcome, value, words, min);
        }
    }
    if let Some(max) = values.maximum {
        let whole = in_range("Maximum boundary", Native::Float(max), outcome);
        let value = if whole { value } else { value.as_float() };
        let max = value.like(max);
        if max.is_less(value) || (values.exclusive_maximum && value == max) {
            let words = if values.exclusive_maximum {
                "less than"
            } else {
                "less than or equal to"
            };
            complain(outcome, value, words, max);
        }
    }
}

/// A number as Go's JSON decoder has it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Native {
    Integer(i64),
    Float(f64),
}

impl Native {
    fn of(number: &Number) -> Self {
        match number.as_i64() {
            Some(integer) => Self::Integer(integer),
            None => Self::Float(number.as_f64().unwrap_or(f64::INFINITY)),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as upstream compares")]
    fn as_float(self) -> Self {
        match self {
            Self::Integer(integer) => Self::Float(integer as f64),
            float => float,
        }
    }

    /// A bound in the type of this value.
    fn like(self, bound: f64) -> Self {
        match self {
            Self::Integer(_) => Self::Integer(truncate(bound).unwrap_or(if bound < 0.0 {
                i64::MIN
            } else {
                i64::MAX
            })),
            Self::Float(_) => Self::Float(bound),
        }
    }

    fn is_less(self, other: Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a < b,
            (Self::Float(a), Self::Float(b)) => a < b,
            _ => false,
        }
    }

    fn is_positive(self) -> bool {
        match self {
            Self::Integer(integer) => integer > 0,
            Self::Float(float) => float > 0.0,
        }
    }

    fn is_multiple_of(self, factor: Self) -> bool {
        match (self, factor) {
            (Self::Integer(a), Self::Integer(b)) => a % b == 0,
            (Self::Float(a), Self::Float(b)) if b < 1.0 => is_json_integer(1.0 / b * a),
            (Self::Float(a), Self::Float(b)) => is_json_integer(a / b),
            _ => false,
        }
    }
}

impl std::fmt::Display for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => f.write_str(&apimachinery::go::float(*float)),
        }
    }
}

impl From<Native> for Value {
    fn from(native: Native) -> Self {
        match native {
            Native::Integer(integer) => integer.into(),
            Native::Float(float) => float.into(),
        }
    }
}

/// Whether the declared type can hold a value.
fn fits(value: Native, json_type: JsonType, format: Option<Format>) -> bool {
    match (json_type, format) {
        (JsonType::Integer, Some(Format::Int32)) => match value {
            Native::Integer(integer) => i32::try_from(integer).is_ok(),
            Native::Float(float) => {
                is_written_whole(float)
                    && i32::try_from(truncate(float).unwrap_or(i64::MAX)).is_ok()
            }
        },
        (JsonType::Integer, _) => match value {
            Native::Integer(_) => true,
            Native::Float(float) => is_written_whole(float),
        },
        (JsonType::Number, Some(Format::Float)) => match value.as_float() {
            Native::Float(float) => float.abs() <= f64::from(f32::MAX),
            Native::Integer(_) => true,
        },
        _ => true,
    }
}

/// Whether Go writes a float without fraction, within 64 bits.
fn is_written_whole(float: f64) -> bool {
    float.fract() == 0.0 && truncate(float).is_some()
}

/// The whole part, if it is within 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub(super) fn truncate(float: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (-LIMIT..LIMIT).contains(&float).then_some(float as i64)
}

/// Whether a float is an integer to JSON: whole within rounding, and exact.
pub(super) fn is_json_integer(float: f64) -> bool {
    const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
    const EPSILON: f64 = 1e-9;
    if !float.is_finite() || float.abs() > MAX_SAFE {
        return false;
    }
    let whole = float.trunc();
    let difference = (float - whole).abs();
    if float == whole {
        true
    } else if whole == 0.0 || float == 0.0 {
        difference < EPSILON * f64::MIN_POSITIVE
    } else {
        difference / (float.abs() + whole.abs()) < EPSILON
    }
}
