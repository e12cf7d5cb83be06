//! Reading keys: the exact inverse of their making.

use bson::{
    Binary, DateTime, RawArrayBuf, RawBson, RawDocumentBuf, RawJavaScriptCodeWithScope, Regex, Timestamp,
    oid::ObjectId, raw::CString, spec::BinarySubtype,
};
use thiserror::Error;

use super::{Bracket, Direction, TYPE_MISSING, TYPE_SYMBOL, number};
use crate::limits::DEPTH_MAX;

/// Why bytes are no key: they did not come from this module, or not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed index key: {0}")]
pub struct KeyError(pub(crate) &'static str);

/// Takes one value off the front of `key`, and what belongs to it off the front of `types`. A missing field gives null.
///
/// # Errors
/// If the bytes are no key that was made with this `direction`; how much is taken then is open.
pub fn decode_value(key: &mut &[u8], types: &mut &[u8], direction: Direction) -> Result<RawBson, KeyError> {
    Ok(decode_field(key, types, direction)?.unwrap_or(RawBson::Null))
}

/// As [`decode_value`], but a missing field gives none.
///
/// # Errors
/// As [`decode_value`].
pub fn decode_field(
    key: &mut &[u8],
    types: &mut &[u8],
    direction: Direction,
) -> Result<Option<RawBson>, KeyError> {
    let mut reader = Reader { bytes: key, mask: direction.mask() };
    let mut rest = Types { bytes: types };
    let value = if reader.peek() == Some(Bracket::Null as u8) {
        reader.byte()?;
        (rest.byte() != TYPE_MISSING).then_some(RawBson::Null)
    } else {
        Some(take_value(&mut reader, &mut rest, 0)?)
    };
    *key = reader.bytes;
    *types = rest.bytes;
    Ok(value)
}

/// Passes over one value at the front of `key`.
///
/// # Errors
/// As [`decode_value`].
pub fn skip_value(key: &mut &[u8], direction: Direction) -> Result<(), KeyError> {
    let mut reader = Reader { bytes: key, mask: direction.mask() };
    let bracket = reader.byte()?;
    skip_body(bracket, &mut reader, 0)?;
    *key = reader.bytes;
    Ok(())
}

/// Takes bytes off the front of a key, turned back if it is descending.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    mask: u8,
}

impl Reader<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.first().map(|byte| byte ^ self.mask)
    }

    pub(super) fn byte(&mut self) -> Result<u8, KeyError> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(CUT_SHORT)?;
        self.bytes = rest;
        Ok(taken.map(|byte| byte ^ self.mask))
    }

    fn take_slice(&mut self, length: usize) -> Result<Vec<u8>, KeyError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.bytes = rest;
        Ok(taken.iter().map(|byte| byte ^ self.mask).collect())
    }

    fn skip(&mut self, length: usize) -> Result<(), KeyError> {
        self.bytes = self.bytes.get(length..).ok_or(CUT_SHORT)?;
        Ok(())
    }

    fn length(&mut self) -> Result<usize, KeyError> {
        Ok(u32::from_be_bytes(self.take()?) as usize)
    }

    /// Takes what stands before the next 0, and that 0.
    fn take_terminated(&mut self) -> Result<Vec<u8>, KeyError> {
        let length = self.terminated_length()?;
        let text = self.take_slice(length)?;
        self.skip(1)?;
        Ok(text)
    }

    fn skip_terminated(&mut self) -> Result<(), KeyError> {
        let length = self.terminated_length()?;
        self.skip(length + 1)
    }

    fn terminated_length(&self) -> Result<usize, KeyError> {
        self.bytes.iter().position(|byte| byte ^ self.mask == 0).ok_or(CUT_SHORT)
    }
}

/// Takes bytes off the front of types; beyond their end are zeros.
pub(super) struct Types<'a> {
    bytes: &'a [u8],
}

impl Types<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (now, rest) = self.bytes.split_at(self.bytes.len().min(N));
        taken.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
        self.bytes = rest;
        taken
    }
}

const CUT_SHORT: KeyError = KeyError("it is cut short");
const UNKNOWN_BRACKET: KeyError = KeyError("unknown bracket");
const TOO_DEEP: KeyError = KeyError("it nests too deeply");

fn take_value(key: &mut Reader<'_>, types: &mut Types<'_>, depth: usize) -> Result<RawBson, KeyError> {
    let bracket = key.byte()?;
    take_body(bracket, key, types, depth)
}

fn take_body(
    bracket: u8,
    key: &mut Reader<'_>,
    types: &mut Types<'_>,
    depth: usize,
) -> Result<RawBson, KeyError> {
    if depth > DEPTH_MAX {
        return Err(TOO_DEEP);
    }
    Ok(match bracket_of(bracket)? {
        Bracket::MinKey => RawBson::MinKey,
        Bracket::MaxKey => RawBson::MaxKey,
        Bracket::Undefined => RawBson::Undefined,
        Bracket::Null => {
            types.byte();
            RawBson::Null
        }
        Bracket::Number => number::take_number(key, types)?,
        Bracket::String => {
            let text = take_text(key)?;
            if types.byte() == TYPE_SYMBOL { RawBson::Symbol(text) } else { RawBson::String(text) }
        }
        Bracket::Object => RawBson::Document(take_document(key, types, depth)?),
        Bracket::Array => {
            let mut array = RawArrayBuf::new();
            loop {
                match key.byte()? {
                    0 => break,
                    bracket => array.push(take_body(bracket, key, types, depth + 1)?),
                }
            }
            RawBson::Array(array)
        }
        Bracket::Binary => {
            let length = key.length()?;
            let subtype = BinarySubtype::from(key.byte()?);
            let inner = if matches!(subtype, BinarySubtype::BinaryOld) { 4 } else { 0 };
            let bytes = key.take_slice(length.checked_sub(inner).ok_or(CUT_SHORT)?)?;
            RawBson::Binary(Binary { subtype, bytes })
        }
        Bracket::ObjectId => RawBson::ObjectId(ObjectId::from_bytes(key.take()?)),
        Bracket::Boolean => RawBson::Boolean(key.byte()? != 0),
        Bracket::DateTime => {
            RawBson::DateTime(DateTime::from_millis((u64::from_be_bytes(key.take()?) ^ 1 << 63) as i64))
        }
        Bracket::Timestamp => RawBson::Timestamp(Timestamp {
            time: u32::from_be_bytes(key.take()?),
            increment: u32::from_be_bytes(key.take()?),
        }),
        Bracket::Regex => {
            RawBson::RegularExpression(Regex { pattern: take_name(key)?, options: take_name(key)? })
        }
        Bracket::DbPointer => {
            let length = key.length()?;
            let namespace = key.take_slice(length)?;
            db_pointer(&namespace, key.take()?)?
        }
        Bracket::Code => RawBson::JavaScriptCode(take_text(key)?),
        Bracket::CodeWithScope => RawBson::JavaScriptCodeWithScope(RawJavaScriptCodeWithScope {
            code: take_text(key)?,
            scope: take_document(key, types, depth)?,
        }),
    })
}

fn take_document(
    key: &mut Reader<'_>,
    types: &mut Types<'_>,
    depth: usize,
) -> Result<RawDocumentBuf, KeyError> {
    let mut document = RawDocumentBuf::new();
    loop {
        match key.byte()? {
            0 => return Ok(document),
            bracket => {
                let name = take_name(key)?;
                document.append(name, take_body(bracket, key, types, depth + 1)?);
            }
        }
    }
}

fn skip_body(bracket: u8, key: &mut Reader<'_>, depth: usize) -> Result<(), KeyError> {
    if depth > DEPTH_MAX {
        return Err(TOO_DEEP);
    }
    match bracket_of(bracket)? {
        Bracket::MinKey | Bracket::MaxKey | Bracket::Undefined | Bracket::Null => Ok(()),
        Bracket::Number => number::skip_number(key),
        Bracket::String | Bracket::Code => key.skip_terminated(),
        Bracket::Object => skip_document(key, depth),
        Bracket::Array => loop {
            match key.byte()? {
                0 => return Ok(()),
                bracket => skip_body(bracket, key, depth + 1)?,
            }
        },
        Bracket::Binary => {
            let length = key.length()?;
            let inner = if key.byte()? == 2 { 4 } else { 0 };
            key.skip(length.checked_sub(inner).ok_or(CUT_SHORT)?)
        }
        Bracket::ObjectId => key.skip(12),
        Bracket::Boolean => key.skip(1),
        Bracket::DateTime | Bracket::Timestamp => key.skip(8),
        Bracket::Regex => {
            key.skip_terminated()?;
            key.skip_terminated()
        }
        Bracket::DbPointer => {
            let length = key.length()?;
            key.skip(length)?;
            key.skip(12)
        }
        Bracket::CodeWithScope => {
            key.skip_terminated()?;
            skip_document(key, depth)
        }
    }
}

fn skip_document(key: &mut Reader<'_>, depth: usize) -> Result<(), KeyError> {
    loop {
        match key.byte()? {
            0 => return Ok(()),
            bracket => {
                key.skip_terminated()?;
                skip_body(bracket, key, depth + 1)?;
            }
        }
    }
}

fn take_text(key: &mut Reader<'_>) -> Result<String, KeyError> {
    let mut text = key.take_terminated()?;
    if text.contains(&1) {
        let mut plain = Vec::with_capacity(text.len());
        let mut bytes = text.into_iter();
        while let Some(byte) = bytes.next() {
            plain.push(match byte {
                1 => bytes.next().and_then(|escaped| escaped.checked_sub(1)).ok_or(CUT_SHORT)?,
                byte => byte,
            });
        }
        text = plain;
    }
    String::from_utf8(text).map_err(|_| KeyError("text is not UTF-8"))
}

fn take_name(key: &mut Reader<'_>) -> Result<CString, KeyError> {
    let text = String::from_utf8(key.take_terminated()?).map_err(|_| KeyError("a name is not UTF-8"))?;
    CString::try_from(text).map_err(|_| KeyError("a name holds NUL"))
}

/// A database pointer, which `bson` builds from bytes only.
fn db_pointer(namespace: &[u8], id: [u8; 12]) -> Result<RawBson, KeyError> {
    const MALFORMED: KeyError = KeyError("bad database pointer");
    // length (4), type (1), empty key (1), string length (4), namespace, NUL, id (12), end (1)
    let length = i32::try_from(namespace.len() + 24).map_err(|_| MALFORMED)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0x0c, 0]);
    bytes.extend_from_slice(&(length - 23).to_le_bytes());
    bytes.extend_from_slice(namespace);
    bytes.push(0);
    bytes.extend_from_slice(&id);
    bytes.push(0);
    let document = RawDocumentBuf::from_bytes(bytes).map_err(|_| MALFORMED)?;
    match document.get("") {
        Ok(Some(value)) => Ok(value.into()),
        _ => Err(MALFORMED),
    }
}

fn bracket_of(byte: u8) -> Result<Bracket, KeyError> {
    use Bracket as B;
    const ALL: [Bracket; 17] = [
        B::MinKey,
        B::Undefined,
        B::Null,
        B::Number,
        B::String,
        B::Object,
        B::Array,
        B::Binary,
        B::ObjectId,
        B::Boolean,
        B::DateTime,
        B::Timestamp,
        B::Regex,
        B::DbPointer,
        B::Code,
        B::CodeWithScope,
        B::MaxKey,
    ];
    ALL.into_iter().find(|bracket| *bracket as u8 == byte).ok_or(UNKNOWN_BRACKET)
}
