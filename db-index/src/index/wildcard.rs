//! Which paths a wildcard field holds: those below its own, as far as `wildcardProjection` lets them.

use bson::{RawBsonRef, RawDocument, RawDocumentBuf};

use super::options::cannot_create;
use crate::{
    error::{ErrorCode, QueryError},
    filter::truthy,
    limits::DEPTH_MAX,
    path::fields,
};

/// How a path stands to those that a wildcard field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is one of them, and so is every path below.
    Inside,
    /// It is one of them, but not every path below is.
    Itself,
    /// It is not, but it leads to some.
    Above,
    /// Neither it nor any path below.
    Outside,
}

/// A parsed `wildcardProjection`.
#[derive(Debug, Clone)]
pub(super) struct WildcardProjection {
    source: RawDocumentBuf,
    /// Whether the paths are those to hold, not those to leave out.
    includes: bool,
    paths: Vec<Vec<String>>,
    /// Whether `_id` is held, where it was said.
    id: Option<bool>,
}

impl PartialEq for WildcardProjection {
    fn eq(&self, other: &Self) -> bool {
        self.source.as_bytes() == other.source.as_bytes()
    }
}

impl WildcardProjection {
    /// Parses the option: paths to include or to exclude, all alike but for `_id`.
    ///
    /// # Errors
    /// `FailedToParse` (9) for an empty one, 31253 and 31254 for a mixture, 51271 for a value that would have to be
    /// computed, 51270 for an empty object within.
    pub(super) fn parse(document: &RawDocument) -> Result<Self, QueryError> {
        if document.is_empty() {
            return Err(QueryError::new(
                ErrorCode::FAILED_TO_PARSE,
                "The 'wildcardProjection' field can't be an empty object",
            ));
        }
        let mut projection =
            Self { source: document.to_owned(), includes: false, paths: Vec::new(), id: None };
        let mut includes = None;
        projection.read(document, &mut Vec::new(), &mut includes)?;
        projection.includes = includes.unwrap_or_else(|| projection.id.unwrap_or_default());
        Ok(projection)
    }

    /// The option as it was given.
    pub(super) fn to_document(&self) -> &RawDocument {
        &self.source
    }

    fn read(
        &mut self,
        document: &RawDocument,
        above: &mut Vec<String>,
        includes: &mut Option<bool>,
    ) -> Result<(), QueryError> {
        for (name, value) in fields(document) {
            let depth = above.len();
            above.extend(name.split('.').map(str::to_owned));
            if above.iter().any(|part| part.is_empty() || part.starts_with('$')) || above.len() > DEPTH_MAX {
                return Err(cannot_create(format!(
                    "a path that cannot be in 'wildcardProjection': '{name}'"
                )));
            }
            match value {
                RawBsonRef::Document(inner) if inner.is_empty() => {
                    return Err(QueryError::new(
                        ErrorCode::EMPTY_SUB_PROJECTION,
                        "An empty sub-projection is not a valid value",
                    ));
                }
                RawBsonRef::Document(inner) => self.read(inner, above, includes)?,
                RawBsonRef::Boolean(_)
                | RawBsonRef::Int32(_)
                | RawBsonRef::Int64(_)
                | RawBsonRef::Double(_)
                | RawBsonRef::Decimal128(_) => self.add(above, truthy(value), includes)?,
                _ => {
                    return Err(QueryError::new(
                        ErrorCode::COMPUTED_PROJECTION,
                        format!("Bad projection specification, cannot use computed fields: '{name}'"),
                    ));
                }
            }
            above.truncate(depth);
        }
        Ok(())
    }

    fn add(&mut self, path: &[String], include: bool, includes: &mut Option<bool>) -> Result<(), QueryError> {
        if path == ["_id"] {
            self.id = Some(include);
            return Ok(());
        }
        if *includes.get_or_insert(include) != include {
            return Err(if include {
                QueryError::new(
                    ErrorCode::INCLUSION_IN_EXCLUSION,
                    "Cannot do inclusion in exclusion projection",
                )
            } else {
                QueryError::new(
                    ErrorCode::EXCLUSION_IN_INCLUSION,
                    "Cannot do exclusion in inclusion projection",
                )
            });
        }
        self.paths.push(path.to_vec());
        Ok(())
    }

    fn reach(&self, path: &[&str]) -> Reach {
        if path.first() == Some(&"_id") && (self.id.is_some() || !self.includes) {
            // It is left out unless it is asked for.
            return if self.id == Some(true) { Reach::Inside } else { Reach::Outside };
        }
        let mut reach = if self.includes { Reach::Outside } else { Reach::Inside };
        for own in &self.paths {
            match (relation(own, path), self.includes) {
                (Relation::AtOrBelow, true) => return Reach::Inside,
                (Relation::AtOrBelow, false) => return Reach::Outside,
                (Relation::Above, true) => reach = Reach::Above,
                (Relation::Above, false) => reach = Reach::Itself,
                (Relation::Beside, _) => {}
            }
        }
        reach
    }
}

/// How the path stands to those that the wildcard field with the path `base` holds.
pub(super) fn reach(base: &[String], projection: Option<&WildcardProjection>, path: &[&str]) -> Reach {
    if !base.is_empty() {
        return match relation(base, path) {
            Relation::AtOrBelow => Reach::Inside,
            Relation::Above => Reach::Above,
            Relation::Beside => Reach::Outside,
        };
    }
    match projection {
        Some(projection) => projection.reach(path),
        None if path.first() == Some(&"_id") => Reach::Outside,
        None => Reach::Inside,
    }
}

/// How a path stands to one that is named.
enum Relation {
    AtOrBelow,
    Above,
    Beside,
}

fn relation(named: &[String], path: &[&str]) -> Relation {
    let meets = named.iter().zip(path).all(|(named, part)| named == part);
    match (meets, path.len() >= named.len()) {
        (true, true) => Relation::AtOrBelow,
        (true, false) => Relation::Above,
        (false, _) => Relation::Beside,
    }
}
