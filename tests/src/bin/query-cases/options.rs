//! The options of an operation.

use bson::{Bson, RawDocumentBuf};
use serde_json::Value;

use crate::answer::{Answer, Stop};
use crate::extended_json::{read_documents, read_raw, read_value};
use crate::target::{IndexName, Shared};

/// The options of an operation, as the case gives them.
pub(crate) struct Options<'a>(&'a Value);

impl<'a> Options<'a> {
    /// The options of `op`, all of which must be among `known`.
    pub(crate) fn of(op: &'a Value, known: &[&str]) -> Answer<Self> {
        let options = &op["options"];
        for name in options.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !known.contains(&name.as_str()) {
                return Err(Stop::Unsupported(format!("option {name}")));
            }
        }
        Ok(Self(options))
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or(false)
    }

    /// A flag that is set unless the case says otherwise.
    pub(crate) fn flag_or_true(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or(true)
    }

    /// A document.
    pub(crate) fn document(&self, name: &str) -> Answer<Option<RawDocumentBuf>> {
        match &self.0[name] {
            Value::Null => Ok(None),
            json => read_raw(json).map(Some),
        }
    }

    /// A list of documents.
    pub(crate) fn documents(&self, name: &str) -> Answer<Option<Vec<RawDocumentBuf>>> {
        match &self.0[name] {
            Value::Null => Ok(None),
            json => read_documents(json).map(Some),
        }
    }

    /// A whole number; 0 if there is none.
    pub(crate) fn number(&self, name: &str) -> Answer<i64> {
        match read_value(&self.0[name])? {
            Bson::Null => Ok(0),
            Bson::Int32(number) => Ok(number.into()),
            Bson::Int64(number) => Ok(number),
            #[allow(clippy::cast_possible_truncation)] // what a command makes of a double
            Bson::Double(number) => Ok(number as i64),
            other => Err(Stop::refused(14, format!("'{name}' is no number: {:?}", other.element_type()))),
        }
    }

    /// A number that may not be negative.
    pub(crate) fn count(&self, name: &str) -> Answer<u64> {
        let number = self.number(name)?;
        number.try_into().map_err(|_| Stop::refused(2, format!("'{name}' is negative: {number}")))
    }

    /// What any call may say.
    pub(crate) fn shared(&self) -> Answer<Shared> {
        let hint = match read_value(&self.0["hint"])? {
            Bson::Null => None,
            Bson::String(name) => Some(IndexName::Name(name)),
            Bson::Document(keys) => Some(IndexName::Keys(keys)),
            _ => return Err(Stop::refused(9, "a hint is a string or a document")),
        };
        let (variables, collation) = (self.document("let")?, self.document("collation")?);
        Ok(Shared { hint, variables, collation })
    }
}
