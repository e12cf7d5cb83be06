//! The distinct values of a path over many documents.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bson::{RawBson, RawBsonRef, RawDocument};

use crate::{
    collation::Collation,
    error::{ErrorCode, QueryError},
    key::{Direction, encode_collated},
    path::{Leaf, Path, elements, walk_document},
};

/// The bytes that collected values may take: an answer is one document.
const DISTINCT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Collects the distinct values of one path.
///
/// Arrays give their elements (one level), missing fields nothing, null itself. Values are the same if the total order
/// says so: of `1` and `1.0` the one met first stays.
#[derive(Debug)]
pub struct Distinct {
    path: Path,
    /// By key, with the place at which the value was first met.
    seen: BTreeMap<Vec<u8>, (usize, RawBson)>,
    bytes: usize,
    /// How strings are compared.
    collation: Option<Collation>,
}

impl Distinct {
    /// Collects the values of `path`.
    ///
    /// # Errors
    /// 31032 if the path holds a NUL, `Overflow` (15) if it is too long.
    pub fn new(path: &str) -> Result<Self, QueryError> {
        if path.contains('\0') {
            return Err(QueryError::new(ErrorCode::NUL_IN_KEY, "a distinct key may not contain a null byte"));
        }
        Ok(Self { path: Path::parse(path)?, seen: BTreeMap::new(), bytes: 0, collation: None })
    }

    /// The same with strings by `collation`: the first of equal ones stands for them.
    #[must_use]
    pub fn by(self, collation: Option<&Collation>) -> Self {
        Self { collation: collation.cloned(), ..self }
    }

    /// Takes the values of `document`.
    ///
    /// # Errors
    /// `QueryExceededMemoryLimit` (292) if the values found outgrow an answer of one document.
    pub fn add(&mut self, document: &RawDocument) -> Result<(), QueryError> {
        let Self { path, seen, bytes, collation } = self;
        let mut add = |value: RawBsonRef<'_>| {
            let mut key = Vec::new();
            encode_collated(value, Direction::Ascending, collation.as_ref(), &mut key, &mut Vec::new());
            let place = seen.len();
            if let std::collections::btree_map::Entry::Vacant(vacant) = seen.entry(key) {
                *bytes += vacant.key().len();
                vacant.insert((place, value.into()));
            }
        };
        let _ = walk_document(document, path.parts(), Leaf::Whole, &mut |candidate| {
            match candidate.value {
                Some(RawBsonRef::Array(array)) => elements(array).for_each(&mut add),
                Some(value) => add(value),
                None => {}
            }
            ControlFlow::Continue(())
        });
        if self.bytes > DISTINCT_BYTES_MAX {
            return Err(QueryError::new(
                ErrorCode::QUERY_EXCEEDED_MEMORY_LIMIT,
                format!("the distinct values take more than {DISTINCT_BYTES_MAX} bytes"),
            ));
        }
        Ok(())
    }

    /// The values in the order in which they were first met.
    pub fn into_values(self) -> Vec<RawBson> {
        let mut values: Vec<_> = self.seen.into_values().collect();
        values.sort_by_key(|(place, _)| *place);
        values.into_iter().map(|(_, value)| value).collect()
    }
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn distinct(path: &str, documents: &[RawDocumentBuf]) -> Vec<String> {
        let mut distinct = Distinct::new(path).unwrap();
        for document in documents {
            distinct.add(document).unwrap();
        }
        distinct.into_values().iter().map(|value| format!("{value:?}")).collect()
    }

    #[test]
    fn one_level_of_arrays_is_opened_and_missing_is_skipped() {
        let documents = [
            rawdoc! {"a": [1, 2, [3]]},
            rawdoc! {"a": 2.0},
            rawdoc! {},
            rawdoc! {"a": null},
            rawdoc! {"a": []},
        ];
        let values = distinct("a", &documents);
        assert_eq!(values.len(), 4);
        assert_eq!(values[..2], ["Int32(1)", "Int32(2)"]);
        assert!(values[2].starts_with("Array") && values[3] == "Null");
    }

    #[test]
    fn paths_lead_through_arrays_by_name_and_by_place() {
        let documents = [rawdoc! {"a": [{"b": 1}, {"b": [2, 1]}, {"c": 5}]}];
        assert_eq!(distinct("a.b", &documents), ["Int32(1)", "Int32(2)"]);
        assert_eq!(distinct("a.0.b", &documents), ["Int32(1)"]);
        assert_eq!(distinct("a..b", &documents), Vec::<String>::new());
        assert_eq!(distinct("a.", &documents), Vec::<String>::new());
    }

    #[test]
    fn equal_values_of_any_type_are_one() {
        let documents =
            [rawdoc! {"a": -0.0}, rawdoc! {"a": 0}, rawdoc! {"a": f64::NAN}, rawdoc! {"a": f64::NAN}];
        assert_eq!(distinct("a", &documents), ["Double(-0.0)", "Double(NaN)"]);
    }

    #[test]
    fn a_nul_in_the_key_is_refused() {
        assert_eq!(Distinct::new("a\0b").unwrap_err().code, ErrorCode::NUL_IN_KEY);
    }
}
