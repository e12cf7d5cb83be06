//! Arrays, sets and merged documents.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bson::raw::RawDocumentBuf;
use bson::spec::ElementType;
use bson::{RawBson, RawBsonRef};

use super::error;
use super::state::{Owned, held_bytes};
use crate::collation::Collation;
use crate::error::QueryError;
use crate::expression::Value;
use crate::raw::{Writer, decimal};

/// The distinct values of a set, in order.
#[derive(Debug, Default)]
pub(super) struct Set {
    values: BTreeSet<Owned>,
    bytes: usize,
}

impl Set {
    pub(super) fn add(&mut self, value: RawBson, collation: Option<&Collation>) {
        let bytes = held_bytes(&value);
        // Of equal values the first stays.
        if self.values.insert(Owned(value, collation.cloned())) {
            self.bytes += bytes;
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = RawBsonRef<'_>> {
        self.values.iter().map(|value| value.0.as_raw_bson_ref())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Documents merged into one: each field where it first stood, with its last value.
#[derive(Debug, Default)]
pub(super) struct Merged {
    places: BTreeMap<String, usize>,
    fields: Vec<(String, RawBson)>,
    bytes: usize,
}

impl Merged {
    pub(super) fn add(&mut self, value: &Value<'_>) -> Result<(), QueryError> {
        if value.is_nullish() {
            return Ok(());
        }
        let Some(fields) = value.fields() else {
            return error(
                40400,
                format!("$mergeObjects requires object inputs, but input is of type {}", value.type_name()),
            );
        };
        for (name, value) in fields {
            let Some(value) = value.to_raw_bson()? else { continue };
            self.bytes += held_bytes(&value);
            let slot = self.places.get(name.as_ref()).and_then(|place| self.fields.get_mut(*place));
            if let Some((_, old)) = slot {
                self.bytes -= held_bytes(old);
                *old = value;
            } else {
                let name: Cow<'_, str> = name;
                self.bytes += 2 * name.len() + 64;
                self.places.insert(name.to_string(), self.fields.len());
                self.fields.push((name.into_owned(), value));
            }
        }
        Ok(())
    }

    pub(super) fn document(&self) -> Result<RawDocumentBuf, QueryError> {
        let mut writer = Writer::with_capacity(64);
        let root = writer.open_root();
        for (name, value) in &self.fields {
            Value::Raw(value.as_raw_bson_ref()).write(name, &mut writer)?;
            writer.check_size()?;
        }
        writer.close(root);
        Ok(writer.into_document())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// An array of these values.
///
/// # Errors
/// `BSONObjectTooLarge` (10334) if it does not fit into a document.
pub(in crate::aggregate) fn array<'v>(
    values: impl Iterator<Item = RawBsonRef<'v>>,
) -> Result<RawBson, QueryError> {
    let mut writer = Writer::with_capacity(64);
    let root = writer.open_root();
    let opened = writer.open("", ElementType::Array);
    for (index, value) in values.enumerate() {
        Value::Raw(value).write(&decimal(index), &mut writer)?;
        writer.check_size()?;
    }
    writer.close(opened);
    writer.close(root);
    let wrapped = writer.into_document();
    let array = wrapped.iter().next().and_then(Result::ok).map(|(_, value)| value.into());
    Ok(array.unwrap_or(RawBson::Null))
}
