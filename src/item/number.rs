//! Exact decimal numbers (values-and-keys.md section 2).

use std::cmp::Ordering;
use std::fmt;

/// Significant decimal digits a number may have.
pub const DIGITS_MAX: u32 = 38;
/// The largest power of ten of a leading digit.
const ADJUSTED_MAX: i64 = 125;
/// The smallest power of ten of a leading digit.
const ADJUSTED_MIN: i64 = -130;
/// Bytes of [`Number::to_sort_bytes`].
pub const SORT_BYTES: usize = 18;

/// An exact decimal of up to 38 significant digits: `coefficient × 10^exponent`.
///
/// Always normalised (the coefficient does not end in a zero digit; zero is `+0 × 10^0`), so that
/// equality and hashing of the fields are equality and hashing of the numbers: `1000`, `1e3` and
/// `+1000.0` are one key, one set element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    coefficient: u128,
    exponent: i16,
    negative: bool,
}

/// Why a text or a sum is not a number. `Display` is DynamoDB's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("The parameter cannot be converted to a numeric value")]
    Empty,
    #[error("The parameter cannot be converted to a numeric value: {0}")]
    NotANumber(String),
    /// Also the answer to a sum that needs more than 38 digits.
    #[error(
        "Number overflow. Attempting to store a number with magnitude larger than supported range"
    )]
    Overflow,
    #[error(
        "Number underflow. Attempting to store a number with magnitude smaller than supported range"
    )]
    Underflow,
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooManyDigits,
}

impl Number {
    pub const ZERO: Number = Number {
        coefficient: 0,
        exponent: 0,
        negative: false,
    };

    /// Reads the wire form of a number. Leading and trailing zeros never count as digits, and the range
    /// is judged on the power of ten of the first digit that is not zero.
    pub fn parse(text: &str) -> Result<Number, NumberError> {
        if text.is_empty() {
            return Err(NumberError::Empty);
        }
        let literal = Literal::scan(text.as_bytes());
        let literal = literal.ok_or_else(|| NumberError::NotANumber(text.to_owned()))?;
        let mut coefficient = 0u128;
        let mut taken = 0i64;
        let mut leading = 0i64;
        let mut exact = true;
        for byte in literal.whole.iter().chain(literal.fraction) {
            let digit = u128::from(byte.wrapping_sub(b'0'));
            if taken == 0 && digit == 0 {
                leading = leading.saturating_add(1);
            } else if taken < i64::from(DIGITS_MAX) {
                coefficient = coefficient * 10 + digit;
                taken += 1;
            } else if digit != 0 {
                exact = false;
            }
        }
        if taken == 0 {
            return Ok(Number::ZERO);
        }
        let point = i64::try_from(literal.whole.len()).unwrap_or(i64::MAX);
        let adjusted = literal
            .exponent
            .saturating_add(point)
            .saturating_sub(leading)
            .saturating_sub(1);
        if adjusted > ADJUSTED_MAX {
            return Err(NumberError::Overflow);
        }
        if adjusted < ADJUSTED_MIN {
            return Err(NumberError::Underflow);
        }
        if !exact {
            return Err(NumberError::TooManyDigits);
        }
        Number::normalised(literal.negative, coefficient, adjusted - (taken - 1))
    }

    /// The number with these parts, or the error of an arithmetic result that does not fit.
    fn normalised(negative: bool, coefficient: u128, exponent: i64) -> Result<Number, NumberError> {
        if coefficient == 0 {
            return Ok(Number::ZERO);
        }
        let (coefficient, exponent) = trim(coefficient, exponent);
        let adjusted = exponent.saturating_add(i64::from(digits(coefficient)) - 1);
        if digits(coefficient) > DIGITS_MAX || adjusted > ADJUSTED_MAX {
            return Err(NumberError::Overflow);
        }
        if adjusted < ADJUSTED_MIN {
            return Err(NumberError::Underflow);
        }
        let exponent = i16::try_from(exponent).map_err(|_| NumberError::Overflow)?;
        Ok(Number {
            coefficient,
            exponent,
            negative,
        })
    }

    /// The number with exactly these parts; `None` when they are not a number's normalised parts.
    pub(crate) fn from_parts(negative: bool, coefficient: u128, exponent: i16) -> Option<Number> {
        let number = Number::normalised(negative, coefficient, i64::from(exponent)).ok()?;
        (number
            == Number {
                coefficient,
                exponent,
                negative,
            })
        .then_some(number)
    }

    pub fn is_zero(self) -> bool {
        self.coefficient == 0
    }

    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// The significant digits as an integer; never ends in a zero digit.
    pub fn coefficient(self) -> u128 {
        self.coefficient
    }

    /// The power of ten of the coefficient's last digit.
    pub fn exponent(self) -> i16 {
        self.exponent
    }

    /// Number of significant digits; 0 for zero.
    pub fn digits(self) -> u32 {
        digits(self.coefficient)
    }

    /// The power of ten of the first digit.
    fn adjusted(self) -> i64 {
        i64::from(self.exponent) + i64::from(self.digits()) - 1
    }

    /// The coefficient with zeros appended up to 38 digits: comparable between equal `adjusted`.
    fn scaled(self) -> u128 {
        self.coefficient * 10u128.pow(DIGITS_MAX.saturating_sub(self.digits()))
    }

    /// The exact sum; overflow when it needs more than 38 digits.
    pub fn checked_add(self, other: Number) -> Result<Number, NumberError> {
        if self.is_zero() {
            return Ok(other);
        }
        if other.is_zero() {
            return Ok(self);
        }
        let (high, low) = if self.exponent >= other.exponent {
            (self, other)
        } else {
            (other, self)
        };
        // Where `high` does not fit at the scale of `low`, the sum spans more than 38 digits: `low` ends
        // in a digit that is not zero, and is too small to shorten the sum by borrowing.
        let shift = u32::from(high.exponent.abs_diff(low.exponent));
        let power = 10u128.checked_pow(shift).ok_or(NumberError::Overflow)?;
        let aligned = high
            .coefficient
            .checked_mul(power)
            .ok_or(NumberError::Overflow)?;
        let exponent = i64::from(low.exponent);
        if high.negative == low.negative {
            let sum = aligned
                .checked_add(low.coefficient)
                .ok_or(NumberError::Overflow)?;
            return Number::normalised(high.negative, sum, exponent);
        }
        let negative = if aligned >= low.coefficient {
            high.negative
        } else {
            low.negative
        };
        Number::normalised(negative, aligned.abs_diff(low.coefficient), exponent)
    }

    /// The exact difference; overflow when it needs more than 38 digits.
    pub fn checked_sub(self, other: Number) -> Result<Number, NumberError> {
        self.checked_add(other.negated())
    }

    fn negated(self) -> Number {
        Number {
            negative: !self.negative && !self.is_zero(),
            ..self
        }
    }

    /// The integer part; `None` when it does not fit.
    pub fn to_i64(self) -> Option<i64> {
        let shift = u32::from(self.exponent.unsigned_abs());
        let magnitude = if self.exponent >= 0 {
            self.coefficient.checked_mul(10u128.checked_pow(shift)?)?
        } else {
            10u128
                .checked_pow(shift)
                .map_or(0, |power| self.coefficient / power)
        };
        let magnitude = i128::try_from(magnitude).ok()?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Fixed-length bytes whose order is the order of the numbers: a class byte, the power of ten of the
    /// first digit, the digits scaled to 38; a negative number is the complement of its magnitude.
    pub fn to_sort_bytes(self) -> [u8; SORT_BYTES] {
        let mut bytes = [0u8; SORT_BYTES];
        let (class, rest) = bytes.split_at_mut(1);
        let (exponent, coefficient) = rest.split_at_mut(1);
        if self.is_zero() {
            class.fill(0x80);
            return bytes;
        }
        let adjusted = u8::try_from(self.adjusted() - ADJUSTED_MIN);
        assert!(adjusted.is_ok(), "a number outside the range exists");
        class.fill(0xC0);
        exponent.fill(adjusted.unwrap_or(u8::MAX));
        coefficient.copy_from_slice(&self.scaled().to_be_bytes());
        if self.negative {
            bytes.iter_mut().for_each(|b| *b = !*b);
        }
        bytes
    }

    /// The number of [`Number::to_sort_bytes`]; `None` for bytes that no number has.
    pub fn from_sort_bytes(bytes: &[u8]) -> Option<Number> {
        let mut bytes: [u8; SORT_BYTES] = bytes.try_into().ok()?;
        let negative = bytes.first()? & 0x80 == 0;
        if negative {
            bytes.iter_mut().for_each(|b| *b = !*b);
        }
        let (head, coefficient) = bytes.split_at(2);
        let scaled = u128::from_be_bytes(coefficient.try_into().ok()?);
        let number = match *head {
            [0x80, 0] if scaled == 0 && !negative => return Some(Number::ZERO),
            [0xC0, exponent] if digits(scaled) == DIGITS_MAX => {
                let adjusted = i64::from(exponent) + ADJUSTED_MIN;
                Number::normalised(negative, scaled, adjusted - i64::from(DIGITS_MAX - 1)).ok()?
            }
            _ => return None,
        };
        Some(number)
    }
}

/// The parts of a number's text.
struct Literal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Literal<'a> {
    /// `None` when the text does not follow the grammar.
    fn scan(text: &'a [u8]) -> Option<Literal<'a>> {
        let (negative, rest) = sign(text);
        let (whole, mut rest) = leading_digits(rest);
        let mut fraction: &[u8] = &[];
        if let Some(after) = rest.strip_prefix(b".") {
            (fraction, rest) = leading_digits(after);
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut exponent = 0i64;
        if let Some(after) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
            let (minus, after) = sign(after);
            let (power, after) = leading_digits(after);
            if power.is_empty() {
                return None;
            }
            for byte in power {
                let digit = i64::from(byte.wrapping_sub(b'0'));
                exponent = exponent.saturating_mul(10).saturating_add(digit);
            }
            exponent = if minus { -exponent } else { exponent };
            rest = after;
        }
        rest.is_empty().then_some(Literal {
            negative,
            whole,
            fraction,
            exponent,
        })
    }
}

/// Whether the text begins with a minus, and what follows its sign if it has one.
fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn digits(coefficient: u128) -> u32 {
    coefficient.checked_ilog10().map_or(0, |log| log + 1)
}

/// Moves trailing zero digits into the exponent. The coefficient is not zero.
fn trim(mut coefficient: u128, mut exponent: i64) -> (u128, i64) {
    assert!(coefficient != 0, "zero has no digits to trim to");
    if let Ok(mut small) = u64::try_from(coefficient) {
        // The common case: 64-bit divisions are many times faster.
        while small.is_multiple_of(10) {
            small /= 10;
            exponent += 1;
        }
        return (u128::from(small), exponent);
    }
    while coefficient.is_multiple_of(10) {
        coefficient /= 10;
        exponent += 1;
    }
    (coefficient, exponent)
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        if value == 0 {
            return Number::ZERO;
        }
        let (coefficient, exponent) = trim(u128::from(value.unsigned_abs()), 0);
        // 19 digits at most, so the exponent is at most 18.
        let exponent = i16::try_from(exponent).unwrap_or(i16::MAX);
        Number {
            coefficient,
            exponent,
            negative: value < 0,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        let class = |n: &Number| match (n.is_zero(), n.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        class(self).cmp(&class(other)).then_with(|| {
            let magnitude =
                (self.adjusted(), self.scaled()).cmp(&(other.adjusted(), other.scaled()));
            if self.negative {
                magnitude.reverse()
            } else {
                magnitude
            }
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The canonical form of the wire: plain decimal, no exponent, no needless zeros.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let shift = usize::from(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            return write!(f, "{}{:0<shift$}", self.coefficient, "");
        }
        let digits = usize::try_from(self.digits()).unwrap_or_default();
        if shift >= digits {
            return write!(f, "0.{:0>shift$}", self.coefficient);
        }
        let power = 10u128.pow(u32::from(self.exponent.unsigned_abs()));
        write!(
            f,
            "{}.{:0>shift$}",
            self.coefficient / power,
            self.coefficient % power
        )
    }
}

#[cfg(test)]
pub(crate) mod tests;
