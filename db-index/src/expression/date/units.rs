//! Moving dates by units of time, counting them, and cutting dates to them.

use super::{Zone, millis_or, zone_of};
use crate::error::QueryError;
use crate::expression::calendar::{Civil, DAY_MS, days_in_month};
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
    pub(super) fn parse(value: &Value<'_>, operator: &str) -> Result<Self, QueryError> {
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

    /// The least amount that is too large to be added.
    fn amount_end(self) -> u64 {
        const DAYS: u64 = u64::MAX / 86_400_000 + 1;
        const YEARS: u64 = DAYS / 365 + 1;
        match self {
            Self::Months(months) => YEARS * 12 / months.unsigned_abs().max(1),
            Self::Week => DAYS / 7,
            Self::Day => DAYS,
            Self::Millis(1) => u64::MAX,
            Self::Millis(millis) => DAYS * (86_400_000 / millis.unsigned_abs().max(1)),
        }
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
    if date.is_nullish() || unit.is_nullish() {
        return Ok(Value::NULL);
    }
    let unit = Unit::parse(unit, operator)?;
    if amount.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    let millis = millis_or(5_166_403, date)?;
    let Some(amount) = amount.as_number().and_then(Number::to_i64_exact) else {
        return error(5_166_405, format!("{operator} expects an integer amount of time units"));
    };
    let Some(amount) = amount.checked_mul(sign) else {
        return error(6_045_000, format!("invalid {operator} 'amount' parameter value: {amount}"));
    };
    moved(millis, unit, amount, &zone).map(Value::date)
}

/// A moment moved by so many units by the calendar of a zone; what is less than a day long is added as it is.
fn moved(millis: i64, unit: Unit, amount: i64, zone: &Zone) -> Result<i64, QueryError> {
    if amount.unsigned_abs() >= unit.amount_end() {
        return error(5_976_500, format!("invalid dateAdd 'amount' parameter value: {amount}"));
    }
    let moved = match unit {
        Unit::Millis(_) => shift(millis, unit, amount),
        _ => shift(zone.to_local(millis), unit, amount).and_then(|local| zone.to_utc(local)),
    };
    match moved {
        Some(millis) => Ok(millis),
        None => error(5_166_406, "dateAdd overflowed"),
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
pub(super) fn start_of_week(value: Option<&Value<'_>>, operator: &str) -> Result<Option<i64>, QueryError> {
    let Some(value) = value else { return Ok(Some(0)) };
    if value.is_nullish() {
        return Ok(None);
    }
    let Some(name) = value.as_str() else {
        return error(
            5_439_015,
            format!("{operator} requires 'startOfWeek' to be a string, but got {}", value.type_name()),
        );
    };
    let name = name.to_ascii_lowercase();
    let days = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    match days.iter().position(|day| *day == name || day.get(..3) == Some(&name)) {
        Some(day) => Ok(Some(day as i64)),
        None => error(5_439_016, format!("{operator}: unknown day of week value: {name}")),
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
        Unit::Week => start_of_week(first.as_ref(), "$dateDiff")?,
        _ => Some(0),
    };
    let Some(first) = first else { return Ok(Value::NULL) };
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    let (from, to) = (millis_or(5_166_307, start)?, millis_or(5_166_307, end)?);
    let (start, end) = (zone.to_local(from), zone.to_local(to));
    let count = match unit {
        Unit::Months(unit) => {
            let at = |local: i64| {
                let civil = Civil::from_millis(local);
                (civil.year * 12 + civil.month - 1).div_euclid(unit)
            };
            Some(at(end) - at(start))
        }
        Unit::Week => Some(week_number(end, first) - week_number(start, first)),
        Unit::Day => Some(end.div_euclid(DAY_MS) - start.div_euclid(DAY_MS)),
        Unit::Millis(1) => to.checked_sub(from),
        // Local hours begin where the clock says so, and a change of the clock is no time that passes.
        Unit::Millis(unit) => {
            let change = (start - from) - (end - to);
            end.div_euclid(unit).checked_sub(start.div_euclid(unit)).map(|count| count + change / unit)
        }
    };
    match count {
        Some(count) => Ok(Value::long(count)),
        None => error(5_166_308, "$dateDiff overflowed"),
    }
}

pub(in crate::expression) fn truncate<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(date), Some(unit), bin_size, zone, first] = arguments else { return Ok(Value::NULL) };
    if date.is_nullish() || bin_size.as_ref().is_some_and(Value::is_nullish) {
        return Ok(Value::NULL);
    }
    let bin = bin_size.as_ref().map_or(Ok(1), bin_of)?;
    if unit.is_nullish() {
        return Ok(Value::NULL);
    }
    let unit = Unit::parse(unit, "$dateTrunc")?;
    let first = match unit {
        Unit::Week => start_of_week(first.as_ref(), "$dateTrunc")?,
        _ => Some(0),
    };
    let Some(first) = first else { return Ok(Value::NULL) };
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    truncated(millis_or(5_166_307, date)?, unit, bin, &zone, first).map(Value::date)
}

/// The `binSize` of `$dateTrunc`.
pub(super) fn bin_of(value: &Value<'_>) -> Result<i64, QueryError> {
    match value.as_number().and_then(Number::to_i64_exact) {
        Some(bin) if bin > 0 => Ok(bin),
        Some(_) => error(5_439_018, "$dateTrunc requires 'binSize' to be greater than 0"),
        None => error(5_439_017, "$dateTrunc requires 'binSize' to be a 64-bit integer"),
    }
}

/// 2000-01-01, from which bins are counted.
const REFERENCE_DAY: i64 = 10_957;

/// The beginning of the bin that a moment lies in. Bins of less than a day are as long as they say, wherever clocks change.
fn truncated(millis: i64, unit: Unit, bin: i64, zone: &Zone, first: i64) -> Result<i64, QueryError> {
    let overflowed = |code| error(code, "dateTrunc overflowed");
    let utc_reference = REFERENCE_DAY * DAY_MS;
    let reference = utc_reference - (zone.to_local(utc_reference) - utc_reference);
    if let Unit::Millis(unit) = unit {
        let Some(width) = bin.checked_mul(unit) else { return overflowed(5_439_002) };
        let Some(distance) = millis.checked_sub(reference) else { return overflowed(5_439_000) };
        let begin = millis.checked_sub(distance.rem_euclid(width));
        return begin.map_or_else(|| overflowed(5_439_001), Ok);
    }
    if bin > 100_000_000_000 {
        return error(5_439_006, "dateTrunc unsupported binSize value");
    }
    let local = zone.to_local(millis);
    // The first such weekday from the reference on: 2000-01-01 was a Saturday.
    let days = if unit == Unit::Week { (first - 6).rem_euclid(7) } else { 0 };
    let distance = match unit {
        Unit::Months(unit) => {
            let civil = Civil::from_millis(local);
            ((civil.year - 2000) * 12 + civil.month - 1).div_euclid(unit)
        }
        Unit::Week => (local.div_euclid(DAY_MS) - REFERENCE_DAY - days).div_euclid(7),
        _ => local.div_euclid(DAY_MS) - REFERENCE_DAY,
    };
    match distance.checked_sub(distance.rem_euclid(bin)) {
        Some(distance) => moved(reference + days * DAY_MS, unit, distance, zone),
        None => overflowed(5_439_004),
    }
}
