//! Moving dates by units of time, counting them, and cutting dates to them.

use super::{millis_or, zone_of};
use crate::error::QueryError;
use crate::expression::calendar::{Civil, DAY_MS, days_in_month, days_of};
use crate::expression::error;
use crate::expression::node::Scope;
use crate::expression::value::Value;
use crate::number::Number;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// So many months.
    Months(i64),
    /// Seven days.
    Week,
    /// A day, which is not as long as another where clocks are changed.
    Day,
    /// So many milliseconds, less than a day.
    Millis(i64),
}

impl Unit {
    fn parse(value: &Value<'_>, operator: &str) -> Result<Self, QueryError> {
        let Some(name) = value.as_str() else {
            return error(
                5_439_013,
                format!("{operator} requires 'unit' to be a string, but got {}", value.type_name()),
            );
        };
        match Self::named(name) {
            Some(unit) => Ok(unit),
            None => error(9, format!("{operator}: unknown time unit value: {name}")),
        }
    }

    /// The unit of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "year" => Self::Months(12),
            "quarter" => Self::Months(3),
            "month" => Self::Months(1),
            "week" => Self::Week,
            "day" => Self::Day,
            "hour" => Self::Millis(3_600_000),
            "minute" => Self::Millis(60_000),
            "second" => Self::Millis(1000),
            "millisecond" => Self::Millis(1),
            _ => return None,
        })
    }

    /// How many milliseconds it has; none for those that vary by more than a clock change.
    pub(crate) fn millis(self) -> Option<i64> {
        match self {
            Self::Months(_) => None,
            Self::Week => Some(7 * DAY_MS),
            Self::Day => Some(DAY_MS),
            Self::Millis(millis) => Some(millis),
        }
    }
}

pub(in crate::expression) fn add<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    shifted("$dateAdd", 1, arguments)
}

pub(in crate::expression) fn subtract<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    shifted("$dateSubtract", -1, arguments)
}

fn shifted<'a>(operator: &str, sign: i64, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(date), Some(unit), Some(amount), zone] = arguments else { return Ok(Value::NULL) };
    let zone = zone_of(zone.as_ref())?;
    if date.is_nullish() || unit.is_nullish() || amount.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(zone) = zone else { return Ok(Value::NULL) };
    let millis = millis_or(5_166_403, date)?;
    let unit = Unit::parse(unit, operator)?;
    let Some(amount) = amount.as_number().and_then(Number::to_i64_exact) else {
        return error(5_166_405, format!("{operator} expects an integer amount of time units"));
    };
    let result = amount.checked_mul(sign).and_then(|amount| shift(zone.to_local(millis), unit, amount));
    match result.and_then(|local| zone.to_utc(local)) {
        Some(millis) => Ok(Value::date(millis)),
        None => error(5_166_406, format!("{operator} overflowed")),
    }
}

/// A date moved by so many units, in one zone without clock changes; none beyond the range of dates.
pub(crate) fn shift(local: i64, unit: Unit, amount: i64) -> Option<i64> {
    match unit {
        Unit::Millis(unit) => local.checked_add(amount.checked_mul(unit)?),
        Unit::Day => local.checked_add(amount.checked_mul(DAY_MS)?),
        Unit::Week => local.checked_add(amount.checked_mul(7 * DAY_MS)?),
        Unit::Months(unit) => {
            let civil = Civil::from_millis(local);
            let months = (civil.year * 12 + civil.month - 1).checked_add(amount.checked_mul(unit)?)?;
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            let day = civil.day.min(days_in_month(year, month));
            Civil { year, month, day, millis: civil.millis }.to_millis()
        }
    }
}

/// The first day of the week: Sunday is 0.
fn start_of_week(value: Option<&Value<'_>>, operator: &str, code: i32) -> Result<Option<i64>, QueryError> {
    let Some(value) = value else { return Ok(Some(0)) };
    if value.is_nullish() {
        return Ok(None);
    }
    let Some(name) = value.as_str() else {
        return error(
            code,
            format!("{operator} requires 'startOfWeek' to be a string, but got {}", value.type_name()),
        );
    };
    let name = name.to_ascii_lowercase();
    let days = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    match days.iter().position(|day| *day == name || day.get(..3) == Some(&name)) {
        Some(day) => Ok(Some(day as i64)),
        None => error(9, format!("{operator}: unknown day of week value: {name}")),
    }
}

/// The number of the week that a local moment is in, for weeks that start on `first`.
fn week_number(local: i64, first: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    (local.div_euclid(DAY_MS) + 4 - first).div_euclid(7)
}

pub(in crate::expression) fn difference<'a>(
    _: &mut Scope<'a>,
    arguments: &[Option<Value<'a>>],
) -> Outcome<'a> {
    let [Some(start), Some(end), Some(unit), zone, first] = arguments else { return Ok(Value::NULL) };
    if start.is_nullish() || end.is_nullish() || unit.is_nullish() {
        return Ok(Value::NULL);
    }
    let unit = Unit::parse(unit, "$dateDiff")?;
    let first = match unit {
        Unit::Week => start_of_week(first.as_ref(), "$dateDiff", 5_439_013)?,
        _ => Some(0),
    };
    let (Some(zone), Some(first)) = (zone_of(zone.as_ref())?, first) else { return Ok(Value::NULL) };
    let start = zone.to_local(millis_or(5_166_307, start)?);
    let end = zone.to_local(millis_or(5_166_307, end)?);
    let count = match unit {
        Unit::Months(unit) => {
            let at = |local: i64| {
                let civil = Civil::from_millis(local);
                (civil.year * 12 + civil.month - 1).div_euclid(unit)
            };
            at(end) - at(start)
        }
        Unit::Week => week_number(end, first) - week_number(start, first),
        Unit::Day => end.div_euclid(DAY_MS) - start.div_euclid(DAY_MS),
        Unit::Millis(unit) => match end.div_euclid(unit).checked_sub(start.div_euclid(unit)) {
            Some(count) => count,
            None => return error(5_166_308, "$dateDiff overflowed"),
        },
    };
    Ok(Value::long(count))
}

pub(in crate::expression) fn truncate<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(date), Some(unit), bin_size, zone, first] = arguments else { return Ok(Value::NULL) };
    if date.is_nullish() || unit.is_nullish() || bin_size.as_ref().is_some_and(Value::is_nullish) {
        return Ok(Value::NULL);
    }
    let unit = Unit::parse(unit, "$dateTrunc")?;
    let first = match unit {
        Unit::Week => start_of_week(first.as_ref(), "$dateTrunc", 5_439_015)?,
        _ => Some(0),
    };
    let (Some(zone), Some(first)) = (zone_of(zone.as_ref())?, first) else { return Ok(Value::NULL) };
    let millis = millis_or(5_439_012, date)?;
    let bin = match bin_size {
        None => 1,
        Some(value) => match value.as_number().and_then(Number::to_i64_exact) {
            Some(bin) if bin > 0 => bin,
            Some(_) => return error(5_439_018, "$dateTrunc requires 'binSize' to be greater than 0"),
            None => return error(5_439_017, "$dateTrunc requires 'binSize' to be a 64-bit integer"),
        },
    };
    match truncated(zone.to_local(millis), unit, bin, first).and_then(|local| zone.to_utc(local)) {
        Some(millis) => Ok(Value::date(millis)),
        None => error(15, "$dateTrunc overflowed"),
    }
}

/// 2000-01-01, from which bins are counted.
const REFERENCE_DAY: i64 = 10_957;

fn truncated(local: i64, unit: Unit, bin: i64, first: i64) -> Option<i64> {
    let floor = |distance: i64, width: i64| distance.div_euclid(width).checked_mul(width);
    let reference = REFERENCE_DAY * DAY_MS;
    match unit {
        Unit::Millis(unit) => {
            floor(local.checked_sub(reference)?, bin.checked_mul(unit)?)?.checked_add(reference)
        }
        Unit::Day => floor(local.checked_sub(reference)?, bin.checked_mul(DAY_MS)?)?.checked_add(reference),
        Unit::Week => {
            // The first such weekday from the reference on: 2000-01-01 was a Saturday.
            let reference = (REFERENCE_DAY + (first - 6).rem_euclid(7)).checked_mul(DAY_MS)?;
            floor(local.checked_sub(reference)?, bin.checked_mul(7 * DAY_MS)?)?.checked_add(reference)
        }
        Unit::Months(unit) => {
            let civil = Civil::from_millis(local);
            let months = floor((civil.year - 2000) * 12 + civil.month - 1, bin.checked_mul(unit)?)?;
            days_of(2000, months.checked_add(1)?, 1)?.checked_mul(DAY_MS)
        }
    }
}
