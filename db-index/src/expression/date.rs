//! Dates. Every operator takes dates, timestamps and object ids for dates.

use std::borrow::Cow;
use std::fmt::Write as _;

use bson::RawBsonRef;

use super::calendar::{self, Civil, DAY_MS, days_in_month, days_of};
use super::error;
use super::node::Scope;
use super::value::{Field, Value};
use super::zone::Zone;
use crate::error::{ErrorCode, QueryError};
use crate::number::Number;

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
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    Ok(of(Civil::from_millis(zone.to_local(millis_or(16006, date)?))))
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
    let iso = match iso {
        None => false,
        Some(Value::Raw(RawBsonRef::Boolean(iso))) => *iso,
        Some(value) if value.is_nullish() => return Ok(Value::NULL),
        Some(value) => {
            return error(40521, format!("iso8601 must evaluate to a bool, found {}", value.type_name()));
        }
    };
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
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
    let mut numbers = Vec::with_capacity(7);
    let names: [(&str, &Option<Value<'a>>, i64); 7] = if by_week {
        [
            ("isoWeekYear", iso_year, 1970),
            ("isoWeek", iso_week, 1),
            ("isoDayOfWeek", iso_day, 1),
            ("hour", hour, 0),
            ("minute", minute, 0),
            ("second", second, 0),
            ("millisecond", millisecond, 0),
        ]
    } else {
        [
            ("year", year, 1970),
            ("month", month, 1),
            ("day", day, 1),
            ("hour", hour, 0),
            ("minute", minute, 0),
            ("second", second, 0),
            ("millisecond", millisecond, 0),
        ]
    };
    for (name, argument, default) in names {
        let number = match argument {
            None => default,
            Some(value) if value.is_nullish() => return Ok(Value::NULL),
            Some(value) => match value.as_number().and_then(Number::to_i64_exact) {
                Some(number) => number,
                None => {
                    return error(
                        40515,
                        format!("'{name}' must evaluate to an integer, found {}", value.type_name()),
                    );
                }
            },
        };
        let range = match name {
            "year" | "isoWeekYear" => 1..=9999,
            _ if name == "millisecond" || name == "second" => i64::MIN / 4096..=i64::MAX / 4096,
            _ => -32768..=32767,
        };
        if !range.contains(&number) {
            let code = if matches!(name, "year" | "isoWeekYear") { 40523 } else { 31034 };
            return error(code, format!("'{name}' is out of range"));
        }
        numbers.push(number);
    }
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    let [year, month, day, hour, minute, second, millisecond] = numbers.as_slice() else {
        return Ok(Value::NULL);
    };
    let midnight = if by_week {
        calendar::from_iso_week(*year, *month, *day)
    } else {
        days_of(*year, *month, *day).and_then(|days| days.checked_mul(DAY_MS))
    };
    let local = midnight
        .and_then(|at| at.checked_add((hour * 60 + minute) * 60_000))
        .and_then(|at| at.checked_add(second.checked_mul(1000)?))
        .and_then(|at| at.checked_add(*millisecond));
    match local.and_then(|local| zone.to_utc(local)) {
        Some(millis) => Ok(Value::date(millis)),
        None => error(15, "$dateFromParts: the date is out of range"),
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) fn to_text<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(date), format, zone, on_null] = arguments else { return Ok(Value::NULL) };
    let format = match format {
        None => None,
        Some(value) if value.is_nullish() => return Ok(on_null.clone().unwrap_or(Value::NULL)),
        Some(value) => match value.as_str() {
            Some(format) => Some(format),
            None => {
                return error(
                    18533,
                    format!("$dateToString requires that 'format' be a string, found {}", value.type_name()),
                );
            }
        },
    };
    let utc = zone.is_none();
    let Some(zone) = zone_of(zone.as_ref())? else { return Ok(Value::NULL) };
    if date.is_nullish() {
        return Ok(on_null.clone().unwrap_or(Value::NULL));
    }
    let default = if utc || zone.is_utc() { "%Y-%m-%dT%H:%M:%S.%LZ" } else { "%Y-%m-%dT%H:%M:%S.%L" };
    let text = formatted(millis_or(16006, date)?, &zone, format.unwrap_or(default))?;
    scope.text(&text)
}

fn formatted(millis: i64, zone: &Zone, format: &str) -> Result<String, QueryError> {
    let civil = Civil::from_millis(zone.to_local(millis));
    let mut text = String::with_capacity(format.len() + 16);
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let offset = zone.offset_minutes(millis);
        let name = |short: bool| {
            let name = MONTHS.get(civil.month as usize - 1).copied().unwrap_or("");
            if short { name.get(..3).unwrap_or(name) } else { name }
        };
        let written = match letters.next() {
            Some('d') => write!(text, "{:02}", civil.day),
            Some('G') => write!(text, "{:04}", civil.iso_week().1),
            Some('H') => write!(text, "{:02}", civil.millis / 3_600_000),
            Some('j') => write!(text, "{:03}", civil.day_of_year()),
            Some('L') => write!(text, "{:03}", civil.millis % 1000),
            Some('m') => write!(text, "{:02}", civil.month),
            Some('M') => write!(text, "{:02}", civil.millis / 60_000 % 60),
            Some('S') => write!(text, "{:02}", civil.millis / 1000 % 60),
            Some('u') => write!(text, "{}", civil.iso_weekday()),
            Some('U') => write!(text, "{:02}", sunday_week(civil)),
            Some('V') => write!(text, "{:02}", civil.iso_week().0),
            Some('w') => write!(text, "{}", civil.weekday() + 1),
            Some('Y') => {
                if !(0..=9999).contains(&civil.year) {
                    return error(
                        18537,
                        format!("could not convert the date: {} is outside of 0 to 9999", civil.year),
                    );
                }
                write!(text, "{:04}", civil.year)
            }
            Some('z') => {
                let sign = if offset < 0 { '-' } else { '+' };
                write!(text, "{sign}{:02}{:02}", offset.abs() / 60, offset.abs() % 60)
            }
            Some('Z') => write!(text, "{offset:+}"),
            Some('b') => write!(text, "{}", name(true)),
            Some('B') => write!(text, "{}", name(false)),
            Some('%') => write!(text, "%"),
            Some(other) => {
                return error(18536, format!("invalid format character '%{other}' in format string"));
            }
            None => return error(18535, "unmatched '%' at end of format string"),
        };
        // Writing to a string does not fail.
        written.unwrap_or_default();
    }
    Ok(text)
}

pub(super) fn from_text<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(text), format, zone, on_error, on_null] = arguments else { return Ok(Value::NULL) };
    let zone = zone_of(zone.as_ref())?;
    if text.is_nullish() {
        return Ok(on_null.clone().unwrap_or(Value::NULL));
    }
    let format = match format {
        None => None,
        Some(value) if value.is_nullish() => return Ok(Value::NULL),
        Some(value) => match value.as_str() {
            Some(format) => Some(format),
            None => {
                return error(
                    40684,
                    format!(
                        "$dateFromString requires that 'format' be a string, found {}",
                        value.type_name()
                    ),
                );
            }
        },
    };
    let Some(zone) = zone else { return Ok(Value::NULL) };
    let result = match text.as_str() {
        None => error(
            241,
            format!("$dateFromString requires that 'dateString' be a string, found {}", text.type_name()),
        ),
        Some(text) => {
            let parsed = match format {
                None => calendar::parse_iso(text),
                Some(format) => parse_by(text, format)?,
            };
            let millis = match parsed {
                // A string with a zone of its own leaves no room for another.
                Some((_, true)) if !zone.is_utc() => None,
                Some((millis, true)) => Some(millis),
                Some((millis, false)) => zone.to_utc(millis),
                None => None,
            };
            match millis {
                Some(millis) => Ok(Value::date(millis)),
                None => error(241, format!("error parsing date string '{text}'")),
            }
        }
    };
    match (result, on_error) {
        (Err(error), Some(value)) if error.code == ErrorCode(241) => Ok(value.clone()),
        (result, _) => result,
    }
}

/// Reads a date by a format. The outer error is one of the format.
fn parse_by(text: &str, format: &str) -> Result<Option<(i64, bool)>, QueryError> {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut iso_year, mut iso_week, mut iso_day, mut day_of_year) = (None, 1, 1, None);
    let mut millis = 0;
    let mut offset = None;
    let mut rest = text;
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            match rest.strip_prefix(letter) {
                Some(after) => rest = after,
                None => return Ok(None),
            }
            continue;
        }
        let Some(specifier) = letters.next() else {
            return error(18535, "unmatched '%' at end of format string");
        };
        let digits = match specifier {
            'Y' | 'G' => 4,
            'm' | 'd' | 'H' | 'M' | 'S' | 'V' => 2,
            'L' | 'j' => 3,
            'u' => 1,
            'z' | 'Z' | 'b' | 'B' | '%' => 0,
            other => return error(18536, format!("invalid format character '%{other}' in format string")),
        };
        if digits > 0 {
            let Some((number, after)) = calendar::number(rest, digits) else { return Ok(None) };
            rest = after;
            match specifier {
                'Y' => year = number,
                'G' => iso_year = Some(number),
                'm' => month = number,
                'd' => day = number,
                'H' => millis += number * 3_600_000,
                'M' => millis += number * 60_000,
                'S' => millis += number * 1000,
                'L' => millis += number,
                'V' => iso_week = number,
                'u' => iso_day = number,
                _ => day_of_year = Some(number),
            }
            continue;
        }
        let length = match specifier {
            '%' if rest.starts_with('%') => 1,
            'z' if rest.starts_with('Z') => {
                offset = Some(0);
                1
            }
            'z' => {
                let length =
                    rest.bytes().take_while(|byte| byte.is_ascii_digit() || b"+-:".contains(byte)).count();
                match rest.get(..length).and_then(calendar::parse_offset) {
                    Some(minutes) => offset = Some(minutes),
                    None => return Ok(None),
                }
                length
            }
            'Z' => {
                let signed = rest.strip_prefix(['+', '-']).unwrap_or(rest);
                let length =
                    rest.len() - signed.len() + signed.bytes().take_while(u8::is_ascii_digit).count();
                match rest.get(..length).and_then(|text| text.parse().ok()) {
                    Some(minutes) => offset = Some(minutes),
                    None => return Ok(None),
                }
                length
            }
            _ => {
                let found = MONTHS.iter().position(|name| {
                    let name = if specifier == 'b' { name.get(..3).unwrap_or(name) } else { name };
                    rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                });
                let Some(found) = found else { return Ok(None) };
                month = found as i64 + 1;
                if specifier == 'b' { 3 } else { MONTHS.get(found).map_or(0, |name| name.len()) }
            }
        };
        match rest.get(length..) {
            Some(after) => rest = after,
            None => return Ok(None),
        }
    }
    if !rest.is_empty() {
        return Ok(None);
    }
    let midnight = match (iso_year, day_of_year) {
        (Some(year), _) => calendar::from_iso_week(year, iso_week, iso_day),
        (None, Some(day)) => days_of(year, 1, day).and_then(|days| days.checked_mul(DAY_MS)),
        (None, None) if (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day) => {
            days_of(year, month, day).and_then(|days| days.checked_mul(DAY_MS))
        }
        _ => None,
    };
    let at = || {
        let offset_ms = offset.unwrap_or(0_i64).checked_mul(60_000)?;
        midnight?.checked_add(millis)?.checked_sub(offset_ms)
    };
    Ok(at().map(|at| (at, offset.is_some())))
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// So many months.
    Months(i64),
    Week,
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
        Ok(match name {
            "year" => Self::Months(12),
            "quarter" => Self::Months(3),
            "month" => Self::Months(1),
            "week" => Self::Week,
            "day" => Self::Day,
            "hour" => Self::Millis(3_600_000),
            "minute" => Self::Millis(60_000),
            "second" => Self::Millis(1000),
            "millisecond" => Self::Millis(1),
            _ => return error(9, format!("{operator}: unknown time unit value: {name}")),
        })
    }
}

pub(super) fn add<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    shifted("$dateAdd", 1, arguments)
}

pub(super) fn subtract<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
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

fn shift(local: i64, unit: Unit, amount: i64) -> Option<i64> {
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

pub(super) fn difference<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
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

pub(super) fn truncate<'a>(_: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
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
