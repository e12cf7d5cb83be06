//! `$bitsAllSet`, `$bitsAllClear`, `$bitsAnySet`, `$bitsAnyClear`.

use bson::RawBsonRef;

use crate::{
    decimal::Decimal,
    error::{ErrorCode, QueryError},
    number::Number,
    path::elements,
};

/// Which of the four tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BitQuestion {
    AllSet,
    AllClear,
    AnySet,
    AnyClear,
}

/// A test of some bits of a number or of binary data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BitTest {
    question: BitQuestion,
    mask: Mask,
}

/// The bits asked about; bit 0 is the lowest of the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mask {
    Bytes(Vec<u8>),
    Positions(Vec<u32>),
}

/// The bits of a value: a number is extended by its sign, binary data by zeros.
enum Bits<'a> {
    Number(i64),
    Binary(&'a [u8]),
}

impl BitTest {
    /// Reads the operand of the operator: a whole number, a list of positions, or binary data.
    ///
    /// # Errors
    /// `FailedToParse` for a number that is negative, fractional or too large, `BadValue` for anything else.
    pub(crate) fn parse(
        question: BitQuestion,
        name: &str,
        operand: RawBsonRef<'_>,
    ) -> Result<Self, QueryError> {
        let mask = match operand {
            RawBsonRef::Array(list) => {
                let mut positions = Vec::new();
                for member in elements(list) {
                    let position = Number::from_raw(member)
                        .and_then(Number::to_i64_exact)
                        .and_then(|position| i32::try_from(position).ok())
                        .and_then(|position| u32::try_from(position).ok());
                    positions.push(position.ok_or_else(|| {
                        QueryError::bad_value(format!(
                            "{name} takes bit positions that are whole numbers from 0 on"
                        ))
                    })?);
                }
                Mask::Positions(positions)
            }
            RawBsonRef::Binary(binary) => Mask::Bytes(binary.bytes.to_vec()),
            other => match Number::from_raw(other) {
                Some(number) => match number.to_i64_exact() {
                    Some(mask) if mask >= 0 => Mask::Bytes(mask.to_le_bytes().to_vec()),
                    _ => {
                        return Err(QueryError::new(
                            ErrorCode::FAILED_TO_PARSE,
                            format!("{name} takes a whole number from 0 on within 64 bits"),
                        ));
                    }
                },
                None => {
                    return Err(QueryError::bad_value(format!(
                        "{name} takes a number, a list of positions or binary data"
                    )));
                }
            },
        };
        Ok(Self { question, mask })
    }

    /// Whether `value` has the bits as asked; only numbers within 64 bits and binary data can. A double must be whole, a
    /// decimal is rounded.
    pub(crate) fn matches(&self, value: RawBsonRef<'_>) -> bool {
        let bits = match value {
            RawBsonRef::Binary(binary) => Bits::Binary(binary.bytes),
            other => match Number::from_raw(other).and_then(integer) {
                Some(number) => Bits::Number(number),
                None => return false,
            },
        };
        match &self.mask {
            Mask::Bytes(mask) => {
                self.decide(mask.iter().enumerate().map(|(place, mask)| (bits.byte(place), *mask)))
            }
            Mask::Positions(positions) => self.decide(
                positions.iter().map(|position| (bits.byte(*position as usize / 8), 1_u8 << (position % 8))),
            ),
        }
    }

    /// Runs through pairs of a byte of the value and the mask for it.
    fn decide(&self, mut pairs: impl Iterator<Item = (u8, u8)>) -> bool {
        match self.question {
            BitQuestion::AllSet => pairs.all(|(byte, mask)| byte & mask == mask),
            BitQuestion::AllClear => pairs.all(|(byte, mask)| byte & mask == 0),
            BitQuestion::AnySet => pairs.any(|(byte, mask)| byte & mask != 0),
            BitQuestion::AnyClear => pairs.any(|(byte, mask)| !byte & mask != 0),
        }
    }
}

fn integer(number: Number) -> Option<i64> {
    let Number::Decimal(decimal) = number else {
        return number.to_i64_exact();
    };
    let whole = decimal.truncated_to_i64()?;
    let fraction = (decimal - Decimal::from_i64(whole)).to_f64();
    let away = fraction.abs() > 0.5 || (fraction.abs() == 0.5 && whole % 2 != 0);
    match (away, fraction > 0.0) {
        (true, true) => whole.checked_add(1),
        (true, false) => whole.checked_sub(1),
        (false, _) => Some(whole),
    }
}

impl Bits<'_> {
    fn byte(&self, place: usize) -> u8 {
        match self {
            Self::Binary(bytes) => bytes.get(place).copied().unwrap_or(0),
            Self::Number(number) => {
                number.to_le_bytes().get(place).copied().unwrap_or(if *number < 0 { 0xff } else { 0 })
            }
        }
    }
}
