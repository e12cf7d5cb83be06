//! The guard at the door: what it lets in can be read, decoded and compared without a further check.
//!
//! It walks the bytes without recursion and knows every bound. Whatever comes from a client, a peer or a file passes it
//! once, before anything else looks inside.

use bson::{RawBsonRef, RawDocument};

use crate::{
    error::{ErrorCode, QueryError},
    limits::{DEPTH_MAX, DOCUMENT_BYTES_MAX, ELEMENTS_MAX},
};

#[cfg(test)]
mod tests;

/// Checks that `bytes` are one whole, well-formed document within the limits.
///
/// Afterwards iterating the document raw, at every level, meets no error; no document in it has two fields of one name;
/// it nests at most [`DEPTH_MAX`] levels deep.
///
/// # Errors
/// `BSONObjectTooLarge` (10334) beyond [`DOCUMENT_BYTES_MAX`], `Overflow` (15) beyond [`DEPTH_MAX`] or [`ELEMENTS_MAX`],
/// `InvalidBSON` (22) for everything else, naming the path of the offending field.
pub fn check_document(bytes: &[u8]) -> Result<&RawDocument, QueryError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(QueryError::new(
            ErrorCode::BSON_OBJECT_TOO_LARGE,
            format!("document of {} bytes is larger than the limit of {DOCUMENT_BYTES_MAX}", bytes.len()),
        ));
    }
    let mut walk = Walk {
        bytes,
        position: 0,
        levels: Vec::with_capacity(4),
        keys: Vec::with_capacity(16),
        elements: 0,
        name: b"",
    };
    match walk.run() {
        Ok(()) => RawDocument::from_bytes(bytes)
            .map_err(|error| QueryError::new(ErrorCode::INVALID_BSON, format!("invalid BSON: {error}"))),
        Err(fault) => Err(walk.describe(fault)),
    }
}

/// Checks what only documents to be stored must fulfil, and gives their `_id` if they have one.
///
/// Names that start with `$` or contain dots are allowed, as since MongoDB 5.0, but not `$` directly within an `_id`.
///
/// # Errors
/// `InvalidIdField` (53) for an `_id` that is an array, a regular expression or undefined,
/// `DollarPrefixedFieldName` (52) for an `_id` with a field that starts with `$`.
pub fn check_storable(document: &RawDocument) -> Result<Option<RawBsonRef<'_>>, QueryError> {
    let id = document
        .get("_id")
        .map_err(|error| QueryError::new(ErrorCode::INVALID_BSON, format!("invalid BSON: {error}")))?;
    let refused = |kind: &str| {
        Err(QueryError::new(ErrorCode::INVALID_ID_FIELD, format!("The '_id' value cannot be of type {kind}")))
    };
    match id {
        Some(RawBsonRef::Array(_)) => refused("array"),
        Some(RawBsonRef::RegularExpression(_)) => refused("regex"),
        Some(RawBsonRef::Undefined) => refused("undefined"),
        Some(RawBsonRef::Document(inner)) => {
            let dollar = crate::order::elements(inner).find(|(key, _)| key.as_str().starts_with('$'));
            match dollar {
                Some((key, _)) if !matches!(key.as_str(), "$ref" | "$id" | "$db") => Err(QueryError::new(
                    ErrorCode::DOLLAR_PREFIXED_FIELD_NAME,
                    format!(
                        "The dollar ($) prefixed field '{0}' in '_id.{0}' is not valid for storage.",
                        key.as_str()
                    ),
                )),
                _ => Ok(id),
            }
        }
        _ => Ok(id),
    }
}

/// How much of an offending path an error shows.
const PATH_CHARACTERS_MAX: usize = 200;

/// Why the walk stopped.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Bytes that are no BSON.
    Malformed(&'static str),
    /// A bound that was crossed.
    Bound(&'static str, usize),
}

use Fault::{Bound, Malformed};

/// A document or array whose end the walk has not reached.
struct Level<'a> {
    /// The name it stands under.
    name: &'a [u8],
    /// Where its bytes end.
    end: usize,
    /// Where its own names begin in `keys`; none for an array, whose names nobody looks up.
    keys_start: Option<usize>,
}

struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
    levels: Vec<Level<'a>>,
    /// The names within all open documents, each document's in one run.
    keys: Vec<&'a [u8]>,
    elements: usize,
    /// The element at hand, for errors.
    name: &'a [u8],
}

impl<'a> Walk<'a> {
    fn run(&mut self) -> Result<(), Fault> {
        self.open(true, self.bytes.len())?;
        if self.levels.first().is_some_and(|level| level.end != self.bytes.len()) {
            return Err(Malformed("the length of the document is not the number of its bytes"));
        }
        while let Some(level) = self.levels.last() {
            let (end, is_document) = (level.end, level.keys_start.is_some());
            match self.byte(end)? {
                0 if self.position == end => self.close()?,
                0 => return Err(Malformed("a document ends before its length says so")),
                tag => {
                    self.elements += 1;
                    if self.elements > ELEMENTS_MAX {
                        return Err(Bound("elements", ELEMENTS_MAX));
                    }
                    self.name = self.c_string(end)?;
                    if is_document {
                        self.keys.push(self.name);
                    }
                    self.value(tag, end)?;
                }
            }
        }
        Ok(())
    }

    /// Passes over a value of type `tag` in a document that ends at `end`, or into it.
    fn value(&mut self, tag: u8, end: usize) -> Result<(), Fault> {
        match tag {
            0x10 => self.skip(4, end),
            0x01 | 0x09 | 0x11 | 0x12 => self.skip(8, end),
            0x07 => self.skip(12, end),
            0x13 => self.skip(16, end),
            0x06 | 0x0a | 0x7f | 0xff => Ok(()),
            0x02 | 0x0d | 0x0e => self.string(end),
            0x03 => self.open(true, end),
            0x04 => self.open(false, end),
            0x05 => self.binary(end),
            0x08 => match self.byte(end)? {
                0 | 1 => Ok(()),
                _ => Err(Malformed("a boolean is neither 0 nor 1")),
            },
            0x0b => {
                self.c_string(end)?;
                self.c_string(end).map(drop)
            }
            0x0c => {
                self.string(end)?;
                self.skip(12, end)
            }
            0x0f => {
                let start = self.position;
                let length = self.length(end)?;
                self.string(end)?;
                self.open(true, end)?;
                let scope_end = self.levels.last().map(|level| level.end);
                if start.checked_add(length) == scope_end {
                    Ok(())
                } else {
                    Err(Malformed("the length of code with scope is not that of its parts"))
                }
            }
            _ => Err(Malformed("unknown element type")),
        }
    }

    /// Enters the document or array that begins at the position and must end before the terminator at `outer_end`.
    fn open(&mut self, is_document: bool, outer_end: usize) -> Result<(), Fault> {
        if self.levels.len() >= DEPTH_MAX {
            return Err(Bound("levels", DEPTH_MAX));
        }
        let start = self.position;
        let length = self.length(outer_end)?;
        // The outermost document has no terminator after it.
        let room = if self.levels.is_empty() { outer_end } else { outer_end - 1 };
        let end = start.checked_add(length).filter(|end| length >= 5 && *end <= room);
        let end = end.ok_or(Malformed("the length of a document is wrong"))?;
        let keys_start = is_document.then_some(self.keys.len());
        self.levels.push(Level { name: self.name, end, keys_start });
        Ok(())
    }

    /// Leaves the innermost document, whose terminator was just read.
    fn close(&mut self) -> Result<(), Fault> {
        if let Some(Level { name, keys_start: Some(keys_start), .. }) = self.levels.last() {
            if let Some(own) = self.keys.get_mut(*keys_start..)
                && let Some(twice) = find_duplicate(own)
            {
                self.name = twice;
                return Err(Malformed("a field name occurs twice"));
            }
            self.keys.truncate(*keys_start);
            self.name = name;
        }
        self.levels.pop();
        Ok(())
    }

    fn binary(&mut self, end: usize) -> Result<(), Fault> {
        let length = self.length(end)?;
        let subtype = self.byte(end)?;
        let start = self.position;
        self.skip(length, end)?;
        if subtype == 2 {
            self.position = start;
            let inner = self.length(end)?;
            if inner.checked_add(4) != Some(length) {
                return Err(Malformed("the inner length of old binary data is wrong"));
            }
            self.skip(inner, end)?;
        }
        Ok(())
    }

    fn string(&mut self, end: usize) -> Result<(), Fault> {
        let length = self.length(end)?;
        let start = self.position;
        self.skip(length, end)?;
        match self.bytes.get(start..self.position).and_then(<[u8]>::split_last) {
            Some((0, text)) => check_utf8(text),
            _ => Err(Malformed("a string is not terminated")),
        }
    }

    /// Takes a name or a pattern, without its NUL.
    fn c_string(&mut self, end: usize) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.position..end.saturating_sub(1)).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == 0).ok_or(Malformed("a name is not terminated"))?;
        self.position += length + 1;
        let text = rest.get(..length).unwrap_or_default();
        check_utf8(text)?;
        Ok(text)
    }

    fn length(&mut self, end: usize) -> Result<usize, Fault> {
        let start = self.position;
        self.skip(4, end)?;
        let bytes = self.bytes.get(start..self.position).and_then(|bytes| bytes.try_into().ok());
        let length = bytes.map(i32::from_le_bytes).and_then(|length| usize::try_from(length).ok());
        length.ok_or(Malformed("a length is negative"))
    }

    fn byte(&mut self, end: usize) -> Result<u8, Fault> {
        let byte = self.bytes.get(self.position).filter(|_| self.position < end);
        self.position += 1;
        byte.copied().ok_or(Malformed("a value goes beyond the end of its document"))
    }

    fn skip(&mut self, count: usize, end: usize) -> Result<(), Fault> {
        match self.position.checked_add(count).filter(|position| *position <= end) {
            Some(position) => {
                self.position = position;
                Ok(())
            }
            None => Err(Malformed("a value goes beyond the end of its document")),
        }
    }

    fn describe(&self, fault: Fault) -> QueryError {
        let names = self.levels.iter().skip(1).map(|level| level.name).chain([self.name]);
        let path: Vec<_> = names.map(String::from_utf8_lossy).collect();
        let path: String = path.join(".").chars().take(PATH_CHARACTERS_MAX).collect(); // names can be megabytes
        let path = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
        match fault {
            Malformed(why) => QueryError::new(ErrorCode::INVALID_BSON, format!("invalid BSON{path}: {why}")),
            Bound(what, limit) => {
                QueryError::new(ErrorCode::OVERFLOW, format!("document has more than {limit} {what}{path}"))
            }
        }
    }
}

fn check_utf8(text: &[u8]) -> Result<(), Fault> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Malformed("text is not UTF-8")),
    }
}

/// A name that occurs twice; the order of `names` may change.
fn find_duplicate<'a>(names: &mut [&'a [u8]]) -> Option<&'a [u8]> {
    const PAIRWISE_MAX: usize = 12;
    if names.len() <= PAIRWISE_MAX {
        let mut rest = &*names;
        while let Some((name, others)) = rest.split_first() {
            if others.contains(name) {
                return Some(name);
            }
            rest = others;
        }
        return None;
    }
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}
