//! Dates. Every operator takes dates, timestamps and object ids for dates.

mod format;
mod units;

use std::borrow::Cow;

use bson::RawBsonRef;

use super::calendar::{self, Civil, DAY_MS, days_of};
use super::error;
use super::node::Scope;
use super::value::{Field, Value};
use super::zone::Zone;
use crate::error::QueryError;
use crate::number::Number;

pub(super) use format::{from_text, to_text};
pub(crate) use units::{Unit, shift};
pub(super) use units::{add, difference, subtract, truncate};

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// The milliseconds of a date, a timestamp or an object id.
fn millis_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Raw(RawBsonRef::DateTime(date)) => Some(date.timestamp_millis()),
        Value::Raw(RawBsonRef::Timestamp(timestamp)) => Some(i64::from(timestamp.time) * 1000),
        Value::Raw(RawBsonRef::ObjectId(id)) => Some(object_id_millis(id)),
        _ => None,
    }
}

/// The seconds of an object id, which have a sign.
pub(super) fn object_id_millis(id: &bson::oid::ObjectId) -> i64 {
    let [a, b, c, d, ..] = id.bytes();
    i64::from(i32::from_be_bytes([a, b, c, d])) * 1000
}

fn millis_or(code: i32, value: &Value<'_>) -> Result<i64, QueryError> {
    match millis_of(value) {
        Some(millis) => Ok(millis),
        None => error(code, format!("can't convert from BSON type {} to Date", value.type_name())),
    }
}

/// The zone of an argument; `None` if it is null.
fn zone_of(argument: Option<&Value<'_>>) -> Result<Option<Zone>, QueryError> {
    match argument {
        None => Ok(Some(Zone::Utc)),
        Some(value) if value.is_nullish() => Ok(None),
        Some(value) => match value.as_str() {
            Some(name) => Zone::parse(name).map(Some),
            None => error(40517, format!("timezone must evaluate to a string, found {}", value.type_name())),
        },
    }
}

pub(super) fn timestamp_seconds<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    timestamp("$tsSecond", 5_687_301, arguments, |timestamp| timestamp.time)
}

pub(super) fn timestamp_increment<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    timestamp("$tsIncrement", 5_687_302, arguments, |timestamp| timestamp.increment)
}

fn timestamp<'a>(
    operator: &str,
    code: i32,
    arguments: &[Value<'a>],
    part: impl Fn(&bson::Timestamp) -> u32,
) -> Outcome<'a> {
    match arguments.first() {
        Some(Value::Raw(RawBsonRef::Timestamp(timestamp))) => Ok(Value::long(i64::from(part(timestamp)))),
        Some(value) if !value.is_nullish() => {
            error(code, format!("argument to {operator} must be a timestamp, but is {}", value.type_name()))
        }
        _ => Ok(Value::NULL),
    }
}

/// A part of a local date.
fn part<'a>(arguments: &[Option<Value<'a>>], of: impl Fn(Civil) -> Value<'a>) -> Outcome<'a> {
    let [Some(date), zone] = arguments else { return Ok(Value::NULL) };
    if date.is_nullish() {
        return Ok(Value::NULL);
    }
    let millis = millis_or(16006, date)?;
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    Ok(of(Civil::from_millis(zone.to_local(millis))))
}

fn small(value: i64) -> Value<'static> {
    Value::int_or_long(value)
}

pub(super) fn year<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.year))
}

pub(super) fn month<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.month))
}

pub(super) fn day_of_month<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.day))
}

pub(super) fn day_of_week<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.weekday() + 1))
}

pub(super) fn day_of_year<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.day_of_year()))
}

pub(super) fn hour<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.millis / 3_600_000))
}

pub(super) fn minute<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.millis / 60_000 % 60))
}

pub(super) fn second<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.millis / 1000 % 60))
}

pub(super) fn millisecond<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.millis % 1000))
}

pub(super) fn week<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(sunday_week(civil)))
}

/// Weeks begin on Sunday; the days before the first one are week 0.
fn sunday_week(civil: Civil) -> i64 {
    (civil.day_of_year() - 1 + 7 - civil.weekday()) / 7
}

pub(super) fn iso_week<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.iso_week().0))
}

pub(super) fn iso_week_year<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| Value::long(civil.iso_week().1))
}

pub(super) fn iso_day_of_week<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    part(arguments, |civil| small(civil.iso_weekday()))
}

pub(super) fn to_parts<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(date), zone, iso] = arguments else { return Ok(Value::NULL) };
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    let iso = match iso {
        None => false,
        Some(Value::Raw(RawBsonRef::Boolean(iso))) => *iso,
        Some(value) if value.is_nullish() => return Ok(Value::NULL),
        Some(value) => {
            return error(40521, format!("iso8601 must evaluate to a bool, found {}", value.type_name()));
        }
    };
    if date.is_nullish() {
        return Ok(Value::NULL);
    }
    let civil = Civil::from_millis(zone.to_local(millis_or(16006, date)?));
    let mut fields: Vec<Field<'a>> = Vec::with_capacity(7);
    let mut add = |name: &'static str, value: i64| fields.push((Cow::Borrowed(name), small(value)));
    if iso {
        let (week, year) = civil.iso_week();
        add("isoWeekYear", year);
        add("isoWeek", week);
        add("isoDayOfWeek", civil.iso_weekday());
    } else {
        add("year", civil.year);
        add("month", civil.month);
        add("day", civil.day);
    }
    add("hour", civil.millis / 3_600_000);
    add("minute", civil.millis / 60_000 % 60);
    add("second", civil.millis / 1000 % 60);
    add("millisecond", civil.millis % 1000);
    Value::document(fields)
}

pub(super) fn from_parts<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [year, month, day, hour, minute, second, millisecond, iso_year, iso_week, iso_day, zone] = arguments
    else {
        return Ok(Value::NULL);
    };
    let by_week = iso_year.is_some();
    if year.is_some() == by_week {
        let message = "$dateFromParts requires exactly one of 'year' and 'isoWeekYear'";
        return error(if by_week { 40489 } else { 40516 }, message);
    }
    if by_week && (month.is_some() || day.is_some()) || !by_week && (iso_week.is_some() || iso_day.is_some())
    {
        return error(40489, "$dateFromParts does not allow mixing natural dates with ISO dates");
    }
    let mut times = [0; 4];
    let clock = [("hour", hour), ("minute", minute), ("second", second), ("millisecond", millisecond)];
    for (slot, (name, argument)) in times.iter_mut().zip(clock) {
        let Some(number) = date_part(name, argument.as_ref(), 0)? else { return Ok(Value::NULL) };
        *slot = number;
    }
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    let calendar = if by_week {
        [("isoWeekYear", iso_year, 1970), ("isoWeek", iso_week, 1), ("isoDayOfWeek", iso_day, 1)]
    } else {
        [("year", year, 1970), ("month", month, 1), ("day", day, 1)]
    };
    let mut days = [0; 3];
    for (slot, (name, argument, default)) in days.iter_mut().zip(calendar) {
        let Some(number) = date_part(name, argument.as_ref(), default)? else { return Ok(Value::NULL) };
        *slot = number;
    }
    let ([hour, minute, second, millisecond], [year, month, day]) = (times, days);
    if !(1..=9999).contains(&year) {
        let (code, name) = if by_week { (31095, "isoWeekYear") } else { (40523, "year") };
        return error(
            code,
            format!("'{name}' must evaluate to an integer in the range 1 to 9999, found {year}"),
        );
    }
    let midnight = if by_week {
        calendar::from_iso_week(year, month, day)
    } else {
        days_of(year, month, day).and_then(|days| days.checked_mul(DAY_MS))
    };
    let local = midnight
        .and_then(|at| at.checked_add((hour * 60 + minute) * 60_000))
        .and_then(|at| at.checked_add(second.checked_mul(1000)?))
        .and_then(|at| at.checked_add(millisecond));
    match local.and_then(|local| zone.to_utc(local)) {
        Some(millis) => Ok(Value::date(millis)),
        None => error(15, "$dateFromParts: the date is out of range"),
    }
}

/// A number that `$dateFromParts` is given; none if it is null.
fn date_part(name: &str, argument: Option<&Value<'_>>, default: i64) -> Result<Option<i64>, QueryError> {
    let Some(value) = argument else { return Ok(Some(default)) };
    if value.is_nullish() {
        return Ok(None);
    }
    let Some(number) = value.as_number().and_then(Number::to_i64_exact) else {
        return error(40515, format!("'{name}' must evaluate to an integer, found {}", value.type_name()));
    };
    let is_bounded = !matches!(name, "year" | "isoWeekYear" | "second" | "millisecond");
    if is_bounded && i16::try_from(number).is_err() {
        let message = format!("'{name}' must evaluate to a value in the range [-32768, 32767]");
        return error(31034, message);
    }
    Ok(Some(number))
}

/// What is wrong with an argument that is the same for every document, though others are not: it is looked at before any of them
/// is. Gives whether the result is null for all of them.
pub(super) fn check_constant(operator: &str, name: &str, value: &Value<'_>) -> Result<bool, QueryError> {
    let is_null = value.is_nullish();
    match name {
        "timezone" => return Ok(zone_of(Some(value))?.is_none() && !operator.ends_with("String")),
        "unit" if !is_null => drop(Unit::parse(value, operator)?),
        "binSize" if !is_null => drop(units::bin_of(value)?),
        "startOfWeek" if !is_null => drop(units::start_of_week(Some(value), operator)?),
        "unit" | "binSize" => {}
        _ => return Ok(false),
    }
    Ok(is_null)
}
