//! Dotted paths and the walk over the values that a query path reaches in a document.
//!
//! The walk never allocates: it hands each candidate value to a visitor, which may stop it. It follows the query rules of
//! arrays: a part is applied to every object element, a numeric part also picks the element at that place, and the value
//! at the end of the path, when it is an array, is opened once.

use std::fmt;
use std::ops::ControlFlow;

use bson::{RawArray, RawBsonRef, RawDocument};

use crate::error::{ErrorCode, QueryError};

mod field;

pub(crate) use field::field;

/// The most parts that a path may have; the same bound as MongoDB's for field paths.
pub(crate) const PATH_PARTS_MAX: usize = 200;

/// A dotted path, split once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    parts: Vec<Part>,
}

/// One part of a path: a field name that may also be the place of an array element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    name: Box<str>,
    index: Option<usize>,
}

/// A value that a path reaches, or the note that a field is missing there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate<'a> {
    /// The value; `None` for a missing field.
    pub(crate) value: Option<RawBsonRef<'a>>,
    /// The place in the outermost array that the walk went through on its own (not by a numeric part): what the
    /// positional operator `$` stands for.
    pub(crate) position: Option<usize>,
}

/// What the walk does with an array at the end of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// Each element is a candidate, and then the array itself.
    Opened,
    /// Only the array itself is a candidate.
    Whole,
}

/// Whether a walk goes on.
pub(crate) type Flow = ControlFlow<()>;

impl Path {
    /// Splits `text` at its dots. Empty parts are kept, since a query may name them.
    ///
    /// # Errors
    /// `BadValue` for more than [`PATH_PARTS_MAX`] parts.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        if text.bytes().filter(|byte| *byte == b'.').count() >= PATH_PARTS_MAX {
            return Err(QueryError::new(
                ErrorCode::OVERFLOW,
                format!("a path may have at most {PATH_PARTS_MAX} parts"),
            ));
        }
        Ok(Self { parts: text.split('.').map(Part::new).collect() })
    }

    /// The path without parts: the value that the walk starts from.
    pub(crate) fn empty() -> Self {
        Self { parts: Vec::new() }
    }

    /// The parts in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether this path is `text`.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.parts.iter().map(Part::name).eq(text.split('.'))
    }

    /// Whether one of the two paths is the other or leads through it.
    pub(crate) fn overlaps(&self, other: &Path) -> bool {
        self.parts.iter().zip(&other.parts).all(|(a, b)| a.name == b.name)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.parts.iter().enumerate() {
            if place > 0 {
                formatter.write_str(".")?;
            }
            formatter.write_str(&part.name)?;
        }
        Ok(())
    }
}

impl Part {
    fn new(name: &str) -> Self {
        Self { name: name.into(), index: array_index(name) }
    }

    /// The part as a field name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The part as the place of an array element, when it is a plain number (no sign, no leading zero).
    pub(crate) fn index(&self) -> Option<usize> {
        self.index
    }
}

/// The place that `name` stands for in an array: digits without a leading zero, within 32 bits.
pub(crate) fn array_index(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if plain { name.parse::<u32>().ok().map(|index| index as usize) } else { None }
}

/// The elements of `array` in order; stops at the first that is no valid BSON.
pub(crate) fn elements(array: &RawArray) -> impl Iterator<Item = RawBsonRef<'_>> {
    array.into_iter().map_while(Result::ok)
}

/// The fields of `document` in order; stops at the first that is no valid BSON.
pub(crate) fn fields(document: &RawDocument) -> impl Iterator<Item = (&str, RawBsonRef<'_>)> {
    document.iter().map_while(Result::ok).map(|(name, value)| (name.as_str(), value))
}

/// Hands every candidate that `parts` reach in `document` to `visit`, until it breaks.
pub(crate) fn walk_document<'a, F>(
    document: &'a RawDocument,
    parts: &[Part],
    leaf: Leaf,
    visit: &mut F,
) -> Flow
where
    F: FnMut(Candidate<'a>) -> Flow,
{
    match parts.split_first() {
        Some((part, rest)) => walk(field(document, part.name()), rest, None, leaf, visit),
        None => visit(Candidate { value: Some(RawBsonRef::Document(document)), position: None }),
    }
}

/// Hands every candidate that `parts` reach from `value` to `visit`, until it breaks.
pub(crate) fn walk_value<'a, F>(
    value: Option<RawBsonRef<'a>>,
    parts: &[Part],
    leaf: Leaf,
    visit: &mut F,
) -> Flow
where
    F: FnMut(Candidate<'a>) -> Flow,
{
    walk(value, parts, None, leaf, visit)
}

/// The recursion is as deep as the path is long.
fn walk<'a, F>(
    value: Option<RawBsonRef<'a>>,
    parts: &[Part],
    position: Option<usize>,
    leaf: Leaf,
    visit: &mut F,
) -> Flow
where
    F: FnMut(Candidate<'a>) -> Flow,
{
    match (parts.split_first(), value) {
        (None, Some(RawBsonRef::Array(array))) => {
            if leaf == Leaf::Opened {
                for (place, element) in elements(array).enumerate() {
                    visit(Candidate { value: Some(element), position: position.or(Some(place)) })?;
                }
            }
            visit(Candidate { value, position })
        }
        (None, _) => visit(Candidate { value, position }),
        (Some((part, rest)), Some(RawBsonRef::Document(document))) => {
            walk(field(document, part.name()), rest, position, leaf, visit)
        }
        (Some((part, rest)), Some(RawBsonRef::Array(array))) => {
            walk_array(array, part, rest, position, leaf, visit)
        }
        (Some(_), _) => visit(Candidate { value: None, position }),
    }
}

fn walk_array<'a, F>(
    array: &'a RawArray,
    part: &Part,
    rest: &[Part],
    position: Option<usize>,
    leaf: Leaf,
    visit: &mut F,
) -> Flow
where
    F: FnMut(Candidate<'a>) -> Flow,
{
    for (place, element) in elements(array).enumerate() {
        if let RawBsonRef::Document(document) = element {
            walk(field(document, part.name()), rest, position.or(Some(place)), leaf, visit)?;
        }
        if part.index() == Some(place) {
            match element {
                // The end of the path, named by its place, is not opened again.
                _ if rest.is_empty() => visit(Candidate { value: Some(element), position })?,
                RawBsonRef::Document(_) | RawBsonRef::Array(_) => {
                    walk(Some(element), rest, position, leaf, visit)?;
                }
                // A scalar in an array has no fields, not even missing ones.
                _ => {}
            }
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn reached(document: &RawDocumentBuf, path: &str, leaf: Leaf) -> Vec<String> {
        let path = Path::parse(path).unwrap();
        let mut seen = Vec::new();
        let flow = walk_document(document, path.parts(), leaf, &mut |candidate| {
            let value = match candidate.value {
                None => "missing".to_owned(),
                Some(RawBsonRef::Int32(number)) => number.to_string(),
                Some(RawBsonRef::Array(_)) => "array".to_owned(),
                Some(RawBsonRef::Document(_)) => "document".to_owned(),
                Some(other) => format!("{other:?}"),
            };
            seen.push(match candidate.position {
                Some(place) => format!("{value}@{place}"),
                None => value,
            });
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        seen
    }

    #[test]
    fn a_leaf_array_is_opened_once() {
        let document = rawdoc! {"a": [1, [2, 3]]};
        assert_eq!(reached(&document, "a", Leaf::Opened), ["1@0", "array@1", "array"]);
        assert_eq!(reached(&document, "a", Leaf::Whole), ["array"]);
        assert_eq!(reached(&rawdoc! {"a": []}, "a", Leaf::Opened), ["array"]);
    }

    #[test]
    fn a_missing_field_and_a_path_through_a_scalar_are_missing() {
        assert_eq!(reached(&rawdoc! {"a": 1}, "b", Leaf::Opened), ["missing"]);
        assert_eq!(reached(&rawdoc! {"a": 1}, "a.b", Leaf::Opened), ["missing"]);
        assert_eq!(reached(&rawdoc! {"a": null}, "a.b.c", Leaf::Opened), ["missing"]);
        assert_eq!(reached(&rawdoc! {"a": {"c": 1}}, "a.b", Leaf::Opened), ["missing"]);
    }

    #[test]
    fn a_name_is_applied_to_object_elements_only() {
        let document = rawdoc! {"a": [{"b": 1}, 5, {"c": 2}, [{"b": 3}]]};
        assert_eq!(reached(&document, "a.b", Leaf::Opened), ["1@0", "missing@2"]);
        assert_eq!(reached(&rawdoc! {"a": [1, 2]}, "a.b", Leaf::Opened), Vec::<String>::new());
        assert_eq!(reached(&document, "a.3.b", Leaf::Opened), ["missing@0", "missing@2", "3@0"]);
    }

    #[test]
    fn a_number_is_a_place_and_a_name() {
        let document = rawdoc! {"a": [[7, 8], {"0": 9}]};
        assert_eq!(reached(&document, "a.0", Leaf::Opened), ["array", "9@1"]);
        assert_eq!(reached(&document, "a.0.1", Leaf::Opened), ["8", "missing@1"]);
        assert_eq!(reached(&rawdoc! {"a": [1]}, "a.0.b", Leaf::Opened), Vec::<String>::new());
        assert_eq!(reached(&rawdoc! {"a": [1, 2]}, "a.00", Leaf::Opened), Vec::<String>::new());
    }

    #[test]
    fn the_outermost_array_gives_the_position() {
        let document = rawdoc! {"a": [{"b": [1]}, {"b": [2, 3]}]};
        assert_eq!(reached(&document, "a.b", Leaf::Opened), ["1@0", "array@0", "2@1", "3@1", "array@1"]);
        assert_eq!(
            reached(&document, "a.1.b", Leaf::Opened),
            ["missing@0", "missing@1", "2@0", "3@1", "array"]
        );
    }

    #[test]
    fn paths_overlap_when_one_leads_through_the_other() {
        let path = |text| Path::parse(text).unwrap();
        assert!(path("a.b").overlaps(&path("a")));
        assert!(path("a").overlaps(&path("a.b")));
        assert!(!path("a.b").overlaps(&path("a.c")));
        assert!(path("a.b").is("a.b") && !path("a.b").is("a"));
        assert_eq!(path("a..b").to_string(), "a..b");
    }

    #[test]
    fn endless_paths_are_refused() {
        assert!(Path::parse(&"a.".repeat(199)).is_ok());
        assert!(Path::parse(&"a.".repeat(200)).is_err());
    }
}
