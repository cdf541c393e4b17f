//! `resource.Quantity`: `500m`, `1Gi`, `1e3`: exact numbers with the suffix families of upstream.
//!
//! Held as billionths in an `i128`: upstream knows nothing finer (it rounds away from zero). What does not fit has a power of ten beside
//! it, and the first 38 digits count. Upstream caps binary amounts at `i64::MAX` units, and those alone. Printing gives the canonical
//! form: no fraction, the largest suffix that allows so, in the family it was written in. A binary value below 1024, or with a fraction,
//! prints in the decimal family.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    str::FromStr,
};

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// Larger binary amounts become this.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;
/// Billionths from here on are held with a power of ten.
const LARGE: i128 = 10_i128.pow(38);

/// The family of suffixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `n u m k M G T P E`.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// An amount. Equality and order are those of the number, whatever its format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    /// The power of ten that the billionths are to be multiplied by: only of what is [`LARGE`], whose billionths do not end in zero then.
    ten: u32,
    format: Format,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not look like one at all.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The suffix is none.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The number is none.
    #[error("unable to parse numeric part of quantity")]
    Number,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        ten: 0,
        format: Format::DecimalSi,
    };

    /// So many units.
    pub const fn new(units: i64, format: Format) -> Self {
        Self {
            nanos: units as i128 * NANO,
            ten: 0,
            format,
        }
    }

    /// So many thousandths, as CPU is counted.
    pub const fn from_milli(milli: i64) -> Self {
        Self {
            nanos: milli as i128 * (NANO / 1000),
            ten: 0,
            format: Format::DecimalSi,
        }
    }

    /// How it prints.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.nanos.signum() as i32
    }

    /// So many billionths times a power of ten.
    fn of(mut nanos: i128, mut ten: u32, format: Format) -> Self {
        if ten > 0 || nanos.unsigned_abs() >= LARGE.unsigned_abs() {
            while nanos != 0 && nanos % 10 == 0 {
                nanos /= 10;
                ten += 1;
            }
        }
        Self { nanos, ten, format }
    }

    /// Units, rounded away from zero (upstream's `Value()`).
    pub fn value(&self) -> i64 {
        self.counted_in(NANO)
    }

    /// Thousandths, rounded away from zero (upstream's `MilliValue()`).
    pub fn milli_value(&self) -> i64 {
        self.counted_in(NANO / 1000)
    }

    /// How many of so many billionths. Upstream holds a number of few digits as these and a power of ten, and gives nothing when they do
    /// not fit together; of others it gives the bits that fit.
    fn counted_in(&self, unit: i128) -> i64 {
        let count = match self.ten {
            0 => divide_away_from_zero(self.nanos, unit),
            _ => i128::MAX,
        };
        if let Ok(count) = i64::try_from(count) {
            return count;
        }
        let mut digits = self.nanos;
        while digits % 10 == 0 {
            digits /= 10;
        }
        if digits.unsigned_abs() < FEW_DIGITS.unsigned_abs() {
            return 0;
        }
        match self.ten {
            0 => count as i64,
            ten => {
                let places = ten.saturating_sub(unit.ilog10());
                (self.nanos as i64).wrapping_mul(10_i64.wrapping_pow(places))
            }
        }
    }

    /// Units, if it has no fraction and they fit.
    pub fn as_i64(&self) -> Option<i64> {
        (self.ten == 0 && self.nanos % NANO == 0).then(|| clamp(self.nanos / NANO))
    }

    /// As floating point, for ratios.
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64 * 10_f64.powf(f64::from(self.ten))
    }

    /// The sum, with its format taken from the other if this is zero, as upstream adds. Beside what is [`LARGE`] the rest is lost.
    fn sum(self, other: Self) -> Self {
        let format = if self.nanos == 0 {
            other.format
        } else {
            self.format
        };
        if self.ten == 0 && other.ten == 0 {
            return Self::of(self.nanos.saturating_add(other.nanos), 0, format);
        }
        let larger = match self.cmp_size(&other) {
            Ordering::Equal if self.nanos == -other.nanos => Self::ZERO,
            Ordering::Less => other,
            _ => self,
        };
        Self { format, ..larger }
    }

    /// Which is larger, whatever their signs.
    fn cmp_size(&self, other: &Self) -> Ordering {
        let (a, b) = (self.nanos.unsigned_abs(), other.nanos.unsigned_abs());
        if self.ten == other.ten {
            return a.cmp(&b);
        }
        let places =
            |nanos: u128, ten: u32| u64::from(ten) + u64::from(nanos.checked_ilog10().unwrap_or(0));
        // Of as many places, the one with the greater power of ten has fewer digits, which fit when filled up.
        let filled = |nanos: u128, more: u32| nanos.saturating_mul(10_u128.saturating_pow(more));
        places(a, self.ten)
            .cmp(&places(b, other.ten))
            .then_with(|| match self.ten.checked_sub(other.ten) {
                Some(more) => filled(a, more).cmp(&b),
                None => a.cmp(&filled(b, other.ten - self.ten)),
            })
    }
}

/// More zeros than these are not written out: a sum may have the suffixes of one summand and the size of another.
const MAX_ZEROS: u32 = 100;

/// Numbers below have few digits.
const FEW_DIGITS: i128 = 10_i128.pow(18);

impl From<i64> for Quantity {
    fn from(units: i64) -> Self {
        Self::new(units, Format::DecimalSi)
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn divide_away_from_zero(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 {
        quotient
    } else {
        quotient + value.signum()
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        (self.nanos, self.ten) == (other.nanos, other.ten)
    }
}

impl Eq for Quantity {}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.nanos, self.ten).hash(state);
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.ten == other.ten {
            return self.nanos.cmp(&other.nanos);
        }
        let by_sign = self.sign().cmp(&other.sign());
        by_sign.then_with(|| match self.sign() {
            -1 => other.cmp_size(self),
            _ => self.cmp_size(other),
        })
    }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.sum(other)
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.sum(-other)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            nanos: -self.nanos,
            ..self
        }
    }
}

/// The powers of a suffix.
struct Suffix {
    ten: i32,
    two: u32,
    format: Format,
}

fn suffix(text: &str) -> Option<Suffix> {
    let decimal = |ten| {
        Some(Suffix {
            ten,
            two: 0,
            format: Format::DecimalSi,
        })
    };
    let binary = |two| {
        Some(Suffix {
            ten: 0,
            two,
            format: Format::BinarySi,
        })
    };
    match text {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let ten = text.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some(Suffix {
                ten,
                two: 0,
                format: Format::DecimalExponent,
            })
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = rest.split_at(digits(rest));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        let letters = rest
            .bytes()
            .take_while(|b| b"eEinumkKMGTP".contains(b))
            .count();
        let exponent = rest[letters..]
            .strip_prefix(['+', '-'])
            .unwrap_or(&rest[letters..]);
        if digits(exponent) != exponent.len() {
            return Err(QuantityError::Format);
        }
        let suffix = suffix(rest).ok_or(QuantityError::Suffix)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Number);
        }
        let (nanos, ten) = nanos(whole, fraction, &suffix);
        let nanos = if negative { -nanos } else { nanos };
        Ok(Self::of(nanos, ten, suffix.format))
    }
}

/// `whole.fraction` times the suffix, in billionths, rounded up, and a power of ten where they are too many.
fn nanos(whole: &str, fraction: &str, suffix: &Suffix) -> (i128, u32) {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if suffix.two > 0 {
        (binary_nanos(whole, fraction, suffix.two), 0)
    } else {
        decimal_nanos(whole, fraction, suffix.ten)
    }
}

/// Times a power of ten: the point moves, and what stands behind the billionths rounds up.
fn decimal_nanos(whole: &str, fraction: &str, ten: i32) -> (i128, u32) {
    let mut digits = whole.bytes().chain(fraction.bytes());
    let mut places = whole.len() as i64 + i64::from(ten) + 9;
    let mut sum = 0i128;
    while places > 0 {
        match digits.next() {
            Some(digit) => sum = sum * 10 + i128::from(digit - b'0'),
            None if sum == 0 => return (0, 0),
            None => sum *= 10,
        }
        places -= 1;
        if sum >= LARGE / 10 && places > 0 {
            return (sum, u32::try_from(places).unwrap_or(u32::MAX));
        }
    }
    let rounded = i128::from(places == 0 && digits.any(|digit| digit != b'0'))
        + i128::from(places < 0 && !(whole.is_empty() && fraction.is_empty()));
    (sum + rounded, 0)
}

/// Times a power of two, at most 2^60. Of the fraction twenty digits count, what is behind them rounds up.
fn binary_nanos(whole: &str, fraction: &str, two: u32) -> i128 {
    const TEN_DIGITS: i128 = 10_i128.pow(10);
    let factor = NANO << two;
    let Some(whole) = read_digits(whole).and_then(|whole| whole.checked_mul(factor)) else {
        return MAX_BINARY;
    };
    if fraction.is_empty() {
        return whole.min(MAX_BINARY);
    }
    let digits = |from: usize| {
        let digits = fraction.get(from.min(fraction.len())..).unwrap_or("");
        let digits = digits.get(..10).unwrap_or(digits);
        format!("{digits:0<10}").parse().unwrap_or(0_i128)
    };
    let (first, second) = (digits(0) * factor, digits(10) * factor);
    let behind = second + first % TEN_DIGITS * TEN_DIGITS;
    let rounded = divide_away_from_zero(behind, TEN_DIGITS * TEN_DIGITS);
    let lost = i128::from(fraction.len() > 20);
    whole
        .saturating_add(first / TEN_DIGITS + rounded + lost)
        .min(MAX_BINARY)
}

/// A number of digits; none if it is far too large.
fn read_digits(digits: &str) -> Option<i128> {
    digits.bytes().try_fold(0i128, |sum, digit| {
        sum.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
    })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.nanos % NANO == 0 {
            let mut amount = self.nanos / NANO;
            let mut power = 0;
            while amount % 1024 == 0 && power < 6 {
                amount /= 1024;
                power += 1;
            }
            return write!(
                f,
                "{amount}{}",
                ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]
            );
        }
        const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        let is_exponent = self.format == Format::DecimalExponent || self.ten > MAX_ZEROS;
        let mut amount = self.nanos;
        let mut power = 0;
        while amount % 1000 == 0 && (is_exponent || power < SUFFIXES.len() - 1) {
            amount /= 1000;
            power += 1;
        }
        // What has a power of ten of its own takes as much of it as the next step down allows, and the rest as zeros.
        let ten = usize::try_from(self.ten).unwrap_or(usize::MAX);
        let steps = match is_exponent {
            true => ten / 3,
            false => (ten / 3).min(SUFFIXES.len() - 1 - power),
        };
        let zeros = ten - steps * 3;
        power += steps;
        write!(f, "{amount}{:0<zeros$}", "")?;
        match is_exponent {
            true if power == 3 => Ok(()),
            true => write!(f, "e{}", (power as i64 - 3) * 3),
            false => f.write_str(SUFFIXES[power]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().unwrap().to_string()
    }

    #[test]
    fn canonical_forms() {
        let cases = [
            ("0", "0"),
            ("0Mi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("1000", "1k"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("0.0000000001", "1n"),
            (
                "111111111111111111004004441n",
                "111111111111111111004004441n",
            ),
            (
                "123456789012345678901234567890n",
                "123456789012345678901234567890n",
            ),
            ("0.000000000000000000000000000001e30", "1"),
            ("1e-30", "1e-9"),
            ("0e2147483647", "0"),
            ("1e2147483647", "10e2147483646"),
            ("0.00000000000000000001Ei", "11529216n"),
            ("1.1Ei", "1268213655067531673600m"),
            ("0.5Ki", "512"),
            ("0.0001Ki", "102400u"),
            ("1024", "1024"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("100Ki", "100Ki"),
            ("1e3", "1e3"),
            ("12e1", "120"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("9223372036854775808", "9223372036854775808"),
            ("12345678901234567890", "12345678901234567890"),
            ("123456789012345678e5", "12345678901234567800e3"),
            ("1234567890123456789e5", "123456789012345678900e3"),
            ("-1234567890123456789000", "-1234567890123456789k"),
            ("123456789012345678E", "123456789012345678E"),
            ("1e100", "10e99"),
            ("-1e100", "-10e99"),
            ("1.5e30", "1500e27"),
            ("0.000000001e40", "10e30"),
            ("1e19", "10e18"),
            ("10000P", "10E"),
            ("16Ei", "9223372036854775807"),
            ("1e40", "10e39"),
            (".5", "500m"),
            ("5.", "5"),
            ("+1", "1"),
            ("-1.5", "-1500m"),
            ("1.00000000000000000000001", "1000000001n"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text), expected, "{text}");
        }
        // Many decimals beside a power of two do not overflow.
        assert_eq!(
            "0.3333333333333333333333Gi"
                .parse::<Quantity>()
                .unwrap()
                .value(),
            357_913_942
        );
    }

    #[test]
    fn what_is_large_keeps_its_order() {
        let ordered = [
            "-1e101",
            "-11e99",
            "-1e100",
            "-1e30",
            "-1",
            "0",
            "1",
            "16Ei",
            "1e30",
            "1e100",
            "11e99",
            "123456789e93",
            "1e2147483647",
        ];
        let parsed = ordered.map(|text| text.parse::<Quantity>().unwrap());
        assert!(parsed.is_sorted_by(|a, b| a < b));
        let [a, b, c] = ["10e99", "1e100", "100e98"].map(|t| t.parse::<Quantity>().unwrap());
        assert!(a == b && b == c);
        assert_eq!((a - b).to_string(), "0");
        assert_eq!((a + Quantity::from(1)).to_string(), "10e99");
        let largest: Quantity = "1e2147483647".parse().unwrap();
        assert_eq!((Quantity::from(1) + largest).to_string(), "10e2147483646");
    }

    #[test]
    fn what_does_not_fit_is_nothing_or_its_last_bits() {
        for (text, milli_value) in [
            ("1e100", 0),
            ("9e18", 0),
            ("9223372036854775807", -1000),
            ("9223372036854775808", 0),
            ("16Ei", -1000),
        ] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.milli_value(), milli_value, "{text}");
        }
        let long: Quantity = "1234567890123456789e5".parse().unwrap();
        assert_ne!(long.milli_value() % 1000, 0);
        assert_eq!("1e100".parse::<Quantity>().unwrap().value(), 0);
    }

    #[test]
    fn errors_are_those_of_upstream() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("true", QuantityError::Format),
            ("1 ", QuantityError::Format),
            ("1mm", QuantityError::Suffix),
            ("1ki", QuantityError::Suffix),
            ("m", QuantityError::Number),
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn values_round_away_from_zero() {
        let q: Quantity = "1500m".parse().unwrap();
        assert_eq!((q.value(), q.milli_value(), q.as_i64()), (2, 1500, None));
        assert_eq!((-q).value(), -2);
        let sum = Quantity::ZERO + "1Gi".parse().unwrap() + "1Mi".parse().unwrap();
        assert_eq!(sum.to_string(), "1025Mi");
    }

    proptest! {
        #[test]
        fn printing_keeps_the_value(number in -1_000_000_000i64..1_000_000_000, suffix in "n|u|m||k|M|G|Ki|Mi|Gi|e3|e-3") {
            let q: Quantity = format!("{number}{suffix}").parse().unwrap();
            let back: Quantity = q.to_string().parse().unwrap();
            prop_assert_eq!(q, back);
            prop_assert_eq!(q.to_string(), back.to_string());
        }

        #[test]
        fn never_panics(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,4}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
