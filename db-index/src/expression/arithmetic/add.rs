//! `$add`: the terms one after the other, in the widest type that came up so far.

use super::{date_millis, rounded_i64};
use crate::error::QueryError;
use crate::expression::error;
use crate::expression::node::Scope;
use crate::expression::value::Value;
use crate::number::Number;

type Outcome<'a> = Result<Value<'a>, QueryError>;

pub(in crate::expression) fn add<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut sum = Sum { total: Number::Int64(0), only_ints: true, millis: None };
    for value in arguments {
        if let Some(number) = value.as_number() {
            sum.add(number)?;
        } else if let Some(millis) = date_millis(value) {
            sum.add_date(millis)?;
        } else if value.is_nullish() {
            return Ok(Value::NULL);
        } else {
            return error(14, format!("$add only supports numeric or date types, not {}", value.type_name()));
        }
    }
    Ok(match sum.millis {
        Some(millis) => Value::date(millis),
        None => match sum.total {
            Number::Int64(total) if sum.only_ints => Value::int_or_long(total),
            total => Value::number(total),
        },
    })
}

/// A sum on its way.
struct Sum {
    total: Number,
    only_ints: bool,
    /// The moment, once a date is among the terms: whole milliseconds from then on.
    millis: Option<i64>,
}

impl Sum {
    fn add(&mut self, number: Number) -> Result<(), QueryError> {
        self.only_ints &= matches!(number, Number::Int32(_));
        match self.millis {
            Some(millis) => {
                let moved = rounded_i64(number).and_then(|number| millis.checked_add(number));
                self.millis = Some(in_range(moved)?);
            }
            None => self.total = plus(self.total, number),
        }
        Ok(())
    }

    fn add_date(&mut self, millis: i64) -> Result<(), QueryError> {
        if self.millis.is_some() {
            return error(16612, "only one date allowed in an $add expression");
        }
        let moved = rounded_i64(self.total).and_then(|before| before.checked_add(millis));
        self.millis = Some(in_range(moved)?);
        Ok(())
    }
}

fn in_range(millis: Option<i64>) -> Result<i64, QueryError> {
    match millis {
        Some(millis) => Ok(millis),
        None => error(15, "date overflow"),
    }
}

/// The sum of two numbers: decimals win over doubles, those over longs; what does not fit a long becomes a double.
fn plus(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Decimal(_), _) | (_, Number::Decimal(_)) => Number::Decimal(a.to_decimal() + b.to_decimal()),
        (Number::Double(_), _) | (_, Number::Double(_)) => Number::Double(a.to_f64() + b.to_f64()),
        _ => match (a.to_i64_exact(), b.to_i64_exact()) {
            (Some(x), Some(y)) => {
                x.checked_add(y).map_or_else(|| Number::Double(a.to_f64() + b.to_f64()), Number::Int64)
            }
            _ => Number::Double(a.to_f64() + b.to_f64()),
        },
    }
}
