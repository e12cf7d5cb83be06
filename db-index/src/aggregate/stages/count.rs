//! `$count`.

use bson::RawBsonRef;
use bson::raw::{CString, RawDocumentBuf};

use crate::aggregate::outside::Rows;
use crate::aggregate::parse::error;
use crate::aggregate::rows::lazily;
use crate::error::QueryError;

/// The operand of `$count`: the name of the field.
pub(in crate::aggregate) fn parse(operand: RawBsonRef<'_>) -> Result<CString, QueryError> {
    let RawBsonRef::String(name) = operand else {
        return error(40156, "the count field must be a non-empty string");
    };
    if name.is_empty() {
        return error(40157, "the count field must be a non-empty string");
    }
    if name.starts_with('$') {
        return error(40158, "the count field cannot be a $-prefixed path");
    }
    if name.contains('.') {
        return error(40160, "the count field cannot contain '.'");
    }
    if name == "_id" {
        return error(9_039_800, "the count field cannot be '_id'");
    }
    match CString::try_from(name.to_owned()) {
        Ok(name) => Ok(name),
        Err(_) => error(40159, "the count field cannot contain a null byte"),
    }
}

/// One document with the number of documents; none if there are none.
pub(in crate::aggregate) fn run<E: Send + 'static>(name: CString, input: Rows<E>) -> Rows<E> {
    lazily(move || {
        let mut count = 0_i64;
        for document in input {
            document?;
            count += 1;
        }
        let mut document = RawDocumentBuf::new();
        match i32::try_from(count) {
            Ok(count) => document.append(name, count),
            Err(_) => document.append(name, count),
        }
        Ok((count > 0).then_some(Ok(document)).into_iter())
    })
}
