//! Types and their conversion.
#![allow(clippy::unnecessary_wraps)] // the operators of the table have one signature

mod base;
mod binary;

use std::sync::Arc;

use bson::RawBsonRef;
use bson::oid::ObjectId;
use bson::spec::{BinarySubtype, ElementType};

use self::binary::{ByteOrder, Format};
use super::calendar;
use super::error;
use super::node::Scope;
use super::value::Value;
use crate::decimal::Decimal;
use crate::error::{ErrorCode, QueryError};
use crate::number::Number;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// 241: a value that cannot become one of the wanted type.
const CONVERSION_FAILURE: i32 = 241;

fn failed<T>(message: impl Into<String>) -> Result<T, QueryError> {
    error(CONVERSION_FAILURE, message)
}

pub(super) fn type_of<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::text(arguments.first().map_or("missing", Value::type_name)))
}

pub(super) fn is_number<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(arguments.first().is_some_and(|value| value.as_number().is_some())))
}

pub(super) fn binary_size<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first().filter(|value| !value.is_nullish()) else { return Ok(Value::NULL) };
    match (value.as_str(), value.binary()) {
        (Some(text), _) => Ok(Value::int(text.len() as i32)),
        (_, Some((_, bytes))) => Ok(Value::int(bytes.len() as i32)),
        _ => error(
            51276,
            format!("$binarySize requires a string or BinData argument, found: {}", value.type_name()),
        ),
    }
}

pub(super) fn subtype<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first().filter(|value| !value.is_nullish()) else { return Ok(Value::NULL) };
    match value.binary() {
        Some((subtype, _)) => Ok(Value::int(i32::from(u8::from(subtype)))),
        None => {
            error(10_389_300, format!("$subtype requires a BinData argument, found: {}", value.type_name()))
        }
    }
}

pub(super) fn bson_size<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first().filter(|value| !value.is_nullish()) else { return Ok(Value::NULL) };
    match value.to_document()? {
        Some(document) => Ok(Value::int(document.as_bytes().len() as i32)),
        None => error(31393, format!("$bsonSize requires a document input, found: {}", value.type_name())),
    }
}

/// A type to convert to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Int,
    Long,
    Double,
    Decimal,
    Bool,
    Date,
    Text,
    ObjectId,
    Binary,
}

impl Target {
    fn of(kind: ElementType) -> Option<Self> {
        Some(match kind {
            ElementType::Int32 => Self::Int,
            ElementType::Int64 => Self::Long,
            ElementType::Double => Self::Double,
            ElementType::Decimal128 => Self::Decimal,
            ElementType::Boolean => Self::Bool,
            ElementType::DateTime => Self::Date,
            ElementType::String => Self::Text,
            ElementType::ObjectId => Self::ObjectId,
            ElementType::Binary => Self::Binary,
            _ => return None,
        })
    }

    fn parse(value: &Value<'_>) -> Result<Self, QueryError> {
        if let Some(name) = value.as_str() {
            let target = match name {
                "int" => Self::Int,
                "long" => Self::Long,
                "double" => Self::Double,
                "decimal" => Self::Decimal,
                "bool" => Self::Bool,
                "date" => Self::Date,
                "string" => Self::Text,
                "objectId" => Self::ObjectId,
                "binData" => Self::Binary,
                _ => return error(2, format!("unknown type name: {name}")),
            };
            return Ok(target);
        }
        let Some(number) = value.as_number() else {
            return error(
                9,
                format!("$convert's 'to' must be a string or a number, not {}", value.type_name()),
            );
        };
        let kind = number.to_i64_exact().and_then(|code| u8::try_from(code).ok()).and_then(ElementType::from);
        match kind.and_then(Self::of) {
            Some(target) => Ok(target),
            None => error(9, "in $convert, 'to' is no type that a value can be converted to"),
        }
    }
}

fn with<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>], target: Target) -> Outcome<'a> {
    match arguments.first() {
        Some(value) if !value.is_nullish() => to(scope, value, target),
        _ => Ok(Value::NULL),
    }
}

pub(super) fn to_int<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::Int)
}

pub(super) fn to_long<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::Long)
}

pub(super) fn to_double<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::Double)
}

pub(super) fn to_decimal<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::Decimal)
}

pub(super) fn to_bool<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::Bool)
}

pub(super) fn to_date<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::Date)
}

pub(super) fn to_text<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::Text)
}

pub(super) fn to_object_id<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    with(scope, arguments, Target::ObjectId)
}

pub(super) fn to_uuid<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(value) = arguments.first().filter(|value| !value.is_nullish()) else { return Ok(Value::NULL) };
    if matches!(value.binary(), Some((BinarySubtype::Uuid, _))) {
        return Ok(value.clone());
    }
    match value.as_str().map(uuid_bytes) {
        Some(Some(bytes)) => Ok(Value::Bytes(BinarySubtype::Uuid, Arc::from(bytes))),
        _ => failed(format!("cannot convert a value of type {} to a UUID", value.type_name())),
    }
}

fn uuid_bytes(text: &str) -> Option<Vec<u8>> {
    let groups: Vec<&str> = text.split('-').collect();
    if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
        return None;
    }
    hex(&groups.concat())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

pub(super) fn convert<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(input), Some(to), on_error, on_null, format, byte_order, base] = arguments else {
        return Ok(Value::NULL);
    };
    let (name, subtype) =
        if to.is_document() { (to.get("type"), to.get("subtype")) } else { (to.clone(), Value::Missing) };
    let target = if name.is_nullish() { None } else { Some(Target::parse(&name)?) };
    if input.is_nullish() {
        return Ok(on_null.clone().unwrap_or(Value::NULL));
    }
    let Some(target) = target else { return Ok(Value::NULL) };
    let given = |argument: &'_ Option<Value<'a>>| argument.clone().filter(|value| !value.is_nullish());
    let form = Form {
        subtype: parse_subtype(&subtype)?,
        base: given(base).as_ref().map(base::parse).transpose()?,
        format: given(format).as_ref().map(Format::parse).transpose()?,
        byte_order: given(byte_order).as_ref().map_or(Ok(ByteOrder::Little), ByteOrder::parse)?,
    };
    match (formed(scope, input, target, &form), on_error) {
        (Err(error), Some(value)) if error.code == ErrorCode(CONVERSION_FAILURE) => Ok(value.clone()),
        (result, _) => result,
    }
}

/// What `$convert` may say about the form of a value.
struct Form {
    subtype: BinarySubtype,
    format: Option<Format>,
    byte_order: ByteOrder,
    base: Option<u32>,
}

fn parse_subtype(value: &Value<'_>) -> Result<BinarySubtype, QueryError> {
    if value.is_missing() {
        return Ok(BinarySubtype::Generic);
    }
    let number =
        value.as_number().and_then(Number::to_i64_exact).and_then(|number| u8::try_from(number).ok());
    match number {
        Some(number) if number <= 9 || number >= 128 => Ok(number.into()),
        _ => error(4_341_106, "in $convert, the 'subtype' must be the number of a subtype of binData"),
    }
}

/// Converts where the form counts, else as ever.
fn formed<'a>(scope: &mut Scope<'a>, input: &Value<'a>, target: Target, form: &Form) -> Outcome<'a> {
    if let Some((subtype, bytes)) = input.binary() {
        return match target {
            Target::Text => match form.format {
                Some(format) => scope.text(&binary::to_text(subtype, bytes, format)?),
                None => error(
                    4_341_115,
                    "Format must be specified when converting from 'binData' to 'string' in $convert",
                ),
            },
            Target::Int => binary::to_whole(bytes, form.byte_order, 4).map(|value| Value::int(value as i32)),
            Target::Long => binary::to_whole(bytes, form.byte_order, 8).map(Value::long),
            Target::Double => binary::to_double(bytes, form.byte_order).map(Value::double),
            Target::Binary if subtype != form.subtype => {
                failed("binary data cannot change their subtype in $convert")
            }
            target => to(scope, input, target),
        };
    }
    match (target, input.as_str(), form.base) {
        (Target::Binary, Some(text), _) => binary::from_text(text, form.format, form.subtype),
        (Target::Binary, None, _) => match binary::of_number(input, form.byte_order, form.subtype) {
            Some(value) => Ok(value),
            None => unsupported(input, "binData"),
        },
        (Target::Text, None, Some(base)) if input.as_number().is_some() => {
            scope.text(&base::to_text(input, base)?)
        }
        (Target::Int | Target::Long | Target::Double | Target::Decimal, Some(text), Some(base))
            if base != 10 =>
        {
            let number = Value::long(base::from_text(text, base)?);
            to(scope, &number, target)
        }
        _ => to(scope, input, target),
    }
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_hex(&mut text, *byte);
    }
    text
}

fn push_hex(text: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
    }
}

/// Converts a value that is not null.
fn to<'a>(scope: &mut Scope<'a>, value: &Value<'a>, target: Target) -> Outcome<'a> {
    match target {
        Target::Int => whole(value, "int", i64::from(i32::MIN), i64::from(i32::MAX))
            .map(|value| Value::int(value as i32)),
        Target::Long => match value {
            Value::Raw(RawBsonRef::DateTime(date)) => Ok(Value::long(date.timestamp_millis())),
            value => whole(value, "long", i64::MIN, i64::MAX).map(Value::long),
        },
        Target::Double => double_of(value),
        Target::Decimal => decimal_of(value),
        Target::Bool => Ok(Value::bool(value.truthy())),
        Target::Date => date_of(value),
        Target::Text => match text_of(value) {
            Some(text) if !matches!(value, Value::Raw(RawBsonRef::Symbol(_))) => scope.text(&text),
            _ => unsupported(value, "string"),
        },
        Target::ObjectId => match (value, value.as_str()) {
            (Value::Raw(RawBsonRef::ObjectId(_)), _) => Ok(value.clone()),
            (_, Some(text)) => match ObjectId::parse_str(text) {
                Ok(id) => Ok(Value::Raw(RawBsonRef::ObjectId(id))),
                Err(_) => failed(format!("failed to parse objectId '{text}' in $convert")),
            },
            _ => unsupported(value, "objectId"),
        },
        Target::Binary => match value.binary() {
            Some(_) => Ok(value.clone()),
            None => unsupported(value, "binData"),
        },
    }
}

fn unsupported<T>(value: &Value<'_>, target: &str) -> Result<T, QueryError> {
    failed(format!("unsupported conversion from {} to {target} in $convert", value.type_name()))
}

fn whole(value: &Value<'_>, target: &str, least: i64, most: i64) -> Result<i64, QueryError> {
    let number = match (value, value.as_number(), value.as_str()) {
        // The bounds hold for the double itself, not for what is left of it.
        (_, Some(Number::Double(double)), _) if double < least as f64 || double > most as f64 => None,
        (_, Some(number), _) => number.truncated_to_i64(),
        (Value::Raw(RawBsonRef::Boolean(value)), ..) => Some(i64::from(*value)),
        (_, _, Some(text)) => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return failed(format!("failed to parse number '{text}' in $convert"));
            }
            text.parse().ok()
        }
        _ => return unsupported(value, target),
    };
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => failed(format!("conversion would overflow target type {target} in $convert")),
    }
}

fn double_of<'a>(value: &Value<'a>) -> Outcome<'a> {
    match (value, value.as_number(), value.as_str()) {
        (_, Some(number), _) => {
            let double = number.to_f64();
            let infinite = matches!(number, Number::Decimal(Decimal::Infinity { .. }) | Number::Double(_));
            let vanished = !double.is_normal() && double.is_finite();
            if double.is_infinite() && !infinite || vanished && is_decimal_beside_zero(number) {
                return failed("conversion would overflow target type double in $convert");
            }
            Ok(Value::double(double))
        }
        (Value::Raw(RawBsonRef::Boolean(value)), ..) => Ok(Value::double(f64::from(u8::from(*value)))),
        (Value::Raw(RawBsonRef::DateTime(date)), ..) => Ok(Value::double(date.timestamp_millis() as f64)),
        (_, _, Some(text)) => match parse_double(text) {
            Some(double) => Ok(Value::double(double)),
            None => failed(format!("failed to parse number '{text}' in $convert")),
        },
        _ => unsupported(value, "double"),
    }
}

fn is_decimal_beside_zero(number: Number) -> bool {
    matches!(number, Number::Decimal(decimal) if !decimal.is_zero() && !decimal.is_nan())
}

fn parse_double(text: &str) -> Option<f64> {
    if text.is_empty() || text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let names_infinity = text.to_ascii_lowercase().contains("inf");
    (value.is_finite() || value.is_nan() || names_infinity).then_some(value)
}

fn decimal_of<'a>(value: &Value<'a>) -> Outcome<'a> {
    let decimal = match (value, value.as_number(), value.as_str()) {
        (_, Some(number), _) => number.to_decimal(),
        (Value::Raw(RawBsonRef::Boolean(value)), ..) => Decimal::from_i64(i64::from(*value)),
        (Value::Raw(RawBsonRef::DateTime(date)), ..) => Decimal::from_i64(date.timestamp_millis()),
        (_, _, Some(text)) => match Decimal::parse(text) {
            Some(decimal) => decimal,
            None => return failed(format!("failed to parse number '{text}' in $convert")),
        },
        _ => return unsupported(value, "decimal"),
    };
    Ok(Value::number(Number::Decimal(decimal)))
}

/// The date that a value stands for.
pub(super) fn date_of<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value {
        Value::Raw(RawBsonRef::DateTime(_)) => Ok(value.clone()),
        Value::Raw(RawBsonRef::ObjectId(id)) => Ok(Value::date(super::date::object_id_millis(id))),
        Value::Raw(RawBsonRef::Timestamp(timestamp)) => Ok(Value::date(i64::from(timestamp.time) * 1000)),
        Value::Raw(RawBsonRef::Int64(millis)) => Ok(Value::date(*millis)),
        Value::Raw(RawBsonRef::Double(_) | RawBsonRef::Decimal128(_)) => {
            match value.as_number().and_then(Number::truncated_to_i64) {
                Some(millis) => Ok(Value::date(millis)),
                None => failed("conversion would overflow target type date in $convert"),
            }
        }
        value => match value.as_str() {
            Some(text) => match calendar::parse_iso(text) {
                Some((millis, _)) => Ok(Value::date(millis)),
                None => failed(format!("error parsing date string '{text}'")),
            },
            None => unsupported(value, "date"),
        },
    }
}

/// The text that a value is converted to; none for types that have none.
pub(super) fn text_of(value: &Value<'_>) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    if let Some((subtype, bytes)) = value.binary() {
        return binary::to_text(subtype, bytes, Format::Auto).ok();
    }
    let Value::Raw(value) = value else { return None };
    Some(match value {
        RawBsonRef::Boolean(value) => value.to_string(),
        RawBsonRef::Int32(value) => value.to_string(),
        RawBsonRef::Int64(value) => value.to_string(),
        RawBsonRef::Double(value) => double_text(*value),
        RawBsonRef::Decimal128(value) => value.to_string(),
        RawBsonRef::ObjectId(id) => id.to_hex(),
        RawBsonRef::DateTime(date) => calendar::iso_text(date.timestamp_millis()),
        RawBsonRef::Symbol(text) => (*text).to_owned(),
        _ => return None,
    })
}

/// A double in sixteen significant digits or fewer, with an exponent where that is shorter.
fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
