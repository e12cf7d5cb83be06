//! Which fields of the documents a pipeline looks at, as far as that can be told from its stages: what else a document has
//! need not be read.

use bson::{RawBsonRef, RawDocument};

use crate::filter::truthy;
use crate::number::Number;
use crate::order;

/// The first parts of the paths met.
#[derive(Default)]
struct Fields(Vec<String>);

/// Whether what comes behind a stage sees the documents' own fields.
enum After {
    /// It may.
    Same,
    /// All that counts was named.
    Other,
}

/// The top-level fields that the stages look at; none if that cannot be told, or if all may come out.
pub(super) fn needed(stages: &[(&str, RawBsonRef<'_>)]) -> Option<Vec<String>> {
    let mut fields = Fields::default();
    for (name, operand) in stages {
        match fields.stage(name, *operand)? {
            After::Same => {}
            After::Other => return Some(fields.0),
        }
    }
    None
}

/// Everything returns none where all fields must be taken for needed.
impl Fields {
    fn stage(&mut self, name: &str, operand: RawBsonRef<'_>) -> Option<After> {
        match (name, operand) {
            ("$limit" | "$skip" | "$sample" | "$unset", _) => {}
            ("$match", RawBsonRef::Document(filter)) => self.filter(filter)?,
            ("$sort", RawBsonRef::Document(keys)) => self.keys(keys),
            ("$unwind", RawBsonRef::String(path)) => self.add(path.strip_prefix('$')?),
            ("$unwind", RawBsonRef::Document(options)) => {
                for (name, value) in order::elements(options) {
                    if let (true, RawBsonRef::String(path)) =
                        (matches!(name.as_str(), "path" | "includeArrayIndex"), value)
                    {
                        self.add(path.strip_prefix('$').unwrap_or(path));
                    }
                }
            }
            ("$set" | "$addFields", RawBsonRef::Document(set)) => {
                self.keys(set);
                self.expression(operand)?;
            }
            ("$count", _) => return Some(After::Other),
            ("$group" | "$bucket" | "$sortByCount" | "$replaceRoot" | "$replaceWith", operand) => {
                self.expression(operand)?;
                return Some(After::Other);
            }
            ("$project", RawBsonRef::Document(shown)) => return self.projection(shown),
            _ => return None,
        }
        Some(After::Same)
    }

    fn add(&mut self, path: &str) {
        let head = path.split('.').next().unwrap_or_default();
        if !self.0.iter().any(|known| known == head) {
            self.0.push(head.to_owned());
        }
    }

    /// The paths that the keys of a document are.
    fn keys(&mut self, document: &RawDocument) {
        order::elements(document).for_each(|(path, _)| self.add(path.as_str()));
    }

    /// The recursion is as deep as the document.
    fn filter(&mut self, filter: &RawDocument) -> Option<()> {
        for (name, value) in order::elements(filter) {
            match (name.as_str(), value) {
                ("$and" | "$or" | "$nor", RawBsonRef::Array(clauses)) => {
                    for clause in order::array_elements(clauses) {
                        let RawBsonRef::Document(clause) = clause else { return None };
                        self.filter(clause)?;
                    }
                }
                ("$expr", expression) => self.expression(expression)?,
                ("$comment", _) => {}
                (name, _) if name.starts_with('$') => return None,
                (path, _) => self.add(path),
            }
        }
        Some(())
    }

    /// Whatever begins with `$` in an expression is taken for a path. The recursion is as deep as the expression.
    fn expression(&mut self, value: RawBsonRef<'_>) -> Option<()> {
        match value {
            RawBsonRef::String(text) => match text.strip_prefix("$$") {
                Some(variable) => match variable.split_once('.') {
                    Some(("ROOT" | "CURRENT", path)) => self.add(path),
                    None if matches!(variable, "ROOT" | "CURRENT") => return None,
                    _ => {}
                },
                None => {
                    if let Some(path) = text.strip_prefix('$') {
                        self.add(path);
                    }
                }
            },
            RawBsonRef::Document(document) => {
                for (name, value) in order::elements(document) {
                    match (name.as_str(), value) {
                        // These look at the whole document unless told otherwise.
                        ("$getField" | "$setField" | "$unsetField" | "$meta", _) => return None,
                        ("sortBy", RawBsonRef::Document(keys)) => self.keys(keys),
                        _ => {}
                    }
                    self.expression(value)?;
                }
            }
            RawBsonRef::Array(array) => {
                for value in order::array_elements(array) {
                    self.expression(value)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn projection(&mut self, shown: &RawDocument) -> Option<After> {
        let hides = |value: RawBsonRef<'_>| {
            (matches!(value, RawBsonRef::Boolean(_)) || Number::from_raw(value).is_some()) && !truthy(value)
        };
        if order::elements(shown).all(|(_, value)| hides(value)) {
            return Some(After::Same);
        }
        let mut has_id = true;
        for (path, value) in order::elements(shown) {
            if path.as_str() == "_id" && hides(value) {
                has_id = false;
                continue;
            }
            if matches!(value, RawBsonRef::Document(_)) && has_hidden(value) {
                return None; // hides within a document: the rest of it is shown
            }
            self.add(path.as_str());
            self.expression(value)?;
        }
        if has_id {
            self.add("_id");
        }
        Some(After::Other)
    }
}

/// Whether a document within a projection has a value that may hide. The recursion is as deep as the projection.
fn has_hidden(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Document(document) => order::elements(document).any(|(_, value)| has_hidden(value)),
        RawBsonRef::Boolean(shown) => !shown,
        _ => false,
    }
}
