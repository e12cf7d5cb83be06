//! What can be asked of an index beside its keys: read from a specification, checked, and written back.

use std::sync::Arc;

use bson::{RawBsonRef, RawDocument, RawDocumentBuf, raw::cstr};

use super::{partial::PartialFilter, wildcard::WildcardProjection};
use crate::{
    collation::Collation,
    error::{ErrorCode, QueryError},
    geo::Grid,
    number::Number,
    order::elements,
    text::{TEXT_INDEX_OPTIONS, TextSettings},
};

/// The options of an index.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Options {
    pub(super) name: Option<String>,
    pub(super) unique: bool,
    pub(super) on_duplicate: OnDuplicate,
    pub(super) sparse: bool,
    pub(super) hidden: bool,
    pub(super) partial: Option<PartialFilter>,
    pub(super) expire_after_seconds: Option<i32>,
    pub(super) collation: Option<Collation>,
    pub(super) wildcard_projection: Option<WildcardProjection>,
    /// The texts of a text index; read with its keys.
    pub(super) text: Option<Arc<TextSettings>>,
    /// The grid of a flat geospatial index.
    pub(super) grid: Grid,
}

/// What becomes of a document that was written apart from another of the same key in a unique index, and comes second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OnDuplicate {
    #[default]
    Reject,
    /// It is kept, without holding the key.
    Quarantine,
}

impl Options {
    /// Reads the options of a specification; what only says where the index belongs (`key`, `ns`, `v`) or how it was to be
    /// built once (`background`, `dropDups`) means nothing.
    ///
    /// # Errors
    /// `TypeMismatch` (14) for an option of the wrong type, `CannotCreateIndex` (67) for one that cannot be,
    /// `InvalidIndexSpecificationOption` (197) for one that is unknown.
    pub(super) fn parse(document: &RawDocument) -> Result<Self, QueryError> {
        let mut options = Self::default();
        for (name, value) in elements(document) {
            options.read(name.as_str(), value)?;
        }
        if let Ok(Some(RawBsonRef::Document(filter))) = document.get("partialFilterExpression") {
            options.partial = Some(PartialFilter::parse(filter, options.collation.as_ref())?);
        }
        options.grid.check()?;
        if options.on_duplicate == OnDuplicate::Quarantine && !options.unique {
            return Err(cannot_create("\"onDuplicate\" is an option of unique indexes"));
        }
        if options.sparse && options.partial.is_some() {
            return Err(cannot_create("cannot mix \"partialFilterExpression\" and \"sparse\" options"));
        }
        Ok(options)
    }

    /// Appends them to a specification.
    pub(super) fn write(&self, document: &mut RawDocumentBuf) {
        if self.unique {
            document.append(cstr!("unique"), true);
        }
        if self.on_duplicate == OnDuplicate::Quarantine {
            document.append(cstr!("onDuplicate"), "quarantine");
        }
        if self.sparse {
            document.append(cstr!("sparse"), true);
        }
        if let Some(partial) = &self.partial {
            document.append(cstr!("partialFilterExpression"), partial.filter().to_document());
        }
        if let Some(seconds) = self.expire_after_seconds {
            document.append(cstr!("expireAfterSeconds"), seconds);
        }
        if self.hidden {
            document.append(cstr!("hidden"), true);
        }
        if let Some(collation) = &self.collation {
            document.append(cstr!("collation"), collation.to_document());
        }
        if let Some(text) = &self.text {
            text.write(document);
        }
        self.grid.write(document);
        if let Some(projection) = &self.wildcard_projection {
            document.append(cstr!("wildcardProjection"), projection.to_document());
        }
    }

    /// Whether an index with the same keys is the same index: whether both hold the same documents, under the same keys.
    pub(super) fn is_same_index(&self, other: &Self) -> bool {
        (self.unique, self.sparse) == (other.unique, other.sparse)
            && self.partial == other.partial
            && self.collation == other.collation
            && self.wildcard_projection == other.wildcard_projection
            && self.text == other.text
            && self.grid == other.grid
    }

    /// Whether such an index is also kept in the same way. Whether it is hidden does not count.
    pub(super) fn is_equal(&self, other: &Self) -> bool {
        self.is_same_index(other)
            && self.expire_after_seconds == other.expire_after_seconds
            && self.on_duplicate == other.on_duplicate
    }

    fn read(&mut self, option: &str, value: RawBsonRef<'_>) -> Result<(), QueryError> {
        match option {
            "name" => match value {
                RawBsonRef::String("" | "*") => {
                    return Err(cannot_create("index names cannot be empty or '*'"));
                }
                RawBsonRef::String(name) => self.name = Some(name.to_owned()),
                _ => return Err(wrong_type(option, "a string")),
            },
            "unique" => self.unique = flag(option, value)?,
            "onDuplicate" => match value {
                RawBsonRef::String("quarantine") => self.on_duplicate = OnDuplicate::Quarantine,
                RawBsonRef::String("reject") => self.on_duplicate = OnDuplicate::Reject,
                _ => return Err(cannot_create("\"onDuplicate\" must be \"reject\" or \"quarantine\"")),
            },
            "sparse" => self.sparse = flag(option, value)?,
            "hidden" => match value {
                RawBsonRef::Boolean(hidden) => self.hidden = hidden,
                _ => return Err(wrong_type(option, "a boolean")),
            },
            "expireAfterSeconds" => self.expire_after_seconds = Some(expire_after_seconds(value)?),
            "collation" => match value {
                RawBsonRef::Document(collation) if collation.is_empty() => {
                    return Err(QueryError::bad_value("The field 'collation' cannot be an empty object."));
                }
                RawBsonRef::Document(collation) => self.collation = Collation::parse(collation)?,
                _ => return Err(wrong_type(option, "an object")),
            },
            "wildcardProjection" => match value {
                RawBsonRef::Document(projection) => {
                    self.wildcard_projection = Some(WildcardProjection::parse(projection)?);
                }
                _ => return Err(wrong_type(option, "an object")),
            },
            "v" => match Number::from_raw(value).map(Number::to_i64_exact) {
                Some(Some(1 | 2)) => {}
                Some(_) => return Err(cannot_create("the version of an index ('v') must be 1 or 2")),
                None => return Err(wrong_type(option, "a number")),
            },
            // The filter of a partial index is compiled when the collation is known.
            "storageEngine" | "partialFilterExpression" => match value {
                RawBsonRef::Document(_) => {}
                _ => return Err(wrong_type(option, "an object")),
            },
            "bits" | "min" | "max" => self.grid.read(option, value)?,
            "2dsphereIndexVersion" | "coarsestIndexedLevel" | "finestIndexedLevel" => {
                if Number::from_raw(value).is_none() {
                    return Err(wrong_type(option, "a number"));
                }
            }
            option if TEXT_INDEX_OPTIONS.contains(&option) => {} // read with the keys
            "key" | "ns" | "background" | "dropDups" => {}
            _ => {
                return Err(invalid_option(format!(
                    "The field '{option}' is not valid for an index specification."
                )));
            }
        }
        Ok(())
    }
}

/// Reads how many seconds after its date a document expires: a number from 0 to 2^31 - 1, whose fraction does not count.
///
/// # Errors
/// `CannotCreateIndex` (67) for anything else.
fn expire_after_seconds(value: RawBsonRef<'_>) -> Result<i32, QueryError> {
    let Some(number) = Number::from_raw(value) else {
        return Err(cannot_create("TTL index 'expireAfterSeconds' option must be numeric"));
    };
    if number.is_nan() {
        return Ok(0);
    }
    let seconds = number.truncated_to_i64().and_then(|seconds| i32::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds >= 0).ok_or_else(|| {
        cannot_create(format!(
            "TTL index 'expireAfterSeconds' option must be within an acceptable range: 0 to {}",
            i32::MAX
        ))
    })
}

fn flag(option: &str, value: RawBsonRef<'_>) -> Result<bool, QueryError> {
    match value {
        RawBsonRef::Boolean(value) => Ok(value),
        _ => match Number::from_raw(value) {
            Some(number) => Ok(number.to_f64() != 0.0),
            None => Err(wrong_type(option, "a boolean")),
        },
    }
}

pub(super) fn cannot_create(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorCode::CANNOT_CREATE_INDEX, message)
}

pub(super) fn invalid_option(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorCode::INVALID_INDEX_SPECIFICATION_OPTION, message)
}

fn wrong_type(option: &str, expected: &str) -> QueryError {
    QueryError::new(ErrorCode::TYPE_MISMATCH, format!("The field '{option}' must be {expected}"))
}
