//! `$unwind`: a document for each element of an array.

use std::ops::Range;
use std::sync::Arc;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::spec::ElementType;
use bson::{RawArray, RawArrayBuf, RawBsonRef};

use crate::aggregate::edit::{self, Path};
use crate::aggregate::outside::Rows;
use crate::aggregate::parse::{error, type_name};
use crate::aggregate::rows::check_row;
use crate::error::QueryError;
use crate::order;
use crate::raw::{Elements, Item};

/// A compiled `$unwind`.
#[derive(Debug)]
pub(in crate::aggregate) struct Unwind {
    path: Path,
    index: Option<Path>,
    /// Whether a document without elements stays.
    preserves: bool,
}

impl Unwind {
    pub(in crate::aggregate) fn parse(operand: RawBsonRef<'_>) -> Result<Self, QueryError> {
        let (mut path, mut index, mut preserves) = (None, None, false);
        match operand {
            RawBsonRef::String(text) => path = Some(text),
            RawBsonRef::Document(document) => {
                for (name, value) in order::elements(document) {
                    match (name.as_str(), value) {
                        ("path", RawBsonRef::String(text)) => path = Some(text),
                        ("path", value) => {
                            return error(
                                28808,
                                format!(
                                    "expected a string as the path for $unwind stage, got {}",
                                    type_name(value)
                                ),
                            );
                        }
                        ("preserveNullAndEmptyArrays", RawBsonRef::Boolean(value)) => preserves = value,
                        ("preserveNullAndEmptyArrays", value) => {
                            return error(
                                28809,
                                format!(
                                    "expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage, got {}",
                                    type_name(value)
                                ),
                            );
                        }
                        ("includeArrayIndex", RawBsonRef::String(text)) if !text.is_empty() => {
                            index = Some(text);
                        }
                        ("includeArrayIndex", value) => {
                            return error(
                                28810,
                                format!(
                                    "expected a non-empty string for the includeArrayIndex option to $unwind stage, got {}",
                                    type_name(value)
                                ),
                            );
                        }
                        (name, _) => {
                            return error(28811, format!("unrecognized option to $unwind stage: {name}"));
                        }
                    }
                }
            }
            other => {
                return error(
                    15981,
                    format!(
                        "expected either a string or an object as specification for $unwind stage, got {}",
                        type_name(other)
                    ),
                );
            }
        }
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return error(28812, "no path specified to $unwind stage");
        };
        let Some(path) = path.strip_prefix('$') else {
            return error(
                28818,
                format!("path option to $unwind stage should be prefixed with a '$': {path}"),
            );
        };
        if let Some(index) = index.filter(|index| index.starts_with('$')) {
            return error(
                28822,
                format!(
                    "includeArrayIndex option to $unwind stage should not be prefixed with a '$': {index}"
                ),
            );
        }
        Ok(Self { path: Path::parse(path)?, index: index.map(Path::parse).transpose()?, preserves })
    }

    pub(in crate::aggregate) fn run<E>(self: &Arc<Self>, mut input: Rows<E>) -> Rows<E>
    where
        E: From<QueryError> + Send + 'static,
    {
        let stage = Arc::clone(self);
        let mut current: Option<Unwinding> = None;
        Box::new(std::iter::from_fn(move || {
            loop {
                if let Some(unwinding) = &mut current {
                    match unwinding.next(&stage) {
                        Some(row) => return Some(row.map_err(E::from)),
                        None => current = None,
                    }
                }
                match input.next()? {
                    Err(error) => return Some(Err(error)),
                    Ok(document) => match stage.begin(document) {
                        Ok(Begun::Array(unwinding)) => current = Some(unwinding),
                        Ok(Begun::One(document)) => return Some(Ok(document)),
                        Ok(Begun::Nothing) => {}
                        Err(error) => return Some(Err(error.into())),
                    },
                }
            }
        }))
    }

    /// What is unwound.
    pub(in crate::aggregate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a document without elements stays.
    pub(in crate::aggregate) fn preserves(&self) -> bool {
        self.preserves
    }

    fn begin(&self, document: RawDocumentBuf) -> Result<Begun, QueryError> {
        match edit::field(&document, &self.path) {
            Some(RawBsonRef::Array(array)) if !array.is_empty() => {
                let unwinding = Unwinding::new(array, &document)?;
                Ok(Begun::Array(unwinding))
            }
            Some(RawBsonRef::Array(_)) if self.preserves => {
                let document = edit::remove(&document, &self.path)?;
                self.with_index(document, None).map(Begun::One)
            }
            None | Some(RawBsonRef::Null | RawBsonRef::Undefined) if self.preserves => {
                self.with_index(document, None).map(Begun::One)
            }
            None | Some(RawBsonRef::Null | RawBsonRef::Undefined | RawBsonRef::Array(_)) => {
                Ok(Begun::Nothing)
            }
            Some(_) => self.with_index(document, None).map(Begun::One),
        }
    }

    /// The document with the place of its element, or null, if that is asked for.
    pub(in crate::aggregate) fn with_index(
        &self,
        document: RawDocumentBuf,
        index: Option<i64>,
    ) -> Result<RawDocumentBuf, QueryError> {
        let Some(path) = &self.index else { return Ok(document) };
        let bytes = index.unwrap_or_default().to_le_bytes();
        let item = match index {
            Some(_) => Item { kind: ElementType::Int64, bytes: &bytes },
            None => Item { kind: ElementType::Null, bytes: &[] },
        };
        let document = edit::set(&document, path, item)?;
        check_row(&document)?;
        Ok(document)
    }
}

enum Begun {
    Array(Unwinding),
    One(RawDocumentBuf),
    Nothing,
}

/// A document on whose array the stage is at work.
struct Unwinding {
    document: RawDocumentBuf,
    array: RawArrayBuf,
    /// Type and place of each element.
    elements: Vec<(ElementType, Range<usize>)>,
    next: usize,
}

impl Unwinding {
    fn new(array: &RawArray, document: &RawDocument) -> Result<Self, QueryError> {
        let mut elements = Vec::new();
        let mut offset = 4; // behind the length
        for element in Elements::of_array(array) {
            let element = element?;
            let end = offset + element.bytes.len();
            elements.push((element.kind, offset + element.key.len() + 2..end));
            offset = end;
        }
        Ok(Self { document: document.to_owned(), array: array.to_owned(), elements, next: 0 })
    }

    fn next(&mut self, stage: &Unwind) -> Option<Result<RawDocumentBuf, QueryError>> {
        let (kind, range) = self.elements.get(self.next)?.clone();
        let item = Item { kind, bytes: self.array.as_bytes().get(range)? };
        let index = self.next as i64;
        self.next += 1;
        let document = edit::set(&self.document, &stage.path, item);
        Some(document.and_then(|document| stage.with_index(document, Some(index))))
    }
}
