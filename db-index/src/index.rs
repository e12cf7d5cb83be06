//! Index definitions: what an index is made of, read from MongoDB's key pattern and options and written back as
//! `listIndexes` shows it.

use std::sync::Arc;

use bson::{
    RawBsonRef, RawDocument, RawDocumentBuf,
    raw::{CString, cstr},
};

use crate::{
    collation::Collation,
    error::{ErrorCode, QueryError},
    filter::Filter,
    geo::Grid,
    key::{Direction, KeyError, skip_value},
    limits::INDEX_FIELDS_MAX,
    order::elements,
    text::TextSettings,
};

mod entries;
mod field;
mod kinds;
mod options;
mod partial;
#[cfg(test)]
mod tests;
mod wildcard;

pub(crate) use entries::hash_key;
pub use entries::{IndexEntries, IndexEntry, MultikeyFields};
pub use field::{FieldKind, IndexField};
pub(crate) use wildcard::Reach;

use options::{OnDuplicate, Options, cannot_create, invalid_option};

/// The name of the index that every collection has on `_id`.
pub const ID_INDEX_NAME: &str = "_id_";

/// An index of a collection: its name, the fields in their order, and what it refuses or leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexDefinition {
    name: String,
    fields: Vec<IndexField>,
    options: Options,
}

impl IndexDefinition {
    /// Reads a key pattern, `{a: 1, "b.c": -1}`, and options: `name`, `unique`, `sparse`, `partialFilterExpression`,
    /// `hidden`, `expireAfterSeconds`, `collation`; `v`, `background`, `dropDups`, `storageEngine`, `key` and `ns` are
    /// accepted and mean nothing. Without a name it is made of the keys: `a_1_b.c_-1`.
    ///
    /// # Errors
    /// `CannotCreateIndex` (67) for a bad key pattern or a value that an option cannot have,
    /// `InvalidIndexSpecificationOption` (197) for an option that is unknown or that the `_id` index cannot have,
    /// `TypeMismatch` (14) for an option of the wrong type.
    pub fn parse(keys: &RawDocument, options: &RawDocument) -> Result<Self, QueryError> {
        let fields = parse_fields(keys)?;
        if fields.is_empty() {
            return Err(cannot_create("Index keys cannot be empty."));
        }
        if fields.len() > INDEX_FIELDS_MAX {
            return Err(cannot_create(format!("an index cannot have more than {INDEX_FIELDS_MAX} fields")));
        }
        if let [field] = fields.as_slice()
            && field.path() == "_id"
            && field.kind() == FieldKind::Descending
        {
            return Err(QueryError::bad_value("the key of an index on _id must be {_id: 1}"));
        }
        let text = TextSettings::parse(keys, options)?;
        let mut options = Options::parse(options)?;
        options.text = text.map(Arc::new);
        let name = options.name.take().unwrap_or_else(|| default_name(keys, &fields));
        let mut definition = Self { name, fields, options };
        if definition.is_id_index() {
            definition.check_id_options()?;
            ID_INDEX_NAME.clone_into(&mut definition.name); // whatever it was to be called
        } else if definition.name == ID_INDEX_NAME {
            return Err(QueryError::bad_value("the index name '_id_' is reserved for the index on _id"));
        }
        kinds::check(&definition.fields, &definition.options)?;
        Ok(definition)
    }

    /// The index on `_id` that every collection has.
    pub fn on_id() -> Self {
        Self {
            name: ID_INDEX_NAME.to_owned(),
            fields: vec![IndexField::on_id()],
            options: Options::default(),
        }
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
        self.options.write(&mut document);
        document
    }

    /// The key pattern: `{a: 1, "b.c": -1}`.
    pub fn key_pattern(&self) -> RawDocumentBuf {
        let mut keys = RawDocumentBuf::new();
        for field in &self.fields {
            // The path came out of a document, so it holds no NUL.
            if let Ok(path) = CString::try_from(field.path()) {
                keys.append(path, field.kind().to_bson());
            }
            if field.kind() == FieldKind::Text {
                keys.append(cstr!("_ftsx"), 1);
            }
        }
        keys
    }

    /// The name, unique within a collection.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `keys` is its key pattern, however the numbers in it are written.
    pub fn has_keys(&self, keys: &RawDocument) -> bool {
        let mut fields = self.fields.iter();
        elements(keys).all(|(path, value)| {
            let wanted = IndexField::parse(path.as_str(), value);
            fields.next().is_some_and(|own| wanted.is_ok_and(|wanted| wanted == *own))
        }) && fields.next().is_none()
    }

    /// The fields; there is at least one.
    pub fn fields(&self) -> &[IndexField] {
        &self.fields
    }

    /// Whether two documents may not have a key in common.
    pub fn is_unique(&self) -> bool {
        self.options.unique
    }

    /// Whether a document that was written apart from another of the same key is kept beside it, without holding the key;
    /// else it is rejected. The option `onDuplicate: "quarantine"`, which MongoDB does not have.
    pub fn quarantines(&self) -> bool {
        self.options.on_duplicate == OnDuplicate::Quarantine
    }

    /// Whether it leaves out what has none of the fields.
    pub fn is_sparse(&self) -> bool {
        self.options.sparse
    }

    /// Which documents it holds, where it does not hold all.
    pub fn partial_filter(&self) -> Option<&Filter> {
        self.options.partial.as_ref().map(partial::PartialFilter::filter)
    }

    /// Whether no query uses it. It is kept up all the same.
    pub fn is_hidden(&self) -> bool {
        self.options.hidden
    }

    /// How many seconds after the date in its one field a document expires, if it does.
    pub fn expire_after_seconds(&self) -> Option<i32> {
        self.options.expire_after_seconds
    }

    /// The collation that its strings are ordered by; none where they are ordered by their bytes.
    pub fn collation(&self) -> Option<&Collation> {
        self.options.collation.as_ref()
    }

    /// What a text index looks at.
    pub fn text(&self) -> Option<&Arc<TextSettings>> {
        self.options.text.as_ref()
    }

    /// The grid of a flat geospatial index.
    pub(crate) fn grid(&self) -> Grid {
        self.options.grid
    }

    /// How `path` stands to the paths that the wildcard field `field` of this index holds.
    pub(crate) fn wildcard_reach(&self, field: &IndexField, path: &[&str]) -> Reach {
        wildcard::reach(field.parts(), self.options.wildcard_projection.as_ref(), path)
    }

    /// Whether it is `{_id: 1}`, which every collection has without asking.
    pub fn is_id_index(&self) -> bool {
        matches!(self.fields.as_slice(), [field] if field.path() == "_id" && field.kind() == FieldKind::Ascending)
    }

    /// Which ways the values run that make up the key of an entry, in their order.
    pub fn columns(&self) -> impl Iterator<Item = Direction> {
        self.fields.iter().flat_map(|field| field.kind().columns()).copied()
    }

    /// The key of the document's `_id`, behind the values of an entry's key.
    ///
    /// # Errors
    /// If `key` is no key of an entry of this index with that of the `_id` behind.
    pub fn id_key<'a>(&self, mut key: &'a [u8]) -> Result<&'a [u8], KeyError> {
        for direction in self.columns() {
            skip_value(&mut key, direction)?;
        }
        Ok(key)
    }

    /// Tells whether creating `self` beside `existing` changes nothing (`true`) or adds an index (`false`). What makes an
    /// index another one is its keys, which documents it holds, whether it is unique, and its collation: a unique and a
    /// plain index may have the same keys.
    ///
    /// # Errors
    /// `IndexOptionsConflict` (85) for the same index under another name or with other options, `IndexKeySpecsConflict`
    /// (86) for another index under the same name.
    pub fn is_same_as(&self, existing: &Self) -> Result<bool, QueryError> {
        let is_same = self.fields == existing.fields && self.options.is_same_index(&existing.options);
        if self.text().is_some() && existing.text().is_some() && !is_same {
            return Err(QueryError::new(
                ErrorCode::INDEX_OPTIONS_CONFLICT,
                format!(
                    "An equivalent index already exists with a different name and options: only one text index per collection allowed, found existing text index {}",
                    existing.name
                ),
            ));
        }
        match (is_same, self.name == existing.name) {
            (true, true) if self.options.is_equal(&existing.options) => Ok(true),
            (false, false) => Ok(false),
            (false, true) => Err(QueryError::new(
                ErrorCode::INDEX_KEY_SPECS_CONFLICT,
                format!("An existing index has the same name as the requested index: {}", self.name),
            )),
            (true, true) => Err(QueryError::new(
                ErrorCode::INDEX_OPTIONS_CONFLICT,
                format!(
                    "An equivalent index already exists with the same name but different options: {}",
                    self.name
                ),
            )),
            (true, false) => Err(QueryError::new(
                ErrorCode::INDEX_OPTIONS_CONFLICT,
                format!("Index already exists with a different name: {}", existing.name),
            )),
        }
    }

    /// Checks and simplifies the options of the index on `_id`, which has none of its own.
    fn check_id_options(&mut self) -> Result<(), QueryError> {
        let refused = [
            ("sparse", self.options.sparse),
            ("onDuplicate", self.quarantines()),
            ("hidden", self.options.hidden),
            ("partialFilterExpression", self.options.partial.is_some()),
            ("expireAfterSeconds", self.options.expire_after_seconds.is_some()),
        ];
        if let Some((option, _)) = refused.into_iter().find(|(_, is_asked)| *is_asked) {
            return Err(invalid_option(format!(
                "The field '{option}' is not valid for an _id index specification."
            )));
        }
        self.options.unique = false; // it is anyway
        Ok(())
    }
}

/// The fields of a key pattern; those of texts become one, which must stand together.
fn parse_fields(keys: &RawDocument) -> Result<Vec<IndexField>, QueryError> {
    let mut fields: Vec<IndexField> = Vec::new();
    let mut is_last_text = false;
    for (path, value) in elements(keys) {
        let is_text = value == RawBsonRef::String("text") || is_last_text && path.as_str() == "_ftsx";
        if !is_text {
            fields.push(IndexField::parse(path.as_str(), value)?);
        } else if fields.iter().all(|field| field.kind() != FieldKind::Text) {
            fields.push(IndexField::of_texts());
        } else if !is_last_text {
            return Err(cannot_create("'text' fields in index must all be adjacent"));
        }
        is_last_text = is_text;
    }
    Ok(fields)
}

fn default_name(keys: &RawDocument, fields: &[IndexField]) -> String {
    let named = |field: &IndexField| match field.kind() {
        FieldKind::Text => {
            let texts = elements(keys).filter(|(_, value)| *value == RawBsonRef::String("text"));
            texts.map(|(path, _)| format!("{}_text", path.as_str())).collect::<Vec<_>>().join("_")
        }
        _ => field.name(),
    };
    fields.iter().map(named).collect::<Vec<_>>().join("_")
}
