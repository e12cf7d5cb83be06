//! `$graphLookup`: the documents that are reached from each document, step by step.

mod parse;

use std::collections::BTreeSet;
use std::sync::Arc;

use bson::RawBsonRef;
use bson::raw::{RawDocument, RawDocumentBuf};
use bson::spec::ElementType;

use crate::aggregate::edit::{self, Path, document_item};
use crate::aggregate::join::{self, Values};
use crate::aggregate::outside::{Context, Outside, Rows};
use crate::aggregate::parse::error;
use crate::aggregate::rows::{check_row, filter_map};
use crate::aggregate::{PIPELINE_BYTES_MAX, Pipeline};
use crate::error::QueryError;
use crate::expression::{Expression, Value};
use crate::path::field;
use crate::raw::{Item, Writer};

/// What a document that is held takes beside its bytes.
const HELD_BYTES: usize = 64;

/// A compiled `$graphLookup`.
#[derive(Debug)]
pub(in crate::aggregate) struct GraphLookup {
    collection: String,
    /// Finds in the collection, of that only what `restrictSearchWithMatch` lets through.
    pipeline: Pipeline,
    target: Path,
    start: Expression,
    connect_from: Path,
    connect_to: String,
    depth_max: Option<i64>,
    depth_field: Option<Path>,
}

/// The search from one document.
struct Search {
    /// The documents found, in the order in which they were.
    found: Vec<RawDocumentBuf>,
    /// The keys of their `_id`s.
    known: BTreeSet<Vec<u8>>,
    /// The values that were asked for.
    asked: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl GraphLookup {
    pub(in crate::aggregate) fn collections(&self, names: &mut Vec<String>) {
        names.push(self.collection.clone());
    }

    pub(in crate::aggregate) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        filter_map(input, move |document| {
            let found = stage.search(&document, &context)?;
            let mut writer = Writer::with_capacity(256);
            let root = writer.open_root();
            for (index, document) in found.iter().enumerate() {
                writer.indexed(index, document_item(document));
                writer.check_size()?;
            }
            writer.close(root);
            let item = Item { kind: ElementType::Array, bytes: writer.written(0) };
            let document = edit::set(&document, &stage.target, item)?;
            check_row(&document)?;
            Ok(Some(document))
        })
    }

    fn search<O: Outside>(
        &self,
        document: &RawDocument,
        context: &Context<O>,
    ) -> Result<Vec<RawDocumentBuf>, O::Error> {
        let mut search =
            Search { found: Vec::new(), known: BTreeSet::new(), asked: BTreeSet::new(), bytes: 0 };
        let mut frontier = self.first(document, context)?;
        let mut depth = 0_i64;
        while !frontier.is_empty() && self.depth_max.is_none_or(|most| depth <= most) {
            let filter =
                join::equality(&self.connect_to, frontier.values().map(bson::RawBson::as_raw_bson_ref))?;
            search.asked.extend(frontier.into_keys());
            let rows = self.pipeline.find_and_run(&context.outside, &context.variables, Some(&filter))?;
            let mut next = Values::new();
            for row in rows {
                search.add(self, &row?, depth, &mut next)?;
            }
            frontier = next;
            depth += 1;
        }
        Ok(search.found)
    }

    /// The values to begin with.
    fn first<O: Outside>(&self, document: &RawDocument, context: &Context<O>) -> Result<Values, QueryError> {
        let variables = context.variables.values();
        let start = self.start.evaluate(document, &variables, context.query.now_ms)?;
        let (mut values, collation) = (Values::new(), self.start.collation());
        if let (false, Some(start)) = (matches!(start, Value::Missing), start.to_raw_bson()?) {
            match start.as_raw_bson_ref() {
                RawBsonRef::Array(array) => {
                    crate::order::array_elements(array)
                        .for_each(|value| join::insert(&mut values, value, collation));
                }
                value => join::insert(&mut values, value, collation),
            }
        }
        Ok(values)
    }
}

impl Search {
    /// Takes a document unless it is known, and adds to `next` what it leads to.
    fn add(
        &mut self,
        stage: &GraphLookup,
        document: &RawDocumentBuf,
        depth: i64,
        next: &mut Values,
    ) -> Result<(), QueryError> {
        let key = join::key(field(document, "_id").unwrap_or(RawBsonRef::Null), None);
        let key_bytes = key.len();
        if !self.known.insert(key) {
            return Ok(());
        }
        join::values_at(document, &stage.connect_from, &mut |value| {
            let key = join::key(value, stage.start.collation());
            if !self.asked.contains(&key) {
                self.bytes += key.len();
                next.entry(key).or_insert_with(|| value.into());
            }
        });
        let document = match &stage.depth_field {
            None => document.clone(),
            Some(path) => {
                edit::set(document, path, Item { kind: ElementType::Int64, bytes: &depth.to_le_bytes() })?
            }
        };
        self.bytes += document.as_bytes().len() + key_bytes + HELD_BYTES;
        if self.bytes > PIPELINE_BYTES_MAX {
            return error(40099, "$graphLookup reached maximum memory consumption");
        }
        self.found.push(document);
        Ok(())
    }
}
