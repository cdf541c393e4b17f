//! `IntOrString`: a number, or a text such as `25%` or the name of a port.

use serde_json::Value;

/// One of the two, as it stands in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrString<'a> {
    /// A number.
    Int(i32),
    /// A text.
    String(&'a str),
}

impl<'a> IntOrString<'a> {
    /// Reads one; nothing else than a number or a text is one.
    pub fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Number(number) => i32::try_from(number.as_i64()?).ok().map(Self::Int),
            Value::String(text) => Some(Self::String(text)),
            _ => None,
        }
    }

    /// The number, or the percentage of `total`, rounded as asked.
    ///
    /// # Errors
    /// As upstream words them, for a text that is no percentage.
    pub fn scaled(self, total: i64, round_up: bool) -> Result<i64, String> {
        match self {
            Self::Int(number) => Ok(i64::from(number)),
            Self::String(text) => {
                let Some(number) = text.strip_suffix('%') else {
                    return Err(
                        "invalid value for IntOrString: invalid type: string is not a percentage"
                            .to_owned(),
                    );
                };
                let percent: i64 = number.parse().map_err(|_| {
                    format!("invalid value for IntOrString: invalid value {text:?}: strconv.Atoi: parsing {number:?}: invalid syntax")
                })?;
                let product = i128::from(percent) * i128::from(total);
                let quotient = product.div_euclid(100);
                let up = round_up && product.rem_euclid(100) != 0;
                i64::try_from(quotient + i128::from(up))
                    .map_err(|_| "value out of range".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_of_a_total() {
        assert_eq!(IntOrString::Int(3).scaled(10, true), Ok(3));
        assert_eq!(IntOrString::String("25%").scaled(10, true), Ok(3));
        assert_eq!(IntOrString::String("25%").scaled(10, false), Ok(2));
        assert!(IntOrString::String("25").scaled(10, false).is_err());
    }
}
