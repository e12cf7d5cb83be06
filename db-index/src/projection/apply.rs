//! Applies a compiled projection to a document.

use bson::raw::CString;
use bson::{RawArray, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};

use crate::{
    error::{ErrorCode, QueryError},
    expression::Expression,
    filter::{Subject, Trace},
    guard,
    limits::DOCUMENT_BYTES_MAX,
    path::{elements, field},
    projection::{Fields, Kind, Node, Projection},
    text,
};

/// The document at work: its projection, and where its filter matched.
struct Run<'a> {
    kind: Kind,
    position: Option<usize>,
    projection: &'a Projection,
    /// The values of the computed fields; none where there is no value.
    values: Vec<Option<RawBson>>,
}

pub(super) fn project(projection: &Projection, document: &RawDocument) -> Result<RawDocumentBuf, QueryError> {
    let position = projection.positional.as_ref().and_then(|filter| filter.matched_array_index(document));
    let compute = |expression: &Expression| expression.evaluate(document, &[], 0)?.to_raw_bson();
    let values = projection.computed.iter().map(compute).collect::<Result<Vec<_>, _>>()?;
    let run = Run { kind: projection.kind, position, projection, values };
    let mut shown = RawDocumentBuf::new();
    run.document(document, &projection.fields, true, &mut shown)?;
    if let (false, Ok(Some(score))) = (projection.scores.is_empty(), document.get(text::TEXT_SCORE)) {
        for name in &projection.scores {
            shown.append(CString::try_from(&**name).map_err(|error| invalid(&error))?, score);
        }
    }
    if !projection.computed.is_empty() {
        guard::check_document(shown.as_bytes())?;
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
                // Under an inclusion a matched element and what is computed go to the end of the document.
                (None | Some(Node::ElemMatch(_)), Kind::Inclusion)
                | (Some(Node::Leaf), Kind::Exclusion)
                | (Some(Node::Computed(_)), _) => {}
                (Some(Node::Children { fields, positional, computed }), _) => match value {
                    RawBsonRef::Document(inner) => {
                        let mut part = RawDocumentBuf::new();
                        self.document(inner, fields, false, &mut part)?;
                        shown.append(name, part);
                    }
                    scalar if *computed && !matches!(scalar, RawBsonRef::Array(_)) => {
                        shown.append(name, self.made(fields)?);
                    }
                    RawBsonRef::Array(array) if *positional => {
                        let mut part = RawArrayBuf::new();
                        self.element(self.matched(array)?, fields, *computed, &mut part)?;
                        shown.append(name, part);
                    }
                    RawBsonRef::Array(array) => shown.append(name, self.array(array, fields, *computed)?),
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
        if self.kind == Kind::Inclusion {
            self.append_the_rest(Some(document), fields, shown)
        } else {
            Ok(())
        }
    }

    /// What comes behind the fields that are shown as they are: matched elements, what is computed, and documents that hold such
    /// where `document` has no field of their name.
    fn append_the_rest(
        &self,
        document: Option<&RawDocument>,
        fields: &Fields,
        shown: &mut RawDocumentBuf,
    ) -> Result<(), QueryError> {
        for (name, node) in fields {
            let name = || CString::try_from(&**name).map_err(|error| invalid(&error));
            match node {
                Node::Computed(number) => {
                    if let Some(Some(value)) = self.values.get(*number) {
                        shown.append(name()?, value.as_raw_bson_ref());
                    }
                }
                Node::Children { fields, computed: true, .. } => {
                    let name = name()?;
                    if document.is_none_or(|document| field(document, name.as_str()).is_none()) {
                        shown.append(name, self.made(fields)?);
                    }
                }
                Node::ElemMatch(condition) => {
                    let name = name()?;
                    let value = document.and_then(|document| field(document, name.as_str()));
                    if let Some(part) = value.and_then(|value| first_match(value, condition)) {
                        shown.append(name, part);
                    }
                }
                _ => {}
            }
        }
        check_size(shown.as_bytes())
    }

    /// A document of computed fields alone.
    fn made(&self, fields: &Fields) -> Result<RawDocumentBuf, QueryError> {
        let mut part = RawDocumentBuf::new();
        self.append_the_rest(None, fields, &mut part)?;
        Ok(part)
    }

    /// The recursion is as deep as arrays stand in one another.
    fn array(&self, array: &RawArray, fields: &Fields, computed: bool) -> Result<RawArrayBuf, QueryError> {
        let mut shown = RawArrayBuf::new();
        for element in elements(array) {
            self.element(element, fields, computed, &mut shown)?;
        }
        Ok(shown)
    }

    fn element(
        &self,
        element: RawBsonRef<'_>,
        fields: &Fields,
        computed: bool,
        shown: &mut RawArrayBuf,
    ) -> Result<(), QueryError> {
        match element {
            RawBsonRef::Document(inner) => {
                let mut part = RawDocumentBuf::new();
                self.document(inner, fields, false, &mut part)?;
                shown.push(part);
            }
            RawBsonRef::Array(inner) => shown.push(self.array(inner, fields, computed)?),
            _ if computed => shown.push(self.made(fields)?),
            scalar => {
                if self.kind == Kind::Exclusion {
                    shown.push(scalar);
                }
            }
        }
        if computed { check_size(shown.as_bytes()) } else { Ok(()) }
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

fn check_size(bytes: &[u8]) -> Result<(), QueryError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let message =
            format!("the projected document is larger than the limit of {DOCUMENT_BYTES_MAX} bytes");
        return Err(QueryError::new(ErrorCode::BSON_OBJECT_TOO_LARGE, message));
    }
    Ok(())
}

fn invalid(error: &bson::error::Error) -> QueryError {
    QueryError::new(ErrorCode::INVALID_BSON, format!("the document is no valid BSON: {error}"))
}
