//! Quantities as numbers, for comparing them: `500m`, `1Gi`, `2e3`.
//!
//! Decoding keeps a quantity as the text it came as (in canonical form); rules about amounts need its value. Thousandths of
//! thousandths of thousandths are kept exactly, which is as fine as upstream goes.

use std::ops::Add;

use serde_json::Value;

const NANO: i128 = 1_000_000_000;

/// An amount in billionths of the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number of units.
    pub const fn of(units: i64) -> Self {
        Self(units as i128 * NANO)
    }

    /// The value of a quantity, `None` when it is none. Saturates far beyond what upstream can hold.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (numerator, tens) = scale(suffix)?;
        let mut value: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            value = value
                .saturating_mul(10)
                .saturating_add(i128::from(digit - b'0'));
        }
        let exponent = tens + 9 - i32::try_from(fraction.len()).ok()?;
        value = value.saturating_mul(numerator);
        let power = 10_i128
            .checked_pow(exponent.unsigned_abs())
            .unwrap_or(i128::MAX);
        value = if exponent >= 0 {
            value.saturating_mul(power)
        } else {
            // Finer than a billionth is rounded up.
            value / power + i128::from(value % power != 0)
        };
        Some(Self(if negative { -value } else { value }))
    }

    /// Of a field, which may hold a bare number.
    pub fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// Whole units, rounded up.
    pub fn ceil(self) -> i128 {
        self.0.div_euclid(NANO) + i128::from(self.0.rem_euclid(NANO) != 0)
    }

    /// Thousandths, rounded up.
    pub fn ceil_milli(self) -> i128 {
        let milli = NANO / 1000;
        self.0.div_euclid(milli) + i128::from(self.0.rem_euclid(milli) != 0)
    }

    /// Whether it is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.0 % NANO == 0
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// The factor of a suffix: a multiplier and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (
                1,
                exponent
                    .strip_prefix('+')
                    .unwrap_or(exponent)
                    .parse()
                    .ok()?,
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_compare_across_forms() {
        let amount = |s| Amount::parse(s).unwrap();
        assert_eq!(amount("1000m"), amount("1"));
        assert_eq!(amount("1Ki"), Amount::of(1024));
        assert_eq!(amount("2e3"), amount("2k"));
        assert_eq!(amount("0.5"), amount("500m"));
        assert_eq!(amount("0.5Gi"), amount("512Mi"));
        assert!(amount("-1") < Amount::ZERO);
        assert_eq!(amount("1500m").ceil(), 2);
        for bad in ["", "x", "1x", "1.2.3", "."] {
            assert_eq!(Amount::parse(bad), None, "{bad}");
        }
    }
}
