//! `$redact`: documents cut down level by level.

use std::borrow::Cow;
use std::sync::Arc;

use bson::raw::RawDocument;
use bson::spec::ElementType;
use bson::{RawArray, RawBson, RawBsonRef};

use crate::aggregate::outside::{Context, Outside, Rows};
use crate::aggregate::parse::{Parser, error};
use crate::aggregate::rows::filter_map;
use crate::error::QueryError;
use crate::expression::{Expression, Value};
use crate::raw::{Elements, Writer};

/// What an expression of `$redact` says of a level, as its variables' values.
const KEEP: &str = "keep";
const PRUNE: &str = "prune";
const DESCEND: &str = "descend";

/// A compiled `$redact`.
#[derive(Debug)]
pub(in crate::aggregate) struct Redact {
    expression: Expression,
}

/// What becomes of a level.
enum Verdict {
    Keep,
    Prune,
    Descend,
}

impl Redact {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        // Fields are looked up in the level at hand; `ROOT` remains the whole document.
        let names = ["KEEP", "PRUNE", "DESCEND", "ROOT"].map(str::to_owned);
        Ok(Self { expression: parser.expression_with(operand, &names)? })
    }

    pub(in crate::aggregate) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        filter_map(input, move |document| {
            let mut variables = context.variables.values();
            for word in [KEEP, PRUNE, DESCEND] {
                variables.push(Value::Raw(RawBsonRef::String(word)));
            }
            variables.push(Value::Raw(RawBsonRef::Document(&document)));
            let level =
                Level { expression: &stage.expression, variables: &variables, now_ms: context.query.now_ms };
            let mut writer = Writer::with_capacity(document.as_bytes().len());
            let root = writer.open_root();
            let stays = level.document(&document, &mut writer)?;
            writer.close(root);
            Ok(stays.then(|| writer.into_document()))
        })
    }
}

/// What all levels of a document are judged by.
struct Level<'l> {
    expression: &'l Expression,
    variables: &'l [Value<'l>],
    now_ms: i64,
}

impl Level<'_> {
    fn judge(&self, document: &RawDocument) -> Result<Verdict, QueryError> {
        let variables: Vec<Value<'_>> = self.variables.to_vec();
        let value = self.expression.evaluate(document, &variables, self.now_ms)?.to_raw_bson()?;
        let word = match &value {
            Some(RawBson::String(word)) => Cow::Borrowed(word.as_str()),
            _ => Cow::Borrowed(""),
        };
        match &*word {
            KEEP => Ok(Verdict::Keep),
            PRUNE => Ok(Verdict::Prune),
            DESCEND => Ok(Verdict::Descend),
            _ => error(
                17053,
                "$redact's expression should not return anything aside from the variables $$KEEP, $$DESCEND, and $$PRUNE",
            ),
        }
    }

    /// Writes what stays of a document; false if nothing does, not even the document. The recursion is as deep as documents
    /// nest.
    fn document(&self, document: &RawDocument, writer: &mut Writer) -> Result<bool, QueryError> {
        match self.judge(document)? {
            Verdict::Prune => return Ok(false),
            Verdict::Keep => {
                let elements = Elements::of_document(document);
                writer.copy(elements.rest());
                return Ok(true);
            }
            Verdict::Descend => {}
        }
        for element in Elements::of_document(document) {
            let element = element?;
            match element.value()? {
                RawBsonRef::Document(inner) => self.inner(element.key, inner, writer)?,
                RawBsonRef::Array(array) => self.array(element.key, array, writer)?,
                _ => writer.copy(element.bytes),
            }
        }
        Ok(true)
    }

    fn inner(&self, key: &str, document: &RawDocument, writer: &mut Writer) -> Result<(), QueryError> {
        let before = writer.len();
        let opened = writer.open(key, ElementType::EmbeddedDocument);
        if self.document(document, writer)? {
            writer.close(opened);
        } else {
            writer.truncate(before);
        }
        Ok(())
    }

    fn array(&self, key: &str, array: &RawArray, writer: &mut Writer) -> Result<(), QueryError> {
        let opened = writer.open(key, ElementType::Array);
        let mut index = 0;
        for element in Elements::of_array(array) {
            let element = element?;
            let (before, name) = (writer.len(), crate::raw::decimal(index));
            match element.value()? {
                RawBsonRef::Document(inner) => self.inner(&name, inner, writer)?,
                RawBsonRef::Array(inner) => self.array(&name, inner, writer)?,
                _ => writer.indexed(index, element.item()),
            }
            index += usize::from(writer.len() > before);
        }
        writer.close(opened);
        Ok(())
    }
}
