//! Index definitions: what an index is made of, read from MongoDB's key pattern and options and written back as
//! `listIndexes` shows it.

use bson::{
    RawBson, RawBsonRef, RawDocument, RawDocumentBuf,
    raw::{CString, cstr},
};

use crate::{
    error::{ErrorCode, QueryError},
    key::Direction,
    limits::INDEX_FIELDS_MAX,
    number::Number,
    order::elements,
};

mod entries;
#[cfg(test)]
mod tests;

pub use entries::{IndexEntries, IndexEntry, MultikeyFields};

/// The name of the index that every collection has on `_id`.
pub const ID_INDEX_NAME: &str = "_id_";

/// An index of a collection: its name, the fields in their order, and what it refuses or leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDefinition {
    name: String,
    fields: Vec<IndexField>,
    unique: bool,
    sparse: bool,
}

/// One field of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexField {
    path: String,
    parts: Vec<String>,
    direction: Direction,
}

impl IndexField {
    /// The dotted path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The parts of the path; there is at least one.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Which way the index runs by this field.
    pub fn direction(&self) -> Direction {
        self.direction
    }
}

impl IndexDefinition {
    /// Reads a key pattern, `{a: 1, "b.c": -1}`, and options: `name`, `unique`, `sparse`; `v`, `background`, `key` and `ns`
    /// are accepted and mean nothing. Without a name it is made of the keys: `a_1_b.c_-1`.
    ///
    /// # Errors
    /// `CannotCreateIndex` (67) for a bad key pattern, `InvalidIndexSpecificationOption` (197) for an option that is unknown
    /// or that the `_id` index cannot have, `TypeMismatch` (14) for an option of the wrong type.
    pub fn parse(keys: &RawDocument, options: &RawDocument) -> Result<Self, QueryError> {
        let fields = elements(keys)
            .map(|(path, value)| parse_field(path.as_str(), value))
            .collect::<Result<Vec<_>, _>>()?;
        if fields.is_empty() {
            return Err(cannot_create("Index keys cannot be empty."));
        }
        if fields.len() > INDEX_FIELDS_MAX {
            return Err(cannot_create(format!("an index cannot have more than {INDEX_FIELDS_MAX} fields")));
        }
        if let [IndexField { path, direction: Direction::Descending, .. }] = fields.as_slice()
            && path == "_id"
        {
            return Err(QueryError::bad_value("the key of an index on _id must be {_id: 1}"));
        }
        let name = default_name(&fields);
        let mut definition = Self { name, fields, unique: false, sparse: false };
        if definition.is_id_index() {
            ID_INDEX_NAME.clone_into(&mut definition.name);
        }
        for (option, value) in elements(options) {
            definition.apply_option(option.as_str(), value)?;
        }
        if definition.name == ID_INDEX_NAME && !definition.is_id_index() {
            return Err(QueryError::bad_value("the index name '_id_' is reserved for the index on _id"));
        }
        Ok(definition)
    }

    /// The index on `_id` that every collection has.
    pub fn on_id() -> Self {
        let field = IndexField {
            path: "_id".to_owned(),
            parts: vec!["_id".to_owned()],
            direction: Direction::Ascending,
        };
        Self { name: ID_INDEX_NAME.to_owned(), fields: vec![field], unique: false, sparse: false }
    }

    /// Reads what [`IndexDefinition::to_document`] wrote: `{v: 2, key: {..}, name: .., ..}`.
    ///
    /// # Errors
    /// As [`IndexDefinition::parse`]; `FailedToParse` (9) without a `key`.
    pub fn from_document(document: &RawDocument) -> Result<Self, QueryError> {
        match document.get("key") {
            Ok(Some(RawBsonRef::Document(keys))) => Self::parse(keys, document),
            _ => Err(QueryError::new(
                ErrorCode::FAILED_TO_PARSE,
                "the 'key' field of an index specification must be an object",
            )),
        }
    }

    /// The definition as `listIndexes` shows it.
    pub fn to_document(&self) -> RawDocumentBuf {
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("v"), 2);
        document.append(cstr!("key"), self.key_pattern());
        document.append(cstr!("name"), self.name.as_str());
        if self.unique {
            document.append(cstr!("unique"), true);
        }
        if self.sparse {
            document.append(cstr!("sparse"), true);
        }
        document
    }

    /// The key pattern: `{a: 1, "b.c": -1}`.
    pub fn key_pattern(&self) -> RawDocumentBuf {
        let mut keys = RawDocumentBuf::new();
        for field in &self.fields {
            // The path came out of a document, so it holds no NUL.
            if let Ok(path) = CString::try_from(field.path.clone()) {
                keys.append(path, RawBson::Int32(sign(field.direction)));
            }
        }
        keys
    }

    /// The name, unique within a collection.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fields; there is at least one.
    pub fn fields(&self) -> &[IndexField] {
        &self.fields
    }

    /// Whether two documents may not have a key in common.
    pub fn is_unique(&self) -> bool {
        self.unique
    }

    /// Whether it leaves out what has none of the fields.
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Whether it is `{_id: 1}`, which every collection has without asking.
    pub fn is_id_index(&self) -> bool {
        matches!(self.fields.as_slice(), [IndexField { path, direction: Direction::Ascending, .. }] if path == "_id")
    }

    /// Tells whether creating `self` beside `existing` changes nothing (`true`) or adds an index (`false`). What makes an
    /// index another one is its keys and whether it is unique and sparse: a unique and a plain index may have the same keys.
    ///
    /// # Errors
    /// `IndexOptionsConflict` (85) for the same index under another name, `IndexKeySpecsConflict` (86) for another index
    /// under the same name.
    pub fn is_same_as(&self, existing: &Self) -> Result<bool, QueryError> {
        let is_same = self.fields == existing.fields
            && (self.unique, self.sparse) == (existing.unique, existing.sparse);
        match (is_same, self.name == existing.name) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (false, true) => Err(QueryError::new(
                ErrorCode::INDEX_KEY_SPECS_CONFLICT,
                format!("An existing index has the same name as the requested index: {}", self.name),
            )),
            (true, false) => Err(QueryError::new(
                ErrorCode::INDEX_OPTIONS_CONFLICT,
                format!("Index already exists with a different name: {}", existing.name),
            )),
        }
    }

    fn apply_option(&mut self, option: &str, value: RawBsonRef<'_>) -> Result<(), QueryError> {
        match option {
            "name" => match value {
                RawBsonRef::String("" | "*") => Err(cannot_create("index names cannot be empty or '*'")),
                RawBsonRef::String(_) if self.is_id_index() => Ok(()), // it is always called `_id_`
                RawBsonRef::String(name) => {
                    name.clone_into(&mut self.name);
                    Ok(())
                }
                _ => Err(wrong_type(option, "a string")),
            },
            "unique" => {
                self.unique = flag(option, value)? && !self.is_id_index(); // unique anyway
                Ok(())
            }
            "sparse" => {
                self.sparse = flag(option, value)?;
                if self.sparse && self.is_id_index() {
                    return Err(invalid_option("the _id index cannot be sparse"));
                }
                Ok(())
            }
            "v" | "key" | "ns" | "background" => Ok(()),
            _ => {
                Err(invalid_option(format!("The field '{option}' is not valid for an index specification.")))
            }
        }
    }
}

fn parse_field(path: &str, value: RawBsonRef<'_>) -> Result<IndexField, QueryError> {
    let direction = match (value, Number::from_raw(value).map(Number::to_f64)) {
        (_, Some(number)) if number > 0.0 => Direction::Ascending,
        (_, Some(number)) if number < 0.0 => Direction::Descending,
        (_, Some(_)) => {
            return Err(cannot_create(format!(
                "Values in the index key pattern cannot be 0 or NaN: '{path}'"
            )));
        }
        (RawBsonRef::String("wildcard"), _) => {
            return Err(QueryError::new(
                ErrorCode::WILDCARD_INDEX_TYPE,
                format!("The index type 'wildcard' is not for a field: '{path}'"),
            ));
        }
        (RawBsonRef::String(kind @ ("text" | "2d" | "2dsphere" | "hashed")), _) => {
            return Err(cannot_create(format!("index type '{kind}' is not supported: '{path}'")));
        }
        (RawBsonRef::String(kind), _) => return Err(cannot_create(format!("Unknown index plugin '{kind}'"))),
        _ => {
            return Err(cannot_create(format!(
                "Values in the index key pattern can only be nonzero numbers or strings: '{path}'"
            )));
        }
    };
    let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
    for part in &parts {
        if part.is_empty() {
            return Err(cannot_create(format!("Index keys cannot contain an empty field: '{path}'")));
        }
        if part.starts_with('$') && !matches!(part.as_str(), "$id" | "$ref" | "$db") {
            return Err(cannot_create(format!(
                "Index key contains an illegal field name: '{path}' starts with '$'"
            )));
        }
    }
    Ok(IndexField { path: path.to_owned(), parts, direction })
}

fn default_name(fields: &[IndexField]) -> String {
    let names: Vec<String> =
        fields.iter().map(|field| format!("{}_{}", field.path, sign(field.direction))).collect();
    names.join("_")
}

fn sign(direction: Direction) -> i32 {
    match direction {
        Direction::Ascending => 1,
        Direction::Descending => -1,
    }
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

fn cannot_create(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorCode::CANNOT_CREATE_INDEX, message)
}

fn invalid_option(message: impl Into<String>) -> QueryError {
    QueryError::new(ErrorCode::INVALID_INDEX_SPECIFICATION_OPTION, message)
}

fn wrong_type(option: &str, expected: &str) -> QueryError {
    QueryError::new(ErrorCode::TYPE_MISMATCH, format!("The field '{option}' must be {expected}"))
}
