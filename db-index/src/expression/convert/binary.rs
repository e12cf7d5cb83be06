//! Conversions between binary data, text and numbers.

use std::sync::Arc;

use bson::RawBsonRef;
use bson::spec::BinarySubtype;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::{failed, uuid_bytes, uuid_text};
use crate::error::QueryError;
use crate::expression::error;
use crate::expression::value::Value;

/// How binary data are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Base64,
    Base64Url,
    Hex,
    Utf8,
    Uuid,
    /// A UUID as such, everything else in base 64.
    Auto,
}

impl Format {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, QueryError> {
        let Some(name) = value.as_str() else {
            let message =
                format!("$convert requires that 'format' be a string, found: {}", value.type_name());
            return error(4_341_114, message);
        };
        Ok(match name {
            "base64" => Self::Base64,
            "base64url" => Self::Base64Url,
            "hex" => Self::Hex,
            "utf8" => Self::Utf8,
            "uuid" => Self::Uuid,
            "auto" => Self::Auto,
            _ => return error(4_341_125, format!("invalid 'format' argument for $convert: '{name}'")),
        })
    }
}

/// Binary data as text.
pub(super) fn to_text(subtype: BinarySubtype, bytes: &[u8], format: Format) -> Result<String, QueryError> {
    let is_uuid = subtype == BinarySubtype::Uuid;
    Ok(match format {
        Format::Auto | Format::Uuid if is_uuid && bytes.len() == 16 => uuid_text(bytes),
        Format::Uuid => return failed("the binary data in $convert are no UUID"),
        Format::Auto | Format::Base64 => BASE64.encode(bytes),
        Format::Base64Url => BASE64URL_NOPAD.encode(bytes),
        Format::Hex => HEXLOWER.encode(bytes).to_uppercase(),
        Format::Utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return failed("the binary data in $convert are no valid UTF-8"),
        },
    })
}

/// Text as binary data.
pub(super) fn from_text<'a>(
    text: &str,
    format: Option<Format>,
    subtype: BinarySubtype,
) -> Result<Value<'a>, QueryError> {
    let Some(format) = format else {
        return error(
            4_341_115,
            "Format must be specified when converting from 'string' to 'binData' in $convert",
        );
    };
    let is_uuid = subtype == BinarySubtype::Uuid;
    if is_uuid != (format == Format::Uuid) && format != Format::Auto {
        return failed("in $convert, the format 'uuid' goes with the subtype of UUIDs and with no other");
    }
    let decoded = match format {
        Format::Base64 => BASE64.decode(text.as_bytes()).ok(),
        Format::Base64Url => BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok(),
        Format::Hex => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
        Format::Utf8 => Some(text.as_bytes().to_vec()),
        Format::Uuid => uuid_bytes(text),
        Format::Auto => {
            return error(4_341_119, "$convert to BinData from string does not support the 'auto' format");
        }
    };
    match decoded {
        Some(bytes) => Ok(Value::Bytes(subtype, Arc::from(bytes))),
        None => failed(format!("Input '{text}' doesn't match the expected format in $convert")),
    }
}

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, QueryError> {
        match value.as_str() {
            Some("little") => Ok(Self::Little),
            Some("big") => Ok(Self::Big),
            _ => error(9_130_002, "invalid 'byteOrder' argument for $convert: it is 'little' or 'big'"),
        }
    }
}

/// The bytes of a number of fixed width.
pub(super) fn of_number<'a>(
    value: &Value<'a>,
    order: ByteOrder,
    subtype: BinarySubtype,
) -> Option<Value<'a>> {
    let mut bytes = match value {
        Value::Raw(RawBsonRef::Int32(value)) => value.to_le_bytes().to_vec(),
        Value::Raw(RawBsonRef::Int64(value)) => value.to_le_bytes().to_vec(),
        Value::Raw(RawBsonRef::Double(value)) => value.to_le_bytes().to_vec(),
        _ => return None,
    };
    if order == ByteOrder::Big {
        bytes.reverse();
    }
    Some(Value::Bytes(subtype, Arc::from(bytes)))
}

/// The whole number, with a sign, that at most `most` bytes are: 1, 2, 4 or 8 of them.
pub(super) fn to_whole(bytes: &[u8], order: ByteOrder, most: usize) -> Result<i64, QueryError> {
    if !matches!(bytes.len(), 1 | 2 | 4 | 8) || bytes.len() > most {
        return failed(format!(
            "binary data of {} bytes are no number of that type in $convert",
            bytes.len()
        ));
    }
    let mut little = bytes.to_vec();
    if order == ByteOrder::Big {
        little.reverse();
    }
    let is_negative = little.last().is_some_and(|byte| *byte >= 0x80);
    little.resize(8, if is_negative { 0xff } else { 0 });
    Ok(little.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes)))
}

/// The double that 4 or 8 bytes are.
pub(super) fn to_double(bytes: &[u8], order: ByteOrder) -> Result<f64, QueryError> {
    let mut little = bytes.to_vec();
    if order == ByteOrder::Big {
        little.reverse();
    }
    match (<[u8; 4]>::try_from(little.as_slice()), <[u8; 8]>::try_from(little.as_slice())) {
        (Ok(bytes), _) => Ok(f64::from(f32::from_le_bytes(bytes))),
        (_, Ok(bytes)) => Ok(f64::from_le_bytes(bytes)),
        _ => failed(format!("binary data of {} bytes are no double in $convert", bytes.len())),
    }
}
