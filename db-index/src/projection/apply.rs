//! Applies a compiled projection to a document.

use bson::{RawArray, RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf};

use crate::{
    error::{ErrorCode, QueryError},
    filter::{Subject, Trace},
    path::elements,
    projection::{Fields, Kind, Node, Projection},
};

/// The document at work: its projection, and where its filter matched.
struct Run<'a> {
    kind: Kind,
    position: Option<usize>,
    projection: &'a Projection,
}

pub(super) fn project(projection: &Projection, document: &RawDocument) -> Result<RawDocumentBuf, QueryError> {
    let position = projection.positional.as_ref().and_then(|filter| filter.matched_array_index(document));
    let run = Run { kind: projection.kind, position, projection };
    let mut shown = RawDocumentBuf::new();
    run.document(document, &projection.fields, true, &mut shown)?;
    if projection.kind == Kind::Inclusion {
        run.append_element_matches(document, &mut shown)?;
    }
    Ok(shown)
}

impl Run<'_> {
    fn document(
        &self,
        document: &RawDocument,
        fields: &Fields,
        top: bool,
        shown: &mut RawDocumentBuf,
    ) -> Result<(), QueryError> {
        for element in document {
            let (name, value) = element.map_err(|error| invalid(&error))?;
            let node = fields.iter().find(|(field, _)| **field == *name.as_str()).map(|(_, node)| node);
            match (node, self.kind) {
                (None, _) if top && name.as_str() == "_id" => {
                    if self.projection.id {
                        shown.append(name, value);
                    }
                }
                (None, Kind::Exclusion) | (Some(Node::Leaf), Kind::Inclusion) => shown.append(name, value),
                // Under an inclusion a matched element goes to the end of the document.
                (None | Some(Node::ElemMatch(_)), Kind::Inclusion) | (Some(Node::Leaf), Kind::Exclusion) => {}
                (Some(Node::Children { fields, positional }), _) => match value {
                    RawBsonRef::Document(inner) => {
                        let mut part = RawDocumentBuf::new();
                        self.document(inner, fields, false, &mut part)?;
                        shown.append(name, part);
                    }
                    RawBsonRef::Array(array) if *positional => {
                        let mut part = RawArrayBuf::new();
                        self.element(self.matched(array)?, fields, &mut part)?;
                        shown.append(name, part);
                    }
                    RawBsonRef::Array(array) => shown.append(name, self.array(array, fields)?),
                    scalar => {
                        if self.kind == Kind::Exclusion {
                            shown.append(name, scalar);
                        }
                    }
                },
                (Some(Node::Slice { skip, limit }), _) => match value {
                    RawBsonRef::Array(array) => shown.append(name, slice(array, *skip, *limit)),
                    other => shown.append(name, other),
                },
                (Some(Node::Positional), _) => match value {
                    RawBsonRef::Array(array) => {
                        let mut part = RawArrayBuf::new();
                        part.push(self.matched(array)?);
                        shown.append(name, part);
                    }
                    other => shown.append(name, other),
                },
                (Some(Node::ElemMatch(condition)), Kind::Exclusion) => {
                    if let Some(part) = first_match(value, condition) {
                        shown.append(name, part);
                    }
                }
            }
        }
        Ok(())
    }

    /// The recursion is as deep as arrays stand in one another.
    fn array(&self, array: &RawArray, fields: &Fields) -> Result<RawArrayBuf, QueryError> {
        let mut shown = RawArrayBuf::new();
        for element in elements(array) {
            self.element(element, fields, &mut shown)?;
        }
        Ok(shown)
    }

    fn element(
        &self,
        element: RawBsonRef<'_>,
        fields: &Fields,
        shown: &mut RawArrayBuf,
    ) -> Result<(), QueryError> {
        match element {
            RawBsonRef::Document(inner) => {
                let mut part = RawDocumentBuf::new();
                self.document(inner, fields, false, &mut part)?;
                shown.push(part);
            }
            RawBsonRef::Array(inner) => shown.push(self.array(inner, fields)?),
            scalar => {
                if self.kind == Kind::Exclusion {
                    shown.push(scalar);
                }
            }
        }
        Ok(())
    }

    /// The element of `array` at the place by which the filter matched.
    fn matched<'b>(&self, array: &'b RawArray) -> Result<RawBsonRef<'b>, QueryError> {
        let position = self.position.ok_or_else(|| {
            QueryError::new(
                ErrorCode::POSITIONAL_NO_MATCH,
                "positional operator '.$' couldn't find a matching element in the array",
            )
        })?;
        elements(array).nth(position).ok_or_else(|| {
            QueryError::new(
                ErrorCode::POSITIONAL_MISMATCH,
                "positional operator '.$' element mismatch: the array is shorter than the one matched",
            )
        })
    }

    fn append_element_matches(
        &self,
        document: &RawDocument,
        shown: &mut RawDocumentBuf,
    ) -> Result<(), QueryError> {
        if !self.projection.fields.iter().any(|(_, node)| matches!(node, Node::ElemMatch(_))) {
            return Ok(());
        }
        for element in document {
            let (name, value) = element.map_err(|error| invalid(&error))?;
            let node = self.projection.fields.iter().find(|(field, _)| **field == *name.as_str());
            if let Some((_, Node::ElemMatch(condition))) = node
                && let Some(part) = first_match(value, condition)
            {
                shown.append(name, part);
            }
        }
        Ok(())
    }
}

/// An array of the first element that matches `condition`, an `$elemMatch` on the field.
fn first_match(value: RawBsonRef<'_>, condition: &crate::filter::Node) -> Option<RawArrayBuf> {
    let RawBsonRef::Array(array) = value else {
        return None;
    };
    let mut trace = Trace::default();
    if !condition.matches(Subject::Value(value), &mut trace) {
        return None;
    }
    let mut part = RawArrayBuf::new();
    part.push(elements(array).nth(trace.position?)?);
    Some(part)
}

fn slice(array: &RawArray, skip: i64, limit: i64) -> RawArrayBuf {
    let skip = if skip < 0 {
        array
            .iter_elements()
            .count()
            .saturating_sub(usize::try_from(skip.unsigned_abs()).unwrap_or(usize::MAX))
    } else {
        usize::try_from(skip).unwrap_or(usize::MAX)
    };
    let mut part = RawArrayBuf::new();
    for element in elements(array).skip(skip).take(usize::try_from(limit).unwrap_or(0)) {
        part.push(element);
    }
    part
}

fn invalid(error: &bson::error::Error) -> QueryError {
    QueryError::new(ErrorCode::INVALID_BSON, format!("the document is no valid BSON: {error}"))
}
