//! `$group`, and `$sortByCount` and `$bucket`, which group in their own ways.

mod bucket;
mod parse;

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{RawBson, RawBsonRef};

use self::bucket::Boundaries;
use crate::aggregate::accumulator::{AccumulatedFields, Accumulator, start_all, write_all};
use crate::aggregate::outside::{Context, Outside, Rows};
use crate::aggregate::rows::{check_memory, check_row, lazily};
use crate::error::QueryError;
use crate::expression::{Expression, Value};
use crate::key::{Direction, encode_collated};
use crate::raw::Writer;

/// What a group takes beside its key, its `_id` and its accumulators.
const GROUP_BYTES: usize = 128;

/// A compiled `$group`.
#[derive(Debug)]
pub(in crate::aggregate) struct Group {
    /// What documents of one group have in common.
    key: Expression,
    /// For `$bucket`: where groups begin and end.
    boundaries: Option<Boundaries>,
    fields: AccumulatedFields,
}

/// The groups found so far.
struct Groups {
    /// The place of each group, by the bytes of its `_id`.
    places: BTreeMap<Vec<u8>, usize>,
    /// In the order in which they were met.
    met: Vec<(RawBson, Vec<Accumulator>)>,
    bytes: usize,
    /// The bytes of the `_id` at hand, and what the order ignores of it.
    key: (Vec<u8>, Vec<u8>),
}

impl Group {
    /// MongoDB's name of the stage.
    pub(in crate::aggregate) fn name(&self) -> &'static str {
        if self.boundaries.is_some() { "$bucket" } else { "$group" }
    }

    pub(in crate::aggregate) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        lazily(move || {
            let mut groups =
                Groups { places: BTreeMap::new(), met: Vec::new(), bytes: 0, key: Default::default() };
            for document in input {
                let document = document?;
                let variables = context.variables.values();
                groups.add(&stage, &document, &variables, context.query.now_ms)?;
            }
            let mut groups = groups.in_order(stage.boundaries.is_some()).into_iter();
            Ok(std::iter::from_fn(move || {
                let (id, accumulators) = groups.next()?;
                Some(stage.document(&id, &accumulators).map_err(O::Error::from))
            }))
        })
    }

    /// The `_id` of the group that a document belongs to; nothing is null.
    fn id<'a>(
        &'a self,
        document: &'a RawDocument,
        variables: &[Value<'a>],
        now_ms: i64,
    ) -> Result<Value<'a>, QueryError> {
        let value = self.key.evaluate(document, variables, now_ms)?;
        let value = match &self.boundaries {
            None => value,
            Some(boundaries) => Value::Raw(boundaries.group(&value, self.key.collation())?),
        };
        Ok(if matches!(value, Value::Missing) { Value::Raw(RawBsonRef::Null) } else { value })
    }

    fn document(&self, id: &RawBson, accumulators: &[Accumulator]) -> Result<RawDocumentBuf, QueryError> {
        let mut writer = Writer::with_capacity(64);
        let root = writer.open_root();
        Value::Raw(id.as_raw_bson_ref()).write("_id", &mut writer)?;
        write_all(&self.fields, accumulators, &mut writer)?;
        writer.close(root);
        let document = writer.into_document();
        check_row(&document)?;
        Ok(document)
    }
}

impl Groups {
    fn add<'a>(
        &mut self,
        stage: &'a Group,
        document: &'a RawDocument,
        variables: &[Value<'a>],
        now_ms: i64,
    ) -> Result<(), QueryError> {
        let id = stage.id(document, variables, now_ms)?;
        let made = if matches!(id, Value::Raw(_)) { None } else { id.to_raw_bson()? };
        let id = match (&made, &id) {
            (Some(made), _) => made.as_raw_bson_ref(),
            (None, Value::Raw(id)) => *id,
            _ => RawBsonRef::Null,
        };
        let (key, types) = &mut self.key;
        key.clear();
        types.clear();
        encode_collated(id, Direction::Ascending, stage.key.collation(), key, types);
        let place = if let Some(place) = self.places.get(key.as_slice()) {
            *place
        } else {
            let fields = match id {
                RawBsonRef::Document(fields) => Some(fields),
                _ => None,
            };
            let accumulators = start_all(&stage.fields, fields, variables, now_ms)?;
            // An `_id` takes about the bytes of its key.
            let own: usize = accumulators.iter().map(Accumulator::memory).sum();
            self.bytes += GROUP_BYTES + 2 * key.len() + own;
            self.met.push((id.into(), accumulators));
            self.places.insert(key.clone(), self.met.len() - 1);
            self.met.len() - 1
        };
        let Some((_, accumulators)) = self.met.get_mut(place) else { return Ok(()) };
        for ((_, field), accumulator) in stage.fields.iter().zip(accumulators) {
            let before = accumulator.memory();
            accumulator.add(field, document, variables, now_ms)?;
            self.bytes = (self.bytes + accumulator.memory()).saturating_sub(before);
        }
        check_memory(stage.name(), self.bytes)
    }

    /// The groups as they were met, or by their `_id`.
    fn in_order(self, by_id: bool) -> Vec<(RawBson, Vec<Accumulator>)> {
        if !by_id {
            return self.met;
        }
        let mut groups: Vec<_> = self.met.into_iter().map(Some).collect();
        self.places.into_values().filter_map(|place| groups.get_mut(place)?.take()).collect()
    }
}
