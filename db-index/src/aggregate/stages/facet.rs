//! `$facet`: several pipelines on the same documents, their results as arrays of one document.

use std::sync::Arc;

use bson::RawBsonRef;
use bson::raw::RawDocumentBuf;
use bson::spec::ElementType;

use crate::aggregate::Pipeline;
use crate::aggregate::edit::document_item;
use crate::aggregate::outside::{Context, Outside, Rows};
use crate::aggregate::parse::{Parser, Within, error, type_name};
use crate::aggregate::rows::{Held, check_row, lazily, replay};
use crate::error::QueryError;
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::order;
use crate::raw::Writer;

/// A compiled `$facet`.
#[derive(Debug)]
pub(in crate::aggregate) struct Facet {
    fields: Vec<(Box<str>, Pipeline)>,
}

impl Facet {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let document = match operand {
            RawBsonRef::Document(document) if !document.is_empty() => document,
            _ => return error(40169, "the $facet specification must be a non-empty object"),
        };
        let mut fields = Vec::new();
        for (name, value) in order::elements(document) {
            let name = name.as_str();
            check_name(name)?;
            let RawBsonRef::Array(stages) = value else {
                return error(
                    40170,
                    format!("arguments to $facet must be arrays, {name} is type {}", type_name(value)),
                );
            };
            if order::array_elements(stages).any(|stage| !matches!(stage, RawBsonRef::Document(_))) {
                return error(40171, "elements of arrays in $facet spec must be non-empty objects");
            }
            fields.push((name.into(), parser.inner(stages, Within::Facet, &parser.collection, &[])?));
        }
        Ok(Self { fields })
    }

    pub(in crate::aggregate) fn collections(&self, names: &mut Vec<String>) {
        for (_, pipeline) in &self.fields {
            names.extend(pipeline.collections());
        }
    }

    pub(in crate::aggregate) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        lazily(move || {
            let mut held = Held::new("$facet");
            held.fill(input)?;
            let held: Arc<[RawDocumentBuf]> = held.documents.into();
            let mut writer = Writer::with_capacity(1024);
            let root = writer.open_root();
            for (name, pipeline) in &stage.fields {
                let opened = writer.open(name, ElementType::Array);
                let rows = pipeline.run_on(replay(&held), &context.outside, &context.variables)?;
                for (index, document) in rows.enumerate() {
                    writer.indexed(index, document_item(&document?));
                    check_size(&writer)?;
                }
                writer.close(opened);
            }
            writer.close(root);
            let document = writer.into_document();
            check_row(&document)?;
            Ok(std::iter::once(Ok(document)))
        })
    }
}

fn check_size(writer: &Writer) -> Result<(), QueryError> {
    let bytes = writer.len();
    if bytes > DOCUMENT_BYTES_MAX {
        return error(
            4_031_700,
            format!(
                "document constructed by $facet is {bytes} bytes, which exceeds the limit of {DOCUMENT_BYTES_MAX} bytes"
            ),
        );
    }
    Ok(())
}

/// Refuses names that the result cannot have as a field.
fn check_name(name: &str) -> Result<(), QueryError> {
    if name.is_empty() {
        return error(15998, "FieldPath field names may not be empty strings.");
    }
    if name.starts_with('$') {
        return error(16410, format!("FieldPath field names may not start with '$'. Given: {name}"));
    }
    if name.contains('.') {
        return error(16412, format!("FieldPath field names may not contain '.'. Given: {name}"));
    }
    Ok(())
}
